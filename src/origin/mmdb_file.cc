#include "origin/mmdb_file.h"

#include <arpa/inet.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <unordered_set>

#include "base/files.h"

namespace retort::origin {

struct MmdbFile::State {
  MMDB_s database{};
  bool open = false;
  Subject subject = Subject::kCountry;
  std::string type;
  Digest digest;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (open) MMDB_close(&database);
  }
};

namespace {

using Subject = MmdbFile::Subject;

struct Flag {
  const char* key;
  const char* kind;
};
constexpr std::array<Flag, 6> kFlags = {{{"is_anonymous", "anonymous"},
                                         {"is_anonymous_vpn", "vpn"},
                                         {"is_hosting_provider", "datacentre"},
                                         {"is_public_proxy", "public_proxy"},
                                         {"is_residential_proxy", "residential_proxy"},
                                         {"is_tor_exit_node", "tor"}}};

std::optional<Subject> subject_of(std::string_view type) {
  const auto has = [&](std::string_view word) { return type.find(word) != std::string_view::npos; };
  if (has("Anonymous")) return Subject::kAnonymity;
  if (has("ASN") || has("ISP")) return Subject::kAsn;
  if (has("Country") || has("City") || has("Enterprise")) return Subject::kCountry;
  return std::nullopt;
}

// The value at a path of one or two keys. `sound`: false when the file is damaged there.
std::optional<MMDB_entry_data_s> value(MMDB_entry_s entry, const char* first, const char* second, bool& sound) {
  const std::array<const char*, 3> path = {first, second, nullptr};
  MMDB_entry_data_s data{};
  const int status = MMDB_aget_value(&entry, &data, path.data());
  const bool absent = status == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR || status == MMDB_INVALID_LOOKUP_PATH_ERROR;
  sound = sound && (status == MMDB_SUCCESS || absent);
  if (status != MMDB_SUCCESS || !data.has_data) return std::nullopt;
  return data;
}

std::optional<std::string> text(const std::optional<MMDB_entry_data_s>& data) {
  if (!data || data->type != MMDB_DATA_TYPE_UTF8_STRING) return std::nullopt;
  return std::string(data->utf8_string, data->data_size);
}

MmdbAnswer read_entry(const MMDB_entry_s& entry, Subject subject, bool& sound) {
  MmdbAnswer answer;
  switch (subject) {
    case Subject::kCountry: {
      auto country = text(value(entry, "country", "iso_code", sound));
      if (country && country->size() == 2) answer.country = std::move(country);
      break;
    }
    case Subject::kAsn: {
      const auto asn = value(entry, "autonomous_system_number", nullptr, sound);
      if (asn && asn->type == MMDB_DATA_TYPE_UINT32) answer.asn = asn->uint32;
      answer.as_organisation = text(value(entry, "autonomous_system_organization", nullptr, sound)).value_or("");
      break;
    }
    case Subject::kAnonymity:
      for (const Flag& flag : kFlags) {
        const auto set = value(entry, flag.key, nullptr, sound);
        if (set && set->type == MMDB_DATA_TYPE_BOOLEAN && set->boolean) answer.kinds.emplace_back(flag.kind);
      }
      break;
  }
  return answer;
}

// Every node of the tree, and every record once.
bool is_sound(MMDB_s& database, Subject subject) {
  std::unordered_set<std::uint32_t> read;
  for (std::uint32_t number = 0; number < database.metadata.node_count; ++number) {
    MMDB_search_node_s node{};
    if (MMDB_read_node(&database, number, &node) != MMDB_SUCCESS) return false;
    const std::array<std::pair<std::uint8_t, MMDB_entry_s*>, 2> sides = {
        {{node.left_record_type, &node.left_record_entry}, {node.right_record_type, &node.right_record_entry}}};
    for (const auto& [type, entry] : sides) {
      if (type == MMDB_RECORD_TYPE_INVALID) return false;
      if (type != MMDB_RECORD_TYPE_DATA || !read.insert(entry->offset).second) continue;
      bool sound = true;
      read_entry(*entry, subject, sound);
      if (!sound) return false;
    }
  }
  return true;
}

// A copy of `bytes` that has a name for libmaxminddb, which maps files by name, and which nobody can change: a file
// that is cut while it is mapped would end the process.
int private_copy(std::string_view bytes) {
  const int descriptor = ::memfd_create("mmdb", MFD_CLOEXEC);
  if (descriptor < 0) return -1;
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written <= 0) {
      ::close(descriptor);
      return -1;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return descriptor;
}

}  // namespace

MmdbFile::MmdbFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
MmdbFile::~MmdbFile() = default;
MmdbFile::MmdbFile(MmdbFile&&) noexcept = default;
MmdbFile& MmdbFile::operator=(MmdbFile&&) noexcept = default;

Result<MmdbFile> MmdbFile::open(const std::filesystem::path& path) {
  const auto bytes = read_file(path);
  if (!bytes) return with_context(bytes.error(), "The database of networks");
  return from_bytes(*bytes, path);
}

Result<MmdbFile> MmdbFile::from_bytes(std::string_view bytes, const std::filesystem::path& path) {
  const std::string the_file = "The database '" + path.string() + "' ";
  auto state = std::make_unique<State>();
  state->digest = sha256(bytes);
  const int descriptor = private_copy(bytes);
  if (descriptor < 0) return world_error(the_file + "cannot be held in memory. Free some and try again.");
  const int status =
      MMDB_open(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), MMDB_MODE_MMAP, &state->database);
  ::close(descriptor);
  if (status != MMDB_SUCCESS) {
    return caller_error(the_file + "cannot be read as .mmdb (" + MMDB_strerror(status) +
                        "). Expected a whole file of MaxMind's format; fetch it again.");
  }
  state->open = true;
  state->type = state->database.metadata.database_type;
  const std::optional<Subject> subject = subject_of(state->type);
  if (!subject) {
    return caller_error(the_file + "is of type '" + state->type +
                        "'; expected one of countries, cities, autonomous systems (ASN) or anonymous addresses.");
  }
  state->subject = *subject;
  if (!is_sound(state->database, *subject)) {
    return caller_error(the_file + "is damaged: a node or record of it cannot be read. Fetch it again.");
  }
  return MmdbFile(std::move(state));
}

MmdbAnswer MmdbFile::look_up(const IpAddress& address) const {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  const sockaddr* socket_address = nullptr;
  if (address.is_v4()) {
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(address.as_v4());
    socket_address = reinterpret_cast<const sockaddr*>(&v4);
  } else {
    v6.sin6_family = AF_INET6;
    for (std::size_t i = 0; i < 8; ++i) {
      v6.sin6_addr.s6_addr[i] = static_cast<std::uint8_t>(address.high >> (56 - 8 * i));
      v6.sin6_addr.s6_addr[i + 8] = static_cast<std::uint8_t>(address.low >> (56 - 8 * i));
    }
    socket_address = reinterpret_cast<const sockaddr*>(&v6);
  }
  int error = MMDB_SUCCESS;
  MMDB_lookup_result_s found = MMDB_lookup_sockaddr(&state_->database, socket_address, &error);
  if (error != MMDB_SUCCESS || !found.found_entry) return {};
  bool sound = true;
  return read_entry(found.entry, state_->subject, sound);
}

MmdbFile::Subject MmdbFile::subject() const { return state_->subject; }
const std::string& MmdbFile::type() const { return state_->type; }
const Digest& MmdbFile::digest() const { return state_->digest; }
std::int64_t MmdbFile::dated_unix_ms() const {
  return static_cast<std::int64_t>(state_->database.metadata.build_epoch) * 1000;
}
std::size_t MmdbFile::nodes() const { return state_->database.metadata.node_count; }

}  // namespace retort::origin
