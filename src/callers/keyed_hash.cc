#include "callers/keyed_hash.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/cryptography.h"
#include "base/files.h"
#include "base/text.h"

namespace retort::callers {
namespace {

Failure unwritable(const std::filesystem::path& path) {
  return world_error("The key file '" + path.string() + "' cannot be made: " + std::strerror(errno) +
                     ". Expected a folder this user may write to.");
}

// Writes a new key beside `path` and links it there, so that nobody reads half a key and the first of two makers wins.
Result<void> make_key_file(const std::filesystem::path& path) {
  Digest key;
  RETORT_TRY(random_bytes(key.bytes));
  const std::string text = key.hex() + "\n";
  const std::string temporary = path.string() + ".new-" + std::to_string(::getpid());
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return unwritable(path);
  const bool written =
      ::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(descriptor) == 0;
  ::close(descriptor);
  const bool linked = written && (::link(temporary.c_str(), path.c_str()) == 0 || errno == EEXIST);
  const int why = errno;
  ::unlink(temporary.c_str());
  errno = why;
  if (!linked) return unwritable(path);
  return {};
}

}  // namespace

struct HmacKey::State {
  EVP_MAC_CTX* keyed = nullptr;  // with the key already mixed in; copied for every hash
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MAC_CTX_free(keyed); }
};

HmacKey::HmacKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
HmacKey::~HmacKey() = default;
HmacKey::HmacKey(HmacKey&&) noexcept = default;
HmacKey& HmacKey::operator=(HmacKey&&) noexcept = default;

HmacKey HmacKey::from_bytes(std::span<const std::uint8_t> bytes) {
  auto state = std::make_unique<State>();
  EVP_MAC* const hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  state->keyed = EVP_MAC_CTX_new(hmac);
  EVP_MAC_free(hmac);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
  RETORT_CHECK(EVP_MAC_init(state->keyed, bytes.data(), bytes.size(), parameters) == 1);
  return HmacKey(std::move(state));
}

Result<HmacKey> HmacKey::open_or_make(const std::filesystem::path& path) {
  if (!is_there(path)) RETORT_TRY(make_key_file(path));
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return caller_error("The key file '" + path.string() +
                        "' may be read by others than its owner; expected mode 0600. Run chmod 600 on it, and make a "
                        "new one if somebody may have read it.");
  }
  RETORT_ASSIGN(std::string text, read_file(path));
  const Result<Digest> key = Digest::from_hex(trim(text));
  OPENSSL_cleanse(text.data(), text.size());
  if (!key) {
    return caller_error("The key file '" + path.string() +
                        "' holds no key; expected 64 hexadecimal digits. Restore it from a copy.");
  }
  return from_bytes(key->bytes);
}

Digest HmacKey::hash(std::string_view text) const {
  EVP_MAC_CTX* const context = EVP_MAC_CTX_dup(state_->keyed);
  RETORT_CHECK(context != nullptr);
  Digest digest;
  std::size_t size = 0;
  const bool done = EVP_MAC_update(context, reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1 &&
                    EVP_MAC_final(context, digest.bytes.data(), &size, digest.bytes.size()) == 1;
  EVP_MAC_CTX_free(context);
  RETORT_CHECK(done && size == digest.bytes.size());
  return digest;
}

}  // namespace retort::callers
