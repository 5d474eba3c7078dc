#include "base/cryptography.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/files.h"

namespace retort {
namespace {

namespace fs = std::filesystem;

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[static_cast<unsigned char>(c) >> 4U];
    text += kDigits[static_cast<unsigned char>(c) & 15U];
  }
  return text;
}

fs::path empty_folder(const std::string& name) {
  const fs::path folder = fs::temp_directory_path() / ("retort_cryptography_" + name);
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

TEST(Cryptography, HmacAndHkdfGiveThePublishedValues) {
  // RFC 4231, test case 2.
  EXPECT_EQ(hex(bytes_of(hmac_sha256("Jefe", "what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  // RFC 5869, test case 1, first 32 bytes.
  std::string salt;
  for (char c = 0; c <= 12; ++c) salt += c;
  std::string info;
  for (int c = 0xf0; c <= 0xf9; ++c) info += static_cast<char>(c);
  EXPECT_EQ(hex(bytes_of(hkdf_sha256(std::string(22, '\x0b'), salt, info))),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

TEST(Cryptography, Base64ReadsExactlyWhatItWrites) {
  EXPECT_EQ(base64("foob"), "Zm9vYg==");
  EXPECT_EQ(base64url("foob"), "Zm9vYg");
  EXPECT_EQ(from_base64("Zm9vYg=="), "foob");
  EXPECT_EQ(from_base64url("Zm9vYg"), "foob");
  EXPECT_EQ(from_base64url("Zm9vYh"), std::nullopt);  // stray bits
  EXPECT_EQ(from_base64("Zm9vYg="), std::nullopt);
  EXPECT_EQ(from_base64("Zm9v Yg="), std::nullopt);
  EXPECT_EQ(from_base64url("Zm9vY"), std::nullopt);
  std::string every;
  for (int c = 0; c < 256; ++c) every += static_cast<char>(c);
  for (std::size_t size = 0; size <= every.size(); ++size) {
    EXPECT_EQ(from_base64(base64(every.substr(0, size))), every.substr(0, size));
    EXPECT_EQ(from_base64url(base64url(every.substr(0, size))), every.substr(0, size));
  }
}

TEST(Cryptography, AeadOpensOnlyWhatIsUnchanged) {
  const Aead aead;
  SecretKey key{};
  key.fill(7);
  const Aead::Nonce nonce{};
  std::string sealed;
  aead.seal(key, nonce, "about", "secret", sealed);
  ASSERT_EQ(sealed.size(), 6 + Aead::kTagBytes);
  EXPECT_EQ(aead.open(key, nonce, "about", sealed), "secret");
  EXPECT_EQ(aead.open(key, nonce, "other", sealed), std::nullopt);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_EQ(aead.open(key, nonce, "about", changed), std::nullopt);
  }
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(aead.open(key, nonce, "about", sealed.substr(0, size)), std::nullopt);
  }
  std::string empty;
  aead.seal(key, nonce, "", "", empty);
  EXPECT_EQ(aead.open(key, nonce, "", empty), "");
}

TEST(Cryptography, ASigningKeyIsMadeOnceAndKeptFromOthers) {
  const fs::path folder = empty_folder("signing");
  const auto made = SigningKey::read_or_make(folder / "signing.pem");
  ASSERT_TRUE(made) << made.error().message;
  struct stat facts {};
  ASSERT_EQ(::stat((folder / "signing.pem").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0600U);
  const Signature signature = made->sign("message");
  const auto again = SigningKey::read_or_make(folder / "signing.pem");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->public_key().id(), made->public_key().id());
  const auto read = PublicKey::read(folder / "signing.pem.pub");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(read->verify("message", signature));
  EXPECT_FALSE(read->verify("massage", signature));
  ::chmod((folder / "signing.pem").c_str(), 0640);
  const auto open_to_others = SigningKey::read_or_make(folder / "signing.pem");
  ASSERT_FALSE(open_to_others);
  EXPECT_THAT(open_to_others.error().message, testing::HasSubstr("chmod 600"));
}

TEST(Cryptography, AKeyFileIsMadeOnceAndNeverQuoted) {
  const fs::path folder = empty_folder("key");
  const auto key = read_or_make_key(folder / "master.key");
  ASSERT_TRUE(key);
  EXPECT_EQ(read_or_make_key(folder / "master.key"), *key);
  ASSERT_TRUE(write_secret_file(folder / "short.key", "c2VjcmV0\n"));
  const auto refused = read_or_make_key(folder / "short.key");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kCaller);
  EXPECT_THAT(refused.error().message, testing::Not(testing::HasSubstr("c2VjcmV0")));
}

}  // namespace
}  // namespace retort
