#include "callers/lines.h"

#include <set>

#include "base/clock.h"

namespace retort::callers {
namespace {

// 2000 -> 20, 1999 -> 19.99: the double nearest to the decimal, which JSON writes back in its shortest form.
Json usd_of_cents(std::int64_t cents) {
  if (cents % 100 == 0) return cents / 100;
  return static_cast<double>(cents) / 100.0;
}

Json time_json(const std::optional<std::int64_t>& unix_ms) { return unix_ms ? Json(iso_time(*unix_ms)) : Json(); }

}  // namespace

Json key_line(const ApiKey& key) {
  return {{"id", key.id},
          {"account", key.account},
          {"note", key.note},
          {"created", iso_time(key.created_unix_ms)},
          {"expires", time_json(key.expires_unix_ms)},
          {"revoked", time_json(key.revoked_unix_ms)}};
}

Json verification_line(const Verification& verification) {
  Json steps = Json::array();
  for (const VerificationStep& step : verification.steps) {
    steps.push_back({{"state", text_of(step.state)},
                     {"who", step.by.who},
                     {"at", iso_time(step.by.at_unix_ms)},
                     {"note", step.note}});
  }
  return {{"number", verification.number},
          {"subject", text_of(verification.subject.kind)},
          {"id", verification.subject.id},
          {"tier", verification.tier},
          {"kind", verification.kind},
          {"state", text_of(verification.state())},
          {"document", verification.document ? Json(verification.document->hex()) : Json()},
          {"expires", time_json(verification.expires_unix_ms)},
          {"steps", std::move(steps)}};
}

Result<Json> audit_line(const AuditEntry& entry) {
  RETORT_ASSIGN(Json before, parse_json(entry.before, "audit"));
  RETORT_ASSIGN(Json after, parse_json(entry.after, "audit"));
  return Json{{"sequence", entry.sequence}, {"at", iso_time(entry.by.at_unix_ms)},
              {"who", entry.by.who},        {"what", entry.what},
              {"subject", entry.subject},   {"before", std::move(before)},
              {"after", std::move(after)}};
}

Json caller_line(const Caller& caller, std::int64_t now_unix_ms) {
  Json line = {{"account", caller.account},
               {"tier", caller.tier(now_unix_ms)},
               {"kind_verified", caller.kind_verified(now_unix_ms)},
               {"created", iso_time(caller.created_unix_ms)},
               {"payment", caller.payment},
               {"registration", caller.registration},
               {"reseller", caller.reseller},
               {"attested", caller.attested(now_unix_ms)}};
  if (!caller.organisation.empty()) line["organisation"] = caller.organisation;
  if (!caller.kind.empty()) line["kind"] = caller.kind;
  if (caller.plan_usd_cents_month) line["plan_usd_month"] = usd_of_cents(*caller.plan_usd_cents_month);
  return line;
}

Json ownership_line(const std::string& entity, const OwnershipGraph& graph, const Listings& listings,
                    const OwnershipRule& rule) {
  Json owners = Json::array();
  const auto found = graph.owners().find(entity);
  if (found != graph.owners().end()) {
    for (const Stake& stake : found->second)
      owners.push_back({{"owner", stake.owner}, {"percent", stake.percent.text()}});
  }
  Json line = {{"organisation", entity}, {"owners", std::move(owners)}, {"listed", listings.contains(entity)}};
  if (listings.contains(entity)) line["why"] = explain(listings, entity, rule);
  return line;
}

Result<std::vector<Json>> ownership_lines(const Registry& registry, const OwnershipRule& rule) {
  std::vector<Json> lines;
  const Result<void> done = registry.in_one_view([&]() -> Result<void> {
    RETORT_ASSIGN(const std::vector<Organisation> organisations, registry.organisations());
    RETORT_ASSIGN(const OwnershipGraph graph, registry.ownership());
    RETORT_ASSIGN(const auto named, registry.named_entities());
    const Listings listings = listed_entities(graph, named, rule);
    std::set<std::string> entities;
    for (const Organisation& organisation : organisations) entities.insert(organisation.id);
    for (const auto& [entity, owners] : graph.owners()) entities.insert(entity);
    for (const auto& [entity, list] : named) entities.insert(entity);
    for (const std::string& entity : entities) lines.push_back(ownership_line(entity, graph, listings, rule));
    return {};
  });
  if (!done) return Failure(done.error());
  return lines;
}

}  // namespace retort::callers
