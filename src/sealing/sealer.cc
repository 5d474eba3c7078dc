#include "sealing/sealer.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace retort::sealing {

namespace {

// The bytes behind the prefix: version 1, key's fingerprint 8, salt 16, length of the owner's part 2, the owner's part
// (organisation, padded, with its tag), the blob's part (facts and blob, with its tag).
constexpr char kVersion = 1;
constexpr std::size_t kSaltAt = 9;
constexpr std::size_t kSaltBytes = 16;
constexpr std::size_t kLengthAt = kSaltAt + kSaltBytes;
constexpr std::size_t kHeaderBytes = kLengthAt + 2;
constexpr std::size_t kMaxOrganisationBytes = 1000;
constexpr std::size_t kPadBytes = 32;  // names of different lengths look alike up to this
// Conversation 16, digest of the model's name 16, prefix 32, expiry 8.
constexpr std::size_t kFactsBytes = 16 + 16 + 32 + 8;
// The key is new for every blob, so the nonce need not be.
constexpr Aead::Nonce kNonce{};

struct Keys {
  SecretKey owner{};
  SecretKey blob{};
  Keys() = default;
  Keys(const Keys&) = delete;
  Keys& operator=(const Keys&) = delete;
  ~Keys() {
    OPENSSL_cleanse(owner.data(), owner.size());
    OPENSSL_cleanse(blob.data(), blob.size());
  }
};

SecretKey owner_key(const KeyRing::Key& key, std::string_view salt) {
  return hkdf_sha256(bytes_of(key.secret), salt, "retort sealing owner 1");
}

SecretKey blob_key(const KeyRing::Key& key, std::string_view salt, std::string_view organisation) {
  std::string purpose = "retort sealing blob 1\n" + key.id + "\n";
  purpose += organisation;
  return hkdf_sha256(bytes_of(key.secret), salt, purpose);
}

std::string padded(std::string_view organisation) {
  std::string text(organisation);
  text += '\x01';
  text.resize((text.size() + kPadBytes - 1) / kPadBytes * kPadBytes, '\0');
  return text;
}

std::string_view unpadded(std::string_view text) {
  const std::size_t end = text.find_last_not_of('\0');
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end + 1);
}

std::string_view model_digest(const Digest& digest) { return bytes_of(std::span(digest.bytes)).substr(0, 16); }

void put_le(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::uint64_t get_le(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

}  // namespace

std::string hex(const ConversationId& id) { return retort::hex(bytes_of(id)); }

std::string_view name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOpened: return "opened";
    case Outcome::kNotSealed: return "not_sealed";
    case Outcome::kTampered: return "tampered";
    case Outcome::kForeignOrganisation: return "foreign_organisation";
    case Outcome::kExpired: return "expired";
    case Outcome::kOtherModel: return "other_model";
    case Outcome::kChangedPrefix: return "changed_prefix";
  }
  return "tampered";
}

Result<SealedText> Sealer::seal(std::string_view blob, const Binding& binding) const {
  if (binding.organisation.empty() || binding.organisation.size() > kMaxOrganisationBytes) {
    return caller_error("Reasoning can't be sealed for an organisation whose name has " +
                        std::to_string(binding.organisation.size()) + " bytes; expected 1 to " +
                        std::to_string(kMaxOrganisationBytes) + ".");
  }
  const KeyRing::Key& key = ring_.sealing_key();
  SealedText sealed;
  if (binding.conversation) {
    sealed.conversation = *binding.conversation;
  } else {
    RETORT_TRY(random_bytes(sealed.conversation));
  }
  std::array<std::uint8_t, kSaltBytes> salt{};
  RETORT_TRY(random_bytes(salt));
  Keys keys;
  keys.owner = owner_key(key, bytes_of(salt));
  keys.blob = blob_key(key, bytes_of(salt), binding.organisation);

  const std::string owner = padded(binding.organisation);
  std::string header(1, kVersion);
  header += bytes_of(key.fingerprint);
  header += bytes_of(salt);
  put_le(header, owner.size() + Aead::kTagBytes, 2);

  std::string facts;
  facts.reserve(kFactsBytes + blob.size());
  facts += bytes_of(sealed.conversation);
  facts += model_digest(sha256(binding.model));
  facts += bytes_of(std::span(binding.prefix.bytes));
  put_le(facts, static_cast<std::uint64_t>(binding.expires_unix_ms), 8);
  facts += blob;
  std::string blob_part;
  blob_part.reserve(facts.size() + Aead::kTagBytes);
  aead_.seal(keys.blob, kNonce, header, facts, blob_part);
  OPENSSL_cleanse(facts.data(), facts.size());

  std::string bytes = header;
  aead_.seal(keys.owner, kNonce, header + blob_part, owner, bytes);
  bytes += blob_part;
  sealed.text = std::string(kSealedPrefix) + base64url(bytes);
  return sealed;
}

Opened Sealer::open(std::string_view text, const Expected& expected) const {
  Opened opened;
  if (!looks_sealed(text)) return opened;
  opened.outcome = Outcome::kTampered;
  const auto decoded = from_base64url(text.substr(kSealedPrefix.size()));
  if (!decoded || decoded->size() < kHeaderBytes || (*decoded)[0] != kVersion) return opened;
  const std::string_view bytes = *decoded;
  KeyRing::Fingerprint fingerprint{};
  std::memcpy(fingerprint.data(), bytes.data() + 1, fingerprint.size());
  const KeyRing::Key* key = ring_.find(fingerprint);
  if (key == nullptr) {
    opened.unknown_key = true;
    return opened;
  }
  opened.key_id = key->id;
  const std::string_view header = bytes.substr(0, kHeaderBytes);
  const std::string_view salt = bytes.substr(kSaltAt, kSaltBytes);
  const std::size_t owner_bytes = get_le(bytes.substr(kLengthAt, 2));
  if (bytes.size() < kHeaderBytes + owner_bytes) return opened;
  const std::string_view owner_part = bytes.substr(kHeaderBytes, owner_bytes);
  const std::string_view blob_part = bytes.substr(kHeaderBytes + owner_bytes);

  Keys keys;
  keys.owner = owner_key(*key, salt);
  const auto owner = aead_.open(keys.owner, kNonce, std::string(header) + std::string(blob_part), owner_part);
  if (!owner) return opened;
  std::string_view organisation = unpadded(*owner);
  if (!organisation.ends_with('\x01')) return opened;
  organisation.remove_suffix(1);
  if (organisation != expected.organisation) {
    opened.outcome = Outcome::kForeignOrganisation;
    opened.sealed_for = organisation;
    return opened;
  }
  keys.blob = blob_key(*key, salt, organisation);
  auto facts = aead_.open(keys.blob, kNonce, header, blob_part);
  if (!facts || facts->size() < kFactsBytes) return opened;
  const std::string_view known = *facts;
  ConversationId conversation{};
  std::memcpy(conversation.data(), known.data(), conversation.size());
  opened.conversation = conversation;
  if (static_cast<std::int64_t>(get_le(known.substr(64, 8))) <= expected.now_unix_ms) {
    opened.outcome = Outcome::kExpired;
  } else if (known.substr(16, 16) != model_digest(sha256(expected.model))) {
    opened.outcome = Outcome::kOtherModel;
  } else if (expected.prefix && known.substr(32, 32) != bytes_of(std::span(expected.prefix->bytes))) {
    opened.outcome = Outcome::kChangedPrefix;
  } else {
    opened.outcome = Outcome::kOpened;
    opened.blob = known.substr(kFactsBytes);
  }
  OPENSSL_cleanse(facts->data(), facts->size());
  return opened;
}

}  // namespace retort::sealing
