// Keys in files: read only where nobody else may read them, written with mode 0600.
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/cryptography.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"

namespace retort {

namespace {

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;
using Bio = std::unique_ptr<BIO, FreeBio>;

std::string text_in(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

}  // namespace

struct PublicKey::State {
  Key key;
};

Result<PublicKey> PublicKey::read(const std::filesystem::path& path) {
  RETORT_ASSIGN(const std::string pem, read_file(path));
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  auto state = std::make_shared<State>();
  state->key.reset(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
  if (state->key == nullptr || EVP_PKEY_get_base_id(state->key.get()) != EVP_PKEY_ED25519) {
    return caller_error("'" + path.string() +
                        "' holds no Ed25519 public key; expected a PEM file ('BEGIN PUBLIC KEY').");
  }
  return PublicKey(std::move(state));
}

bool PublicKey::verify(std::string_view message, const Signature& signature) const {
  const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  return context != nullptr && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, state_->key.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(),
                          reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1;
}

std::string PublicKey::pem() const {
  const Bio bio(BIO_new(BIO_s_mem()));
  RETORT_CHECK(bio != nullptr && PEM_write_bio_PUBKEY(bio.get(), state_->key.get()) == 1);
  return text_in(bio.get());
}

std::string PublicKey::id() const {
  std::array<std::uint8_t, 32> raw{};
  std::size_t size = raw.size();
  RETORT_CHECK(EVP_PKEY_get_raw_public_key(state_->key.get(), raw.data(), &size) == 1);
  return sha256(bytes_of(raw)).hex().substr(0, 16);
}

Result<SigningKey> SigningKey::read_or_make(const std::filesystem::path& path) {
  auto state = std::make_shared<PublicKey::State>();
  const std::filesystem::path beside = path.string() + ".pub";
  if (is_there(path)) {
    RETORT_ASSIGN(std::string pem, read_secret_file(path));
    const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    state->key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
    OPENSSL_cleanse(pem.data(), pem.size());
    if (state->key == nullptr || EVP_PKEY_get_base_id(state->key.get()) != EVP_PKEY_ED25519) {
      return caller_error("'" + path.string() +
                          "' holds no Ed25519 private key; expected a PEM file ('BEGIN PRIVATE KEY').");
    }
  } else if (is_there(beside)) {
    return caller_error("'" + path.string() +
                        "' is missing and its public half is there. Restore it from a copy; "
                        "without it, what it signed can be checked and not gone on with.");
  } else {
    state->key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    if (state->key == nullptr) return world_error("No signing key could be made: the random generator failed.");
    const Bio bio(BIO_new(BIO_s_mem()));
    RETORT_CHECK(PEM_write_bio_PrivateKey(bio.get(), state->key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
    std::string pem = text_in(bio.get());
    const auto written = write_secret_file(path, pem);
    OPENSSL_cleanse(pem.data(), pem.size());
    RETORT_TRY(written);
  }
  SigningKey key{PublicKey(std::move(state))};
  if (!is_there(beside)) RETORT_TRY(write_file(beside, key.public_key_.pem()));
  RETORT_ASSIGN(const std::string published, read_file(beside));
  if (published != key.public_key_.pem()) {
    return caller_error("'" + beside.string() + "' is not the public half of '" + path.string() +
                        "'. Restore the private key that belongs to it.");
  }
  return key;
}

Signature SigningKey::sign(std::string_view message) const {
  Signature signature{};
  std::size_t size = signature.size();
  const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  RETORT_CHECK(context != nullptr &&
               EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, public_key_.state_->key.get()) == 1 &&
               EVP_DigestSign(context.get(), signature.data(), &size,
                              reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1 &&
               size == signature.size());
  return signature;
}

Result<std::string> read_secret_file(const std::filesystem::path& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) == 0 && (facts.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return caller_error("'" + path.string() +
                        "' holds a secret and others than its owner may read or change it. Run: chmod 600 '" +
                        path.string() + "'");
  }
  return read_file(path);
}

Result<void> write_secret_file(const std::filesystem::path& path, std::string_view bytes) {
  const auto failed = [&path](int error) {
    return world_error("'" + path.string() + "' cannot be written: " + std::strerror(error) + ".");
  };
  if (path.has_parent_path()) RETORT_TRY(make_folder(path.parent_path()));
  std::string beside = path.string() + ".part-XXXXXX";
  const int descriptor = ::mkostemp(beside.data(), O_CLOEXEC);  // mode 0600
  if (descriptor < 0) return failed(errno);
  int error = 0;
  for (std::size_t done = 0; error == 0 && done < bytes.size();) {
    const ssize_t wrote = ::write(descriptor, bytes.data() + done, bytes.size() - done);
    if (wrote < 0 && errno != EINTR) error = errno;
    if (wrote > 0) done += static_cast<std::size_t>(wrote);
  }
  if (error == 0 && ::fsync(descriptor) != 0) error = errno;
  ::close(descriptor);
  if (error == 0 && ::rename(beside.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(beside.c_str());
    return failed(error);
  }
  const int folder =
      ::open(path.has_parent_path() ? path.parent_path().c_str() : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return {};
}

Result<SecretKey> key_from_base64(std::string_view text, std::string_view what) {
  std::optional<std::string> bytes = from_base64(trim(text));
  SecretKey key{};
  if (!bytes || bytes->size() != key.size()) {
    return caller_error(std::string(what) + " is no key; expected 32 bytes as base64 (44 characters).");
  }
  std::memcpy(key.data(), bytes->data(), key.size());
  OPENSSL_cleanse(bytes->data(), bytes->size());
  return key;
}

Result<SecretKey> read_or_make_key(const std::filesystem::path& path) {
  if (!is_there(path)) {
    RETORT_ASSIGN(const SecretKey key, random_key());
    RETORT_TRY(write_secret_file(path, base64(bytes_of(key)) + "\n"));
    return key;
  }
  RETORT_ASSIGN(const std::string text, read_secret_file(path));
  return key_from_base64(text, "'" + path.string() + "'");
}

}  // namespace retort
