#include "evidence/data_keys.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "base/files.h"

namespace retort::evidence {

namespace fs = std::filesystem;

namespace {

// mark 4, zero 4, id 8, organisation's tag 16, nonce 12, wrapped key and tag 48, zero 12.
constexpr std::size_t kSlotBytes = 104;
constexpr std::string_view kLive = "LIVE";
constexpr std::string_view kErased = "GONE";
constexpr std::string_view kExtension = ".keys";
constexpr std::size_t kIdAt = 8;
constexpr std::size_t kTagAt = 16;
constexpr std::size_t kNonceAt = 32;
constexpr std::size_t kWrappedAt = 44;
constexpr std::size_t kWrappedBytes = 48;

bool is_day(std::string_view text) {
  return text.size() == 10 && text[4] == '-' && text[7] == '-' &&
         std::all_of(text.begin(), text.end(), [](char c) { return c == '-' || (c >= '0' && c <= '9'); });
}

Failure failed(const fs::path& path, int error) {
  return world_error("The key file '" + path.string() + "' cannot be written: " + std::strerror(error) + ".");
}

// A descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : value_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }

 private:
  int value_;
};

Result<void> sync_path(const fs::path& path) {
  const Descriptor file(path, O_RDONLY);
  if (file.value() < 0 || ::fsync(file.value()) != 0) return failed(path, errno);
  return {};
}

Result<void> write_at(const fs::path& path, int descriptor, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return failed(path, wrote < 0 ? errno : ENOSPC);
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
    offset += static_cast<std::uint64_t>(wrote);
  }
  return {};
}

}  // namespace

struct DataKeys::State {
  fs::path folder;
  SecretKey wrapping{};
  SecretKey tagging{};
  Aead aead;

  std::mutex mutex;
  std::string cached_day;
  std::map<std::string, DataKey, std::less<>> cached;  // of cached_day, by organisation
  std::set<fs::path> unsynced;
  bool folder_unsynced = false;

  fs::path file_of(std::string_view day) const { return folder / (std::string(day) + std::string(kExtension)); }

  std::string tag_of(std::string_view organisation) const {
    return std::string(bytes_of(hmac_sha256(bytes_of(tagging), organisation)).substr(0, 16));
  }

  // What the wrapping binds: a slot copied elsewhere doesn't open there.
  std::string associated(std::string_view day, std::string_view slot) const {
    return "retort data key 1\n" + std::string(day) + std::string(slot.substr(kIdAt, kNonceAt - kIdAt));
  }

  std::optional<SecretKey> unwrap(std::string_view day, std::string_view slot) const {
    Aead::Nonce nonce{};
    std::memcpy(nonce.data(), slot.data() + kNonceAt, nonce.size());
    auto plain = aead.open(wrapping, nonce, associated(day, slot), slot.substr(kWrappedAt, kWrappedBytes));
    if (!plain || plain->size() != sizeof(SecretKey)) return std::nullopt;
    SecretKey key{};
    std::memcpy(key.data(), plain->data(), key.size());
    OPENSSL_cleanse(plain->data(), plain->size());
    return key;
  }

  Failure other_master(std::string_view day) const {
    return caller_error("The data keys in '" + file_of(day).string() +
                        "' were wrapped by another master key, or changed. Give the master key they were made with.");
  }

  // Whole slots of the day; empty when there is no file. A torn last slot is left out.
  Result<std::string> slots_of(std::string_view day) const {
    const fs::path path = file_of(day);
    if (!is_there(path)) return std::string();
    RETORT_ASSIGN(std::string bytes, read_secret_file(path));
    bytes.resize(bytes.size() / kSlotBytes * kSlotBytes);
    return bytes;
  }
};

DataKeys::DataKeys(fs::path folder, const SecretKey& master) : state_(std::make_unique<State>()) {
  state_->folder = std::move(folder);
  state_->wrapping = hkdf_sha256(bytes_of(master), "", "retort data key wrapping 1");
  state_->tagging = hkdf_sha256(bytes_of(master), "", "retort data key tagging 1");
}

DataKeys::~DataKeys() {
  OPENSSL_cleanse(state_->wrapping.data(), state_->wrapping.size());
  for (auto& [organisation, key] : state_->cached) OPENSSL_cleanse(key.key.data(), key.key.size());
}

Result<DataKey> DataKeys::of(std::string_view organisation, std::string_view day) {
  RETORT_CHECK(is_day(day));
  const std::lock_guard held(state_->mutex);
  if (state_->cached_day != day) {
    state_->cached.clear();
    state_->cached_day = day;
  }
  if (const auto found = state_->cached.find(organisation); found != state_->cached.end()) return found->second;
  RETORT_ASSIGN(const std::string slots, state_->slots_of(day));
  const std::string tag = state_->tag_of(organisation);
  DataKey key;
  for (std::size_t at = 0; at < slots.size(); at += kSlotBytes) {
    const std::string_view slot = std::string_view(slots).substr(at, kSlotBytes);
    if (!slot.starts_with(kLive) || slot.substr(kTagAt, tag.size()) != tag) continue;
    const auto unwrapped = state_->unwrap(day, slot);
    if (!unwrapped) return state_->other_master(day);
    key = {hex(slot.substr(kIdAt, 8)), *unwrapped};
  }
  if (key.id.empty()) {
    std::array<std::uint8_t, 8> id{};
    Aead::Nonce nonce{};
    RETORT_TRY(random_bytes(id));
    RETORT_TRY(random_bytes(nonce));
    RETORT_TRY(random_bytes(key.key));
    key.id = hex(bytes_of(id));
    std::string slot(kLive);
    slot.append(4, '\0');
    slot += bytes_of(id);
    slot += tag;
    slot += bytes_of(nonce);
    state_->aead.seal(state_->wrapping, nonce, state_->associated(day, slot), bytes_of(key.key), slot);
    slot.resize(kSlotBytes, '\0');
    RETORT_TRY(make_folder(state_->folder));
    const fs::path path = state_->file_of(day);
    const Descriptor file(path, O_RDWR | O_CREAT);
    if (file.value() < 0) return failed(path, errno);
    RETORT_TRY(write_at(path, file.value(), slot, slots.size()));
    state_->unsynced.insert(path);
    state_->folder_unsynced = state_->folder_unsynced || slots.empty();
  }
  state_->cached.emplace(organisation, key);
  return key;
}

Result<void> DataKeys::sync() {
  std::set<fs::path> paths;
  bool folder = false;
  {
    const std::lock_guard held(state_->mutex);
    paths.swap(state_->unsynced);
    folder = std::exchange(state_->folder_unsynced, false);
  }
  for (const fs::path& path : paths) {
    if (is_there(path)) RETORT_TRY(sync_path(path));  // else it was swept meanwhile
  }
  if (folder) RETORT_TRY(sync_path(state_->folder));
  return {};
}

Result<std::optional<SecretKey>> DataKeys::find(std::string_view day, std::string_view id) const {
  if (!is_day(day)) return std::nullopt;
  const std::lock_guard held(state_->mutex);
  RETORT_ASSIGN(const std::string slots, state_->slots_of(day));
  for (std::size_t at = 0; at < slots.size(); at += kSlotBytes) {
    const std::string_view slot = std::string_view(slots).substr(at, kSlotBytes);
    if (!slot.starts_with(kLive) || hex(slot.substr(kIdAt, 8)) != id) continue;
    const auto key = state_->unwrap(day, slot);
    if (!key) return state_->other_master(day);
    return key;
  }
  return std::nullopt;
}

Result<std::size_t> DataKeys::erase(std::string_view organisation, std::optional<std::string> day) {
  const std::lock_guard held(state_->mutex);
  std::vector<std::string> days;
  if (day) {
    if (!is_day(*day)) return caller_error("'" + *day + "' is no day; expected YYYY-MM-DD.");
    days.push_back(*day);
  } else {
    std::error_code none;
    for (fs::directory_iterator entry(state_->folder, none), end; !none && entry != end; entry.increment(none)) {
      const std::string name = entry->path().stem().string();
      if (entry->path().extension() == kExtension && is_day(name)) days.push_back(name);
    }
  }
  if (const auto found = state_->cached.find(organisation); found != state_->cached.end()) {
    OPENSSL_cleanse(found->second.key.data(), found->second.key.size());
    state_->cached.erase(found);
  }
  const std::string tag = state_->tag_of(organisation);
  std::size_t erased = 0;
  for (const std::string& one : days) {
    RETORT_ASSIGN(const std::string slots, state_->slots_of(one));
    const fs::path path = state_->file_of(one);
    std::size_t here = 0;
    for (std::size_t at = 0; at < slots.size(); at += kSlotBytes) {
      const std::string_view slot = std::string_view(slots).substr(at, kSlotBytes);
      if (!slot.starts_with(kLive) || slot.substr(kTagAt, tag.size()) != tag) continue;
      std::string gone(kErased);
      gone += slot.substr(kErased.size(), kNonceAt - kErased.size());
      gone.resize(kSlotBytes, '\0');
      const Descriptor file(path, O_RDWR);
      if (file.value() < 0) return failed(path, errno);
      RETORT_TRY(write_at(path, file.value(), gone, at));
      ++here;
    }
    if (here > 0) RETORT_TRY(sync_path(path));
    erased += here;
  }
  return erased;
}

Result<std::vector<std::string>> DataKeys::sweep(std::string_view first_kept) {
  RETORT_CHECK(is_day(first_kept));
  const std::lock_guard held(state_->mutex);
  std::vector<std::string> days;
  std::error_code none;
  for (fs::directory_iterator entry(state_->folder, none), end; !none && entry != end; entry.increment(none)) {
    const std::string name = entry->path().stem().string();
    if (entry->path().extension() == kExtension && is_day(name) && name < first_kept) days.push_back(name);
  }
  std::sort(days.begin(), days.end());
  for (const std::string& day : days) {
    const fs::path path = state_->file_of(day);
    RETORT_ASSIGN(const std::string slots, state_->slots_of(day));
    {
      const Descriptor file(path, O_RDWR);
      if (file.value() < 0) return failed(path, errno);
      RETORT_TRY(write_at(path, file.value(), std::string(slots.size(), '\0'), 0));
      if (::fsync(file.value()) != 0) return failed(path, errno);
    }
    std::error_code error;
    fs::remove(path, error);
    if (error) return world_error("The key file '" + path.string() + "' cannot be removed: " + error.message() + ".");
  }
  if (!days.empty()) {
    if (state_->cached_day < std::string(first_kept)) state_->cached.clear();
    RETORT_TRY(sync_path(state_->folder));
  }
  return days;
}

}  // namespace retort::evidence
