#include "guard/admin_callers.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "callers/administration.h"
#include "callers/lines.h"
#include "callers/percent.h"

namespace retort::guard {
namespace {

using callers::By;
using callers::Registry;
using callers::Subject;
using callers::SubjectKind;
using Changed = Result<std::optional<Json>>;

// A request's members: texts, numbers written as such where a text is wanted, and what a change names beside.
class Fields {
 public:
  static Result<Fields> read(const std::string& text, const std::vector<std::string>& known) {
    Json body = Json::parse(text, nullptr, false);
    if (!body.is_object()) return caller_error("The body is not a JSON object.");
    for (const auto& [key, value] : body.items()) {
      if (key == "by" || std::find(known.begin(), known.end(), key) != known.end()) continue;
      const std::string near = nearest(key, known);
      return caller_error("There is no '" + key + "' here" + (near.empty() ? "." : "; did you mean '" + near + "'?"));
    }
    return Fields(std::move(body));
  }

  const Json& json() const { return body_; }
  // "" when it isn't there. Error: it is no text.
  Result<std::string> text(const char* key) const {
    const auto found = body_.find(key);
    if (found == body_.end() || found->is_null()) return std::string();
    if (!found->is_string()) return caller_error(std::string("'") + key + "' is not a text.");
    return found->get<std::string>();
  }
  Result<std::string> needed(const char* key) const {
    RETORT_ASSIGN(std::string value, text(key));
    if (value.empty()) return caller_error(std::string("'") + key + "' is missing.");
    return value;
  }

 private:
  explicit Fields(Json body) : body_(std::move(body)) {}
  Json body_;
};

// A change: its path without the id, its members, and what it does.
struct Change {
  std::string_view path;  // "/admin/keys/*/revoke"
  std::vector<std::string> members;
  Changed (*make)(Registry& registry, const By& by, const std::string& id, const Fields& fields);
};

Result<std::optional<std::int64_t>> plan_of(const Fields& fields) {
  RETORT_ASSIGN(const std::string text, fields.text("plan_usd"));
  if (text.empty()) return std::optional<std::int64_t>();
  RETORT_ASSIGN(const std::int64_t cents, callers::parse_usd_cents(text));
  return std::optional(cents);
}

Changed create_key(Registry& registry, const By& by, const std::string&, const Fields& fields) {
  callers::AccountWish wish;
  RETORT_ASSIGN(wish.account, fields.text("account"));
  RETORT_ASSIGN(wish.organisation, fields.text("organisation"));
  RETORT_ASSIGN(wish.tier, fields.text("tier"));
  RETORT_ASSIGN(wish.kind, fields.text("kind"));
  RETORT_ASSIGN(wish.plan_usd_cents_month, plan_of(fields));
  Registry::KeyWish key;
  RETORT_ASSIGN(key.note, fields.text("note"));
  RETORT_ASSIGN(const std::string expires, fields.text("expires"));
  if (!expires.empty()) {
    RETORT_ASSIGN(key.expires_unix_ms, callers::parse_expiry(expires, by.at_unix_ms));
  }
  RETORT_ASSIGN(key.account, callers::ensure_account(registry, by, wish));
  RETORT_ASSIGN(const callers::NewApiKey made, registry.create_key(by, key));
  return Json{{"id", made.id}, {"secret", made.text}, {"account", key.account}};
}

Changed revoke_key(Registry& registry, const By& by, const std::string& id, const Fields&) {
  RETORT_TRY(registry.revoke_key(by, id));
  return Json{{"id", id}, {"revoked", true}};
}

Changed add_account(Registry& registry, const By& by, const std::string&, const Fields& fields) {
  callers::Account account;
  RETORT_ASSIGN(account.id, fields.needed("account"));
  RETORT_ASSIGN(account.organisation, fields.text("organisation"));
  RETORT_ASSIGN(account.person, fields.text("person"));
  RETORT_ASSIGN(const std::string tier, fields.text("tier"));
  if (!tier.empty()) account.tier = tier;
  RETORT_ASSIGN(account.kind, fields.text("kind"));
  RETORT_ASSIGN(account.plan_usd_cents_month, plan_of(fields));
  RETORT_TRY(registry.add_account(by, account));
  return Json{{"account", account.id}};
}

Changed set_tier(Registry& registry, const By& by, const std::string& id, const Fields& fields) {
  RETORT_ASSIGN(const std::string tier, fields.needed("tier"));
  RETORT_TRY(registry.set_tier(by, id, tier));
  return Json{{"account", id}, {"tier", tier}};
}

Changed set_plan(Registry& registry, const By& by, const std::string& id, const Fields& fields) {
  RETORT_ASSIGN(const auto plan, plan_of(fields));
  RETORT_TRY(registry.set_plan(by, id, plan));
  return Json{{"account", id}};
}

Changed add_person(Registry& registry, const By& by, const std::string&, const Fields& fields) {
  callers::Person person;
  RETORT_ASSIGN(person.id, fields.needed("person"));
  RETORT_ASSIGN(person.organisation, fields.needed("organisation"));
  RETORT_ASSIGN(person.role, fields.text("role"));
  RETORT_TRY(registry.add_person(by, person));
  return Json{{"person", person.id}};
}

// One of account, organisation and person.
Result<Subject> subject_of(const Fields& fields, bool people) {
  std::optional<Subject> subject;
  for (const auto& [key, kind] : {std::pair{"account", SubjectKind::kAccount},
                                  {"organisation", SubjectKind::kOrganisation},
                                  {"person", SubjectKind::kPerson}}) {
    RETORT_ASSIGN(const std::string id, fields.text(key));
    if (id.empty()) continue;
    if (subject) return caller_error("Of 'account', 'organisation' and 'person' only one may be named.");
    subject = Subject{kind, id};
  }
  if (!subject)
    return caller_error(people ? "Whose it is is missing: 'account', 'organisation' or 'person'."
                               : "Who is to be verified is missing: 'account' or 'organisation'.");
  return *subject;
}

Changed add_trait(Registry& registry, const By& by, const std::string&, const Fields& fields) {
  RETORT_ASSIGN(const Subject subject, subject_of(fields, true));
  RETORT_ASSIGN(const std::string kind, fields.needed("kind"));
  RETORT_ASSIGN(const std::string value, fields.needed("value"));
  RETORT_TRY(registry.add_trait(by, subject, kind, value));
  return Json{{"id", subject.id}, {"kind", kind}};
}

Changed add_organisation(Registry& registry, const By& by, const std::string&, const Fields& fields) {
  callers::Organisation organisation;
  RETORT_ASSIGN(organisation.id, fields.needed("organisation"));
  RETORT_ASSIGN(organisation.name, fields.text("name"));
  RETORT_ASSIGN(organisation.kind, fields.text("kind"));
  if (const auto reseller = fields.json().find("reseller"); reseller != fields.json().end()) {
    if (!reseller->is_boolean()) return caller_error("'reseller' is not true or false.");
    organisation.reseller = reseller->get<bool>();
  }
  RETORT_TRY(registry.add_organisation(by, organisation));
  return Json{{"organisation", organisation.id}};
}

Changed set_owners(Registry& registry, const By& by, const std::string& id, const Fields& fields) {
  const auto owners = fields.json().find("owners");
  if (owners == fields.json().end() || !owners->is_array()) {
    return caller_error("'owners' is not a list of {\"owner\",\"percent\"}; an empty one forgets them.");
  }
  std::vector<callers::Stake> stakes;
  for (const Json& one : *owners) {
    // Texts: a number of JSON is a binary fraction to most who write it.
    const bool whole = one.is_object() && one.size() == 2 && one.contains("owner") && one["owner"].is_string() &&
                       one.contains("percent") && one["percent"].is_string();
    if (!whole) return caller_error("An owner is {\"owner\":\"Holding Ltd\",\"percent\":\"50.0\"}, both texts.");
    RETORT_ASSIGN(const callers::Percent percent, callers::Percent::parse(one["percent"].get<std::string>()));
    stakes.push_back({one["owner"].get<std::string>(), percent});
  }
  RETORT_TRY(registry.set_owners(by, id, std::move(stakes)));
  return Json{{"organisation", id}, {"owners", *owners}};
}

Changed attest(Registry& registry, const By& by, const std::string& id, const Fields& fields) {
  RETORT_ASSIGN(const std::string key, fields.text("ed25519"));
  if (!key.empty()) {
    RETORT_TRY(registry.register_attestation_key(by, id, key));
    return Json{{"organisation", id}, {"ed25519", key}};
  }
  RETORT_ASSIGN(const std::string secret, registry.issue_attestation_secret(by, id));
  return Json{{"organisation", id}, {"secret", secret}};
}

Changed set_list(Registry& registry, const By& by, const std::string&, const Fields& fields) {
  callers::EntityList list;
  RETORT_ASSIGN(list.name, fields.needed("name"));
  RETORT_ASSIGN(list.date, fields.needed("date"));
  const auto entities = fields.json().find("entities");
  if (entities == fields.json().end() || !entities->is_array() || entities->empty()) {
    return caller_error("'entities' is not a list of names, at least one.");
  }
  std::string lines;  // as a file of them would be
  for (const Json& entity : *entities) {
    if (!entity.is_string()) return caller_error("'entities' holds something else than a name.");
    list.entities.push_back(entity.get<std::string>());
    lines += list.entities.back() + "\n";
  }
  list.digest = sha256(lines);
  RETORT_TRY(registry.set_list(by, list));
  return Json{{"list", list.name}, {"digest", list.digest.hex()}, {"entities", list.entities.size()}};
}

Changed request_verification(Registry& registry, const By& by, const std::string&, const Fields& fields) {
  RETORT_ASSIGN(const Subject subject, subject_of(fields, false));
  RETORT_ASSIGN(const std::string tier, fields.needed("tier"));
  RETORT_ASSIGN(const std::string kind, fields.text("kind"));
  RETORT_ASSIGN(const std::string note, fields.text("note"));
  RETORT_ASSIGN(const std::int64_t number, registry.request_verification(by, subject, tier, kind, note));
  return Json{{"number", number}, {"state", "requested"}};
}

// A whole number from 1. Error: the text as `what` names it.
Result<std::int64_t> from_one(const std::string& text, const std::string& what) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 1) return caller_error(what);
  return number;
}

Result<std::int64_t> number_of(const std::string& id) {
  return from_one(id, "'" + id + "' is not the number of a verification.");
}

Changed receive_verification(Registry& registry, const By& by, const std::string& id, const Fields& fields) {
  RETORT_ASSIGN(const std::int64_t number, number_of(id));
  RETORT_ASSIGN(const std::string hex, fields.needed("document"));
  RETORT_ASSIGN(const Digest document, Digest::from_hex(hex));
  RETORT_ASSIGN(const std::string note, fields.text("note"));
  RETORT_TRY(registry.receive_verification(by, number, document, note));
  return Json{{"number", number}, {"state", "received"}};
}

Changed raise_verification(Registry& registry, const By& by, const std::string& id, const Fields& fields) {
  RETORT_ASSIGN(const std::int64_t number, number_of(id));
  RETORT_ASSIGN(const std::string text, fields.needed("expires"));
  RETORT_ASSIGN(const std::int64_t expires, callers::parse_expiry(text, by.at_unix_ms));
  RETORT_ASSIGN(const std::string note, fields.text("note"));
  RETORT_TRY(registry.raise_verification(by, number, expires, note));
  return Json{{"number", number}, {"state", "raised"}};
}

Changed refuse_verification(Registry& registry, const By& by, const std::string& id, const Fields& fields) {
  RETORT_ASSIGN(const std::int64_t number, number_of(id));
  RETORT_ASSIGN(const std::string note, fields.text("note"));
  RETORT_TRY(registry.refuse_verification(by, number, note));
  return Json{{"number", number}, {"state", "refused"}};
}

const std::vector<Change>& changes() {
  static const std::vector<Change> all = {
      {"/admin/keys", {"account", "organisation", "tier", "kind", "plan_usd", "note", "expires"}, create_key},
      {"/admin/keys/*/revoke", {}, revoke_key},
      {"/admin/accounts", {"account", "organisation", "person", "tier", "kind", "plan_usd"}, add_account},
      {"/admin/accounts/*/tier", {"tier"}, set_tier},
      {"/admin/accounts/*/plan", {"plan_usd"}, set_plan},
      {"/admin/people", {"person", "organisation", "role"}, add_person},
      {"/admin/traits", {"account", "organisation", "person", "kind", "value"}, add_trait},
      {"/admin/organisations", {"organisation", "name", "kind", "reseller"}, add_organisation},
      {"/admin/organisations/*/owners", {"owners"}, set_owners},
      {"/admin/organisations/*/attestation", {"ed25519"}, attest},
      {"/admin/lists", {"name", "date", "entities"}, set_list},
      {"/admin/verifications", {"account", "organisation", "tier", "kind", "note"}, request_verification},
      {"/admin/verifications/*/receive", {"document", "note"}, receive_verification},
      {"/admin/verifications/*/raise", {"expires", "note"}, raise_verification},
      {"/admin/verifications/*/refuse", {"note"}, refuse_verification},
  };
  return all;
}

// The id where the pattern has '*'; "" for a path without one. Nothing: another path.
std::optional<std::string_view> matched(std::string_view pattern, std::string_view path) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return path == pattern ? std::optional<std::string_view>("") : std::nullopt;
  const std::string_view before = pattern.substr(0, star);
  const std::string_view after = pattern.substr(star + 1);
  if (!path.starts_with(before) || !path.ends_with(after) || path.size() <= before.size() + after.size()) {
    return std::nullopt;
  }
  const std::string_view id = path.substr(before.size(), path.size() - before.size() - after.size());
  return id.find('/') == std::string_view::npos ? std::optional(id) : std::nullopt;
}

// Of a query; "" when it isn't there.
Result<std::string> parameter(const std::string& query, std::string_view name) {
  for (const std::string& part : split(query, '&')) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || part.substr(0, equals) != name) continue;
    return net::percent_decode(part.substr(equals + 1));
  }
  return std::string();
}

}  // namespace

Result<AdminCallers> AdminCallers::open(GuardState& state) {
  const auto rules = state.now()->rules;
  RETORT_ASSIGN(auto registry, Registry::open(callers::RegistryPaths::in(rules->path(rules->options.callers.path))));
  return AdminCallers(state, std::move(registry));
}

Changed AdminCallers::act(const net::HttpRequest& request) {
  if (request.method == "GET") return show(request);
  if (request.method != "POST") return std::optional<Json>();
  for (const Change& change : changes()) {
    const auto encoded = matched(change.path, request.path);
    if (!encoded) continue;
    RETORT_ASSIGN(const std::string id, net::percent_decode(*encoded));
    RETORT_ASSIGN(const Fields fields, Fields::read(request.body, change.members));
    RETORT_ASSIGN(const std::string who, fields.needed("by"));
    auto done = change.make(registry_, {who, state_->clock.unix_ms()}, id, fields);
    if (!done) return done;
    // It counts from here on, not from the next look at the database.
    RETORT_TRY(state_->callers->refresh());
    return done;
  }
  return std::optional<Json>();
}

Changed AdminCallers::show(const net::HttpRequest& request) {
  const auto rules = state_->now()->rules;
  Json lines = Json::array();
  if (request.path == "/admin/keys") {
    RETORT_ASSIGN(const std::string account, parameter(request.query, "account"));
    RETORT_ASSIGN(const auto keys, registry_.keys());
    for (const callers::ApiKey& key : keys) {
      if (account.empty() || key.account == account) lines.push_back(callers::key_line(key));
    }
    return Json{{"keys", std::move(lines)}};
  }
  if (request.path == "/admin/organisations") {
    RETORT_ASSIGN(lines, callers::ownership_lines(registry_, rules->ownership));
    return Json{{"organisations", std::move(lines)}};
  }
  if (request.path == "/admin/verifications") {
    RETORT_ASSIGN(const auto verifications, registry_.verifications());
    for (const auto& verification : verifications) lines.push_back(callers::verification_line(verification));
    return Json{{"verifications", std::move(lines)}};
  }
  if (request.path == "/admin/audit") {
    RETORT_ASSIGN(const std::string asked, parameter(request.query, "limit"));
    std::int64_t limit = 100;
    if (!asked.empty()) {
      RETORT_ASSIGN(limit, from_one(asked, "'limit' is not a whole number from 1."));
    }
    RETORT_ASSIGN(const auto entries, registry_.audit(limit));
    for (const callers::AuditEntry& entry : entries) {
      RETORT_ASSIGN(Json line, callers::audit_line(entry));
      lines.push_back(std::move(line));
    }
    return Json{{"audit", std::move(lines)}};
  }
  return std::optional<Json>();
}

}  // namespace retort::guard
