// Sealed reasoning: what an upstream lets a client carry between turns (encrypted reasoning, signatures of thinking) is
// wrapped, so that it can be read back through this guard alone, for the organisation it was given to.
//
// A sealed text is "rtb1." and base64url (docs/formats/sealed-reasoning.md). Its key is derived by HKDF-SHA256 from the
// ring's secret, the organisation and a salt that is drawn for each blob, so that no key and nonce of AES-256-GCM occur
// twice, whatever number of guards share the ring. Organisation, conversation, model, prefix and expiry are inside: the
// text tells nothing of them, and not whether two blobs belong to one organisation.
//
// A second layer, keyed by the ring and the salt alone, covers every byte. It is opened first: so a blob that we sealed
// for another organisation is told from one that was changed, and names (to the guard, never to the caller) for whom it
// was.
//
// const members may be called by any thread. No error or outcome holds plaintext but kOpened.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/cryptography.h"
#include "base/digest.h"
#include "base/error.h"
#include "sealing/key_ring.h"

namespace retort::sealing {

using ConversationId = std::array<std::uint8_t, 16>;
std::string hex(const ConversationId& id);

// What a blob is bound to when it is sealed.
struct Binding {
  std::string organisation;                    // or a reseller's end customer, so named that none can be another's
  std::optional<ConversationId> conversation;  // empty: the first blob of a conversation; one is minted
  std::string model;
  Digest prefix;  // of the conversation before this blob
  std::int64_t expires_unix_ms = 0;
};

// What a blob must have been bound to when it comes back.
struct Expected {
  std::string organisation;
  std::string model;
  std::optional<Digest> prefix;  // empty: not compared
  std::int64_t now_unix_ms = 0;
};

enum class Outcome : std::uint8_t {
  kOpened,
  kNotSealed,            // does not begin as a sealed text does
  kTampered,             // sealed, and not as it was, or under a key that this ring lacks (Opened::unknown_key)
  kForeignOrganisation,  // sealed by us, unchanged, for another organisation
  kExpired,
  kOtherModel,     // no evidence by itself: agents change models
  kChangedPrefix,  // no evidence by itself: agents compact and edit
};
std::string_view name_of(Outcome outcome);  // "opened", "not_sealed", "tampered", "foreign_organisation", …

struct Opened {
  Outcome outcome = Outcome::kNotSealed;
  std::string blob;                            // kOpened alone
  std::optional<ConversationId> conversation;  // kOpened, kExpired, kOtherModel, kChangedPrefix
  std::string sealed_for;                      // kForeignOrganisation: for evidence, never for the caller
  std::string key_id;                          // of the ring; empty when not known
  // kTampered: no key of this ring has this fingerprint. Retired too early, another deployment's, or changed bytes: it
  // can't be told which, and so is weak evidence.
  bool unknown_key = false;
};

struct SealedText {
  std::string text;
  ConversationId conversation{};  // given or minted
};

inline constexpr std::string_view kSealedPrefix = "rtb1.";
inline bool looks_sealed(std::string_view text) { return text.starts_with(kSealedPrefix); }

class Sealer {
 public:
  explicit Sealer(KeyRing ring) : ring_(std::move(ring)) {}

  // Error: kWorld when the random generator fails, kCaller when the organisation's name has more than 1,000 bytes or is
  // empty. About 4/3 of the blob and 220 characters.
  Result<SealedText> seal(std::string_view blob, const Binding& binding) const;
  // Never fails: whatever is given has one of the outcomes. Judged in the order of the enumeration.
  Opened open(std::string_view text, const Expected& expected) const;

 private:
  KeyRing ring_;
  Aead aead_;
};

}  // namespace retort::sealing
