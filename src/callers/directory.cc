#include "callers/directory.h"

#include <algorithm>
#include <utility>

#include "base/cryptography.h"

namespace retort::callers {
namespace {

using BySubject = std::map<std::pair<SubjectKind, std::string>, std::vector<TierGrant>>;

// Subject -> its grants, newest first.
Result<BySubject> grants_of(const Registry& registry) {
  RETORT_ASSIGN(const std::vector<Verification> verifications, registry.verifications());
  std::map<std::pair<SubjectKind, std::string>, std::vector<std::pair<std::int64_t, TierGrant>>> raised;
  for (const Verification& one : verifications) {
    if (one.state() != VerificationState::kRaised || !one.expires_unix_ms) continue;
    raised[{one.subject.kind, one.subject.id}].emplace_back(one.steps.back().by.at_unix_ms,
                                                            TierGrant{one.tier, one.kind, *one.expires_unix_ms});
  }
  BySubject grants;
  for (auto& [subject, list] : raised) {
    // Of two in the same millisecond the later one in the table is newer.
    std::reverse(list.begin(), list.end());
    std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (auto& [at, grant] : list) grants[subject].push_back(std::move(grant));
  }
  return grants;
}

void append(std::vector<TierGrant>& to, const BySubject& grants, SubjectKind kind, const std::string& id) {
  const auto found = grants.find({kind, id});
  if (found != grants.end()) to.insert(to.end(), found->second.begin(), found->second.end());
}

void add_traits(std::map<std::string, Caller>& callers, const std::vector<Trait>& traits) {
  std::map<std::pair<SubjectKind, std::string>, std::vector<const Trait*>> by_subject;
  for (const Trait& trait : traits) by_subject[{trait.subject.kind, trait.subject.id}].push_back(&trait);
  for (auto& [id, caller] : callers) {
    for (const auto& subject : {std::pair(SubjectKind::kAccount, id), std::pair(SubjectKind::kPerson, caller.person),
                                std::pair(SubjectKind::kOrganisation, caller.organisation)}) {
      const auto found = by_subject.find(subject);
      if (found == by_subject.end()) continue;
      for (const Trait* trait : found->second) {
        (trait->purpose == TraitPurpose::kPayment ? caller.payment : caller.registration).push_back(trait->text());
      }
    }
    for (auto* list : {&caller.payment, &caller.registration}) {
      std::sort(list->begin(), list->end());
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
  }
}

}  // namespace

std::string_view Caller::tier(std::int64_t now_unix_ms) const {
  if (own_tier == kOwn) return own_tier;
  for (const TierGrant& grant : grants) {
    if (now_unix_ms < grant.until_unix_ms) return grant.tier;
  }
  return own_tier;
}

bool Caller::kind_verified(std::int64_t now_unix_ms) const {
  return !kind.empty() && std::any_of(grants.begin(), grants.end(), [&](const TierGrant& grant) {
    return grant.kind == kind && now_unix_ms < grant.until_unix_ms;
  });
}

bool Caller::attested(std::int64_t now_unix_ms) const {
  return reseller && attestation.has_value() && tier(now_unix_ms) == kAttestedReseller;
}

Result<std::map<std::string, Caller>> all_callers(const Registry& registry, const OwnershipRule& rule) {
  std::map<std::string, Caller> callers;
  const Result<void> done = registry.in_one_view([&]() -> Result<void> {
    RETORT_ASSIGN(const std::vector<Organisation> list, registry.organisations());
    std::map<std::string_view, const Organisation*> organisations;
    for (const Organisation& one : list) organisations[one.id] = &one;
    RETORT_ASSIGN(const BySubject grants, grants_of(registry));
    RETORT_ASSIGN(const OwnershipGraph graph, registry.ownership());
    RETORT_ASSIGN(const auto named, registry.named_entities());
    const Listings listings = listed_entities(graph, named, rule);
    RETORT_ASSIGN(const std::vector<Account> accounts, registry.accounts());
    for (const Account& account : accounts) {
      Caller caller{.account = account.id,
                    .organisation = account.organisation,
                    .person = account.person,
                    .own_tier = account.tier,
                    .kind = account.kind,
                    .plan_usd_cents_month = account.plan_usd_cents_month,
                    .created_unix_ms = account.created_unix_ms,
                    .listed_why = {},
                    .grants = {},
                    .payment = {},
                    .registration = {}};
      append(caller.grants, grants, SubjectKind::kAccount, account.id);
      const auto found = organisations.find(account.organisation);
      if (found != organisations.end()) {
        const Organisation& organisation = *found->second;
        append(caller.grants, grants, SubjectKind::kOrganisation, organisation.id);
        if (caller.kind.empty()) caller.kind = organisation.kind;
        caller.reseller = organisation.reseller;
        if (organisation.reseller) caller.attestation = registry.attestation_key(organisation);
      }
      for (const std::string& entity : {account.organisation, account.person}) {
        if (caller.listed || entity.empty() || !listings.contains(entity)) continue;
        caller.listed = true;
        caller.listed_why = explain(listings, entity, rule);
      }
      callers.emplace(account.id, std::move(caller));
    }
    RETORT_ASSIGN(const std::vector<Trait> traits, registry.traits());
    add_traits(callers, traits);
    return {};
  });
  if (!done) return Failure(done.error());
  return callers;
}

std::string_view name_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::kMissing: return "missing";
    case Refusal::kForeign: return "foreign";
    case Refusal::kMistyped: return "mistyped";
    case Refusal::kUnknown: return "unknown";
    case Refusal::kWrongSecret: return "wrong_secret";
    case Refusal::kRevoked: return "revoked";
    case Refusal::kExpired: return "expired";
  }
  return "";
}

std::string_view sentence_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::kMissing:
      return "No API key was given; expected it as 'authorization: Bearer <key>' or 'x-api-key: <key>'.";
    case Refusal::kForeign: return "That is no API key of this service; its keys begin with 'rg_'.";
    case Refusal::kMistyped: return "The API key is incomplete or mistyped; copy it once more, whole.";
    case Refusal::kUnknown:
    case Refusal::kWrongSecret: return "The API key is not valid; check it, or ask for a new one.";
    case Refusal::kRevoked: return "The API key was revoked; ask for a new one.";
    case Refusal::kExpired: return "The API key has expired; ask for a new one.";
  }
  return "";
}

Result<std::shared_ptr<const CallerDirectory>> CallerDirectory::load(std::shared_ptr<const Registry> registry,
                                                                     const OwnershipRule& rule) {
  const auto directory = std::make_shared<CallerDirectory>();
  RETORT_ASSIGN(directory->callers_, all_callers(*registry, rule));
  RETORT_ASSIGN(std::vector<ApiKey> keys, registry->keys());
  for (const auto& [id, caller] : directory->callers_) directory->by_account_.emplace(id, &caller);
  directory->keys_.reserve(keys.size());
  for (ApiKey& key : keys) {
    const Caller* const caller = directory->find_account(key.account);
    // An account that was added between the two readings: the change makes the next refresh load again.
    if (caller != nullptr) directory->keys_.push_back({std::move(key), caller});
  }
  directory->by_id_.reserve(directory->keys_.size());
  for (const Key& key : directory->keys_) directory->by_id_.emplace(key.record.id, &key);
  directory->registry_ = std::move(registry);
  return std::shared_ptr<const CallerDirectory>(directory);
}

tl::expected<Authenticated, Refusal> CallerDirectory::authenticate(std::string_view presented,
                                                                   std::int64_t now_unix_ms) const {
  if (presented.empty()) return tl::unexpected(Refusal::kMissing);
  ApiKeyParts parts;
  switch (read_api_key(presented, parts)) {
    case ApiKeyForm::kWell: break;
    case ApiKeyForm::kForeign: return tl::unexpected(Refusal::kForeign);
    case ApiKeyForm::kMistyped: return tl::unexpected(Refusal::kMistyped);
  }
  // Hashed in any case, so that the time doesn't say which ids exist.
  const Digest hash = registry_->hash_of_secret(parts);
  const auto found = by_id_.find(parts.id);
  if (found == by_id_.end()) return tl::unexpected(Refusal::kUnknown);
  const Key& key = *found->second;
  if (!equal_in_constant_time(bytes_of(hash.bytes), bytes_of(key.record.hash.bytes)))
    return tl::unexpected(Refusal::kWrongSecret);
  if (key.record.revoked_unix_ms) return tl::unexpected(Refusal::kRevoked);
  if (key.record.expires_unix_ms && now_unix_ms >= *key.record.expires_unix_ms)
    return tl::unexpected(Refusal::kExpired);
  return Authenticated{key.caller, key.record.id, key.caller->tier(now_unix_ms)};
}

const Caller* CallerDirectory::find_account(std::string_view account) const {
  const auto found = by_account_.find(account);
  return found == by_account_.end() ? nullptr : found->second;
}

Result<std::unique_ptr<LiveCallers>> LiveCallers::open(const RegistryPaths& paths, const OwnershipRule& rule) {
  std::unique_ptr<LiveCallers> live(new LiveCallers());
  live->rule_ = rule;
  RETORT_ASSIGN(Registry registry, Registry::open(paths));
  live->registry_ = std::make_shared<const Registry>(std::move(registry));
  // Before loading: what changes meanwhile is found by the next refresh.
  RETORT_ASSIGN(live->version_, live->registry_->data_version());
  RETORT_ASSIGN(live->directory_, CallerDirectory::load(live->registry_, rule));
  return live;
}

std::shared_ptr<const CallerDirectory> LiveCallers::now() const {
  const std::lock_guard lock(swapping_);
  return directory_;
}

Result<bool> LiveCallers::refresh() {
  const std::lock_guard one_at_a_time(refreshing_);
  RETORT_ASSIGN(const std::int64_t version, registry_->data_version());
  if (version == version_) return false;
  RETORT_ASSIGN(std::shared_ptr<const CallerDirectory> fresh, CallerDirectory::load(registry_, rule_));
  version_ = version;
  const std::lock_guard lock(swapping_);
  directory_.swap(fresh);
  return true;
}

void LiveCallers::set_rule(const OwnershipRule& rule) {
  const std::lock_guard lock(refreshing_);
  if (rule == rule_) return;
  rule_ = rule;
  version_ = -1;
}

}  // namespace retort::callers
