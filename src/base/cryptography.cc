#include "base/cryptography.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace retort {

namespace {

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// The two letters of each 12 bits.
using LetterPairs = std::array<std::array<char, 2>, 4096>;
constexpr LetterPairs pairs_of(std::string_view letters) {
  LetterPairs pairs{};
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i] = {letters[i >> 6U], letters[i & 63U]};
  return pairs;
}
constexpr LetterPairs kBase64Pairs = pairs_of(kBase64);
constexpr LetterPairs kBase64UrlPairs = pairs_of(kBase64Url);

std::string encode(std::string_view bytes, std::string_view letters, const LetterPairs& pairs, bool padded) {
  std::string text((bytes.size() + 2) / 3 * 4, '=');
  char* to = text.data();
  const auto byte = [&bytes](std::size_t i) -> std::uint32_t { return static_cast<unsigned char>(bytes[i]); };
  std::size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const std::uint32_t group = byte(i) << 16U | byte(i + 1) << 8U | byte(i + 2);
    std::memcpy(to, pairs[group >> 12U].data(), 2);
    std::memcpy(to + 2, pairs[group & 4095U].data(), 2);
    to += 4;
  }
  if (const std::size_t left = bytes.size() - i; left > 0) {
    const std::uint32_t group = byte(i) << 16U | (left > 1 ? byte(i + 1) << 8U : 0U);
    *to++ = letters[group >> 18U];
    *to++ = letters[(group >> 12U) & 63U];
    if (left > 1) *to++ = letters[(group >> 6U) & 63U];
  }
  if (!padded) text.resize(static_cast<std::size_t>(to - text.data()));
  return text;
}

// The letters' values; 255: no letter.
constexpr std::array<std::uint8_t, 256> values_of(std::string_view letters) {
  std::array<std::uint8_t, 256> values{};
  for (std::uint8_t& value : values) value = 255;
  for (std::size_t i = 0; i < letters.size(); ++i) {
    values[static_cast<unsigned char>(letters[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}

constexpr std::array<std::uint8_t, 256> kBase64Values = values_of(kBase64);
constexpr std::array<std::uint8_t, 256> kBase64UrlValues = values_of(kBase64Url);

std::optional<std::string> decode(std::string_view text, const std::array<std::uint8_t, 256>& values) {
  const std::size_t left = text.size() % 4;
  if (left == 1) return std::nullopt;
  std::string bytes(text.size() / 4 * 3 + (left == 0 ? 0 : left - 1), '\0');
  char* to = bytes.data();
  unsigned wrong = 0;  // a bit above the six of a letter
  const auto value = [&](std::size_t i) -> std::uint32_t {
    const std::uint8_t one = values[static_cast<unsigned char>(text[i])];
    wrong |= one;
    return one;
  };
  std::size_t i = 0;
  for (; i + 4 <= text.size(); i += 4) {
    const std::uint32_t group = value(i) << 18U | value(i + 1) << 12U | value(i + 2) << 6U | value(i + 3);
    *to++ = static_cast<char>(group >> 16U);
    *to++ = static_cast<char>(group >> 8U);
    *to++ = static_cast<char>(group);
  }
  if (left > 0) {
    const std::uint32_t group = value(i) << 18U | value(i + 1) << 12U | (left == 3 ? value(i + 2) << 6U : 0U);
    *to++ = static_cast<char>(group >> 16U);
    if (left == 3) *to++ = static_cast<char>(group >> 8U);
    // Stray bits: another text that would read the same.
    if ((group & (left == 3 ? 0xFFU : 0xFFFFU)) != 0) return std::nullopt;
  }
  if (wrong > 63) return std::nullopt;
  return bytes;
}

}  // namespace

Result<void> random_bytes(std::span<std::uint8_t> out) {
  if (RAND_bytes(out.data(), static_cast<int>(out.size())) != 1) {
    return world_error("The system's random generator failed.");
  }
  return {};
}

Result<SecretKey> random_key() {
  SecretKey key{};
  RETORT_TRY(random_bytes(key));
  return key;
}

SecretKey hmac_sha256(std::string_view key, std::string_view message) {
  SecretKey out{};
  unsigned int size = 0;
  RETORT_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                    reinterpret_cast<const unsigned char*>(message.data()), message.size(), out.data(),
                    &size) != nullptr &&
               size == out.size());
  return out;
}

SecretKey hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view purpose) {
  const SecretKey pseudorandom = hmac_sha256(salt, secret);
  std::string message(purpose);
  message += '\x01';
  return hmac_sha256(bytes_of(pseudorandom), message);
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char c : bytes) {
    text += kDigits[static_cast<unsigned char>(c) >> 4U];
    text += kDigits[static_cast<unsigned char>(c) & 15U];
  }
  return text;
}

std::string base64(std::string_view bytes) { return encode(bytes, kBase64, kBase64Pairs, true); }
std::string base64url(std::string_view bytes) { return encode(bytes, kBase64Url, kBase64UrlPairs, false); }

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  for (int k = 0; k < 2 && text.ends_with('='); ++k) text.remove_suffix(1);
  return decode(text, kBase64Values);
}

std::optional<std::string> from_base64url(std::string_view text) { return decode(text, kBase64UrlValues); }

struct Aead::State {
  // Fetched once: looking an algorithm up costs more than encrypting a kilobyte.
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  State() { RETORT_CHECK(cipher != nullptr); }
  ~State() { EVP_CIPHER_free(cipher); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Aead::Aead() : state_(std::make_unique<State>()) {}
Aead::~Aead() = default;

namespace {

struct CloseCipher {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, CloseCipher>;

const unsigned char* raw(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* raw(std::string& bytes, std::size_t offset) {
  return reinterpret_cast<unsigned char*>(bytes.data()) + offset;
}

constexpr std::size_t kMaxPiece = 1U << 30U;  // OpenSSL counts in int

}  // namespace

void Aead::seal(const SecretKey& key, const Nonce& nonce, std::string_view associated, std::string_view plaintext,
                std::string& out) const {
  RETORT_CHECK(plaintext.size() < kMaxPiece && associated.size() < kMaxPiece);
  const CipherContext context(EVP_CIPHER_CTX_new());
  const std::size_t begin = out.size();
  out.resize(begin + plaintext.size() + kTagBytes);
  int size = 0;
  bool done =
      context != nullptr && EVP_EncryptInit_ex2(context.get(), state_->cipher, key.data(), nonce.data(), nullptr) == 1;
  if (!associated.empty()) {
    done = done &&
           EVP_EncryptUpdate(context.get(), nullptr, &size, raw(associated), static_cast<int>(associated.size())) == 1;
  }
  if (!plaintext.empty()) {
    done = done && EVP_EncryptUpdate(context.get(), raw(out, begin), &size, raw(plaintext),
                                     static_cast<int>(plaintext.size())) == 1;
  }
  done = done && EVP_EncryptFinal_ex(context.get(), raw(out, begin + plaintext.size()), &size) == 1 &&
         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, raw(out, begin + plaintext.size())) == 1;
  RETORT_CHECK(done);
}

std::optional<std::string> Aead::open(const SecretKey& key, const Nonce& nonce, std::string_view associated,
                                      std::string_view ciphertext_and_tag) const {
  if (ciphertext_and_tag.size() < kTagBytes || ciphertext_and_tag.size() >= kMaxPiece) return std::nullopt;
  const std::string_view ciphertext = ciphertext_and_tag.substr(0, ciphertext_and_tag.size() - kTagBytes);
  std::string tag(ciphertext_and_tag.substr(ciphertext.size()));
  const CipherContext context(EVP_CIPHER_CTX_new());
  std::string plaintext(ciphertext.size(), '\0');
  int size = 0;
  bool done =
      context != nullptr && EVP_DecryptInit_ex2(context.get(), state_->cipher, key.data(), nonce.data(), nullptr) == 1;
  if (!associated.empty()) {
    done = done &&
           EVP_DecryptUpdate(context.get(), nullptr, &size, raw(associated), static_cast<int>(associated.size())) == 1;
  }
  if (!ciphertext.empty()) {
    done = done && EVP_DecryptUpdate(context.get(), raw(plaintext, 0), &size, raw(ciphertext),
                                     static_cast<int>(ciphertext.size())) == 1;
  }
  std::array<unsigned char, kTagBytes> nothing{};
  done = done && EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1 &&
         EVP_DecryptFinal_ex(context.get(), nothing.data(), &size) == 1;
  if (!done) {
    OPENSSL_cleanse(plaintext.data(), plaintext.size());
    return std::nullopt;
  }
  return plaintext;
}

}  // namespace retort
