// The database of callers: every administrative change goes through here and leaves a line in the audit trail.
//
// Relied on:
//   - a change and its audit line are one transaction; audit lines and steps of verifications are never changed or
//     removed (triggers refuse it);
//   - a key's secret is returned once, by create_key, and is in no table, line or error; what is kept is
//     HMAC-SHA256(pepper, …), traits are HMAC-SHA256(trait key, …), and both keys lie in files apart from the database;
//   - a database whose key files are gone or were exchanged is refused, never silently given new ones.
// docs/formats/callers.md has the tables. One thread per object, but for hash_of_secret, which any
// may call; several processes may each have one. CallerDirectory (directory.h) is what requests are looked up in.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "callers/api_key.h"
#include "callers/end_customer.h"
#include "callers/ownership.h"
#include "callers/records.h"

namespace retort::callers {

struct RegistryPaths {
  std::filesystem::path database;
  std::filesystem::path pepper;     // what secrets of keys are hashed with
  std::filesystem::path trait_key;  // what traits are hashed with

  // FOLDER/callers.sqlite, FOLDER/pepper.key, FOLDER/traits.key.
  static RegistryPaths in(const std::filesystem::path& folder);
};

class Registry {
 public:
  // Makes what is absent. Error: a folder that can't be made, another program's database, key files that don't belong
  // to it.
  static Result<Registry> open(const RegistryPaths& paths);
  ~Registry();
  Registry(Registry&&) noexcept;
  Registry& operator=(Registry&&) noexcept;

  // Keys. The new key's `text` is shown once.
  struct KeyWish {
    std::string account;
    std::string note{};
    std::optional<std::int64_t> expires_unix_ms{};
  };
  Result<NewApiKey> create_key(const By& by, const KeyWish& wish);
  // Error: there is no such key, or it was revoked before.
  Result<void> revoke_key(const By& by, std::string_view id);
  Result<std::vector<ApiKey>> keys() const;  // by time of creation
  // What authentication compares with ApiKey::hash.
  Digest hash_of_secret(const ApiKeyParts& key) const;

  // Accounts, organisations, people. add_*: an error when the id is taken; `created_unix_ms` is the change's.
  Result<void> add_account(const By& by, const Account& account);
  Result<void> set_tier(const By& by, const std::string& account, const std::string& tier);
  Result<void> set_plan(const By& by, const std::string& account, std::optional<std::int64_t> usd_cents_month);
  Result<std::vector<Account>> accounts() const;
  Result<void> add_organisation(const By& by, const Organisation& organisation);
  Result<std::vector<Organisation>> organisations() const;
  Result<void> add_person(const By& by, const Person& person);
  Result<std::vector<Person>> people() const;

  // Traits. The purpose follows from the kind (traits.h). Adding one twice changes nothing.
  Result<void> add_trait(const By& by, const Subject& subject, std::string_view kind, std::string_view value);
  Result<std::vector<Trait>> traits() const;

  // Ownership. Entities are organisations' ids or any other names.
  Result<void> set_owners(const By& by, const std::string& entity, std::vector<Stake> owners);
  Result<OwnershipGraph> ownership() const;
  // Replaces the list of that name.
  Result<void> set_list(const By& by, const EntityList& list);
  Result<std::vector<EntityList>> lists() const;  // by name
  // Entity -> the list that names it (the first by name, when several do).
  Result<std::map<std::string, std::string, std::less<>>> named_entities() const;

  // What a reseller signs end customers with. The HMAC secret (64 hexadecimal digits) is derived from the pepper and a
  // number that grows: it is stored nowhere, shown once, and a new one makes the old worthless.
  Result<std::string> issue_attestation_secret(const By& by, const std::string& organisation);
  Result<void> register_attestation_key(const By& by, const std::string& organisation, std::string_view ed25519_hex);
  // Nothing: it registered none.
  std::optional<AttestationKey> attestation_key(const Organisation& organisation) const;

  // Verifications. Error: a step that doesn't follow, or a tier that isn't a word.
  Result<std::int64_t> request_verification(const By& by, const Subject& subject, const std::string& tier,
                                            const std::string& kind, const std::string& note);
  Result<void> receive_verification(const By& by, std::int64_t number, const Digest& document, const std::string& note);
  Result<void> raise_verification(const By& by, std::int64_t number, std::int64_t expires_unix_ms,
                                  const std::string& note);
  Result<void> refuse_verification(const By& by, std::int64_t number, const std::string& note);
  Result<std::vector<Verification>> verifications() const;  // by number

  // The newest `limit` lines of the audit trail, newest first.
  Result<std::vector<AuditEntry>> audit(std::int64_t limit) const;

  // Changes whenever another connection, of this process or another one, changed the database. A few microseconds.
  Result<std::int64_t> data_version() const;
  // Everything read in `body` is of one instant.
  Result<void> in_one_view(const std::function<Result<void>()>& body) const;

 private:
  struct State;
  explicit Registry(std::unique_ptr<State> state);
  Result<void> step(const By& by, std::int64_t number, VerificationState to, const Digest* document,
                    std::optional<std::int64_t> expires_unix_ms, const std::string& note);
  std::unique_ptr<State> state_;
};

}  // namespace retort::callers
