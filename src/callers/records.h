// What is kept of callers: organisations, people, accounts, keys, traits, verifications, lists, and who changed what.
//
// Plain values, as the tables of docs/formats/callers.md hold them. Times are milliseconds since 1970, UTC. Ids and
// names are 1 to 128 bytes of UTF-8 without control characters, chosen by the operator.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json_fwd.h"

namespace retort::callers {

// The tiers that are built in; a policy may name others.
constexpr std::string_view kAnonymous = "anonymous";
constexpr std::string_view kVerified = "verified";
constexpr std::string_view kAttestedReseller = "attested_reseller";
constexpr std::string_view kOwn = "own";  // the operator's: never changed by a verification

// Who makes a change, and when: for the audit trail.
struct By {
  std::string who;
  std::int64_t at_unix_ms = 0;
};

struct Organisation {
  std::string id{};
  std::string name{};  // for people; may be empty
  std::string kind{};  // "company", "university", …; may be empty
  bool reseller = false;
  std::string attestation{};                // what it signs end customers with: "", "hmac" or "ed25519"
  std::int64_t attestation_generation = 0;  // of its HMAC secret: a new one makes the old worthless
  std::string attestation_public_key{};     // Ed25519, 64 hexadecimal digits
  std::int64_t created_unix_ms = 0;
};

struct Person {
  std::string id{};  // a pseudonym of the operator's; names aren't kept
  std::string organisation{};
  std::string role{};
  std::int64_t created_unix_ms = 0;
};

struct Account {
  std::string id{};
  std::string organisation{};  // empty: none is known
  std::string person{};        // likewise
  std::string tier = std::string(kAnonymous);
  std::string kind{};  // "individual", "research", …; empty: the organisation's
  std::optional<std::int64_t> plan_usd_cents_month{};
  std::int64_t created_unix_ms = 0;
};

// A key as it is kept: without its secret.
struct ApiKey {
  std::string id{};
  std::string account{};
  Digest hash;  // of the secret, keyed
  std::string note{};
  std::int64_t created_unix_ms = 0;
  std::optional<std::int64_t> expires_unix_ms{};
  std::optional<std::int64_t> revoked_unix_ms{};
};

enum class SubjectKind : std::uint8_t { kAccount, kOrganisation, kPerson };
std::string_view text_of(SubjectKind kind);

struct Subject {
  SubjectKind kind = SubjectKind::kAccount;
  std::string id;
  bool operator==(const Subject&) const = default;
};

enum class TraitPurpose : std::uint8_t { kPayment, kRegistration };

// Something of a caller's that another caller may share: a keyed hash of its normalised form (traits.h).
struct Trait {
  Subject subject;
  TraitPurpose purpose = TraitPurpose::kPayment;
  std::string kind;  // "card", "email", …
  Digest hash;
  // "card:" and the first 32 hexadecimal digits: how it stands in lines of callers.
  std::string text() const;
};

// requested -> received -> raised; refused from any of them, which takes back what was raised.
enum class VerificationState : std::uint8_t { kRequested, kReceived, kRaised, kRefused };
std::string_view text_of(VerificationState state);

struct VerificationStep {
  VerificationState state = VerificationState::kRequested;
  By by;
  std::string note;
};

struct Verification {
  std::int64_t number = 0;
  Subject subject;                                // an account or an organisation
  std::string tier;                               // what it is raised to
  std::string kind;                               // what it is shown to be; may be empty
  std::optional<Digest> document{};               // of what was received
  std::optional<std::int64_t> expires_unix_ms{};  // set when raised
  std::vector<VerificationStep> steps;            // oldest first; the last says the state

  VerificationState state() const { return steps.back().state; }
};

// A list of entities that count as listed: sanctions, an Entity List, the operator's own.
struct EntityList {
  std::string name;
  std::string date;  // of the edition, as its publisher writes it
  Digest digest;     // of the file it came from
  std::vector<std::string> entities;
};

struct AuditEntry {
  std::int64_t sequence = 0;
  By by;
  std::string what;     // "key.create", "organisation.add", …
  std::string subject;  // the id it is about
  std::string before;   // JSON; "null" when there was nothing
  std::string after;
};

}  // namespace retort::callers
