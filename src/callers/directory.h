// Who calls: the snapshot of callers that every request is looked up in.
//
// A CallerDirectory is made from the database and never changes: any number of threads may read one. LiveCallers keeps
// the newest and swaps it when the database changed, so that a key created or revoked elsewhere counts within one
// refresh(). What expires (keys, verifications) does so by the time that is passed in, without a reload.
//
// authenticate() is one look-up by the key's public id and one HMAC, and keeps nothing of what was presented. An
// unknown id costs the same as a wrong secret. Pointers in its answer live as long as the directory: hold its
// shared_ptr.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "callers/end_customer.h"
#include "callers/ownership.h"
#include "callers/records.h"
#include "callers/registry.h"

namespace retort::callers {

// A verification in force until it expires.
struct TierGrant {
  std::string tier;
  std::string kind;  // what the caller was shown to be; may be empty
  std::int64_t until_unix_ms = 0;
};

// An account with what is known of who is behind it.
struct Caller {
  std::string account;
  std::string organisation;  // empty: none is known
  std::string person;        // likewise
  std::string own_tier;      // set by hand; what it falls back to
  std::string kind;
  std::optional<std::int64_t> plan_usd_cents_month{};
  std::int64_t created_unix_ms = 0;
  bool reseller = false;
  std::optional<AttestationKey> attestation{};  // what its end customers are signed with
  bool listed = false;                          // its organisation or person is on a list, or counts as listed
  std::string listed_why;                       // the chain of owners
  std::vector<TierGrant> grants;                // the account's before its organisation's, newest first
  std::vector<std::string> payment;  // traits as "card:…", sorted; its own, its person's, its organisation's
  std::vector<std::string> registration;

  // The newest verification in force, else its own tier; `own` always stays.
  std::string_view tier(std::int64_t now_unix_ms) const;
  // A verification in force shows it to be of its kind.
  bool kind_verified(std::int64_t now_unix_ms) const;
  // It resells, in the tier of attested resellers, and registered what it signs with.
  bool attested(std::int64_t now_unix_ms) const;
};

// Every account, by id, of one instant.
Result<std::map<std::string, Caller>> all_callers(const Registry& registry, const OwnershipRule& rule);

enum class Refusal : std::uint8_t {
  kMissing,      // nothing was presented
  kForeign,      // not a key of this form
  kMistyped,     // of this form, and the checksum disagrees
  kUnknown,      // well-formed, never issued
  kWrongSecret,  // the id is known, the secret isn't its
  kRevoked,
  kExpired,
};
// For logs and evidence: "wrong_secret".
std::string_view name_of(Refusal refusal);
// For the caller: one sentence, which says "revoked" or "expired" to the holder of the secret alone.
std::string_view sentence_of(Refusal refusal);

struct Authenticated {
  const Caller* caller = nullptr;
  std::string_view key_id;
  std::string_view tier;
};

class CallerDirectory {
 public:
  static Result<std::shared_ptr<const CallerDirectory>> load(std::shared_ptr<const Registry> registry,
                                                             const OwnershipRule& rule);

  // `presented`: the key's text, as it stood in `authorization: Bearer …` or `x-api-key`.
  tl::expected<Authenticated, Refusal> authenticate(std::string_view presented, std::int64_t now_unix_ms) const;

  const Caller* find_account(std::string_view account) const;  // null: unknown
  std::size_t keys() const { return keys_.size(); }
  const std::map<std::string, Caller>& callers() const { return callers_; }

 private:
  struct Key {
    ApiKey record;
    const Caller* caller = nullptr;
  };
  std::shared_ptr<const Registry> registry_;  // hashes secrets: touches no database
  std::map<std::string, Caller> callers_;
  std::vector<Key> keys_;
  std::unordered_map<std::string_view, const Key*> by_id_;
  std::unordered_map<std::string_view, const Caller*> by_account_;
};

// The newest directory. now() from any thread; refresh() from one at a time (it locks).
class LiveCallers {
 public:
  static Result<std::unique_ptr<LiveCallers>> open(const RegistryPaths& paths, const OwnershipRule& rule);

  std::shared_ptr<const CallerDirectory> now() const;
  // Loads again when the database changed; whether it did. Some microseconds when it didn't. On an error the directory
  // that was there stays.
  Result<bool> refresh();
  // For a configuration that was reloaded: the next refresh() judges by this rule.
  void set_rule(const OwnershipRule& rule);

 private:
  LiveCallers() = default;
  OwnershipRule rule_;
  std::shared_ptr<const Registry> registry_;
  std::mutex refreshing_;
  std::int64_t version_ = 0;  // of the database; none when -1
  mutable std::mutex swapping_;
  std::shared_ptr<const CallerDirectory> directory_;
};

}  // namespace retort::callers
