#include "guard/policy_trial.h"

#include <algorithm>

#include "evidence/exchange_records.h"

namespace retort::guard {
namespace {

constexpr std::size_t kExamples = 20;
constexpr double kMinutesADay = 1440;

Json number(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }
Json json_of(const Harvest& harvest) {
  return {{"tokens", number(harvest.tokens)},
          {"reasoning_tokens", number(harvest.reasoning_tokens)},
          {"logprobs", number(harvest.logprobs)}};
}

void lower(std::optional<double>& bound, double value) { bound = bound ? std::min(*bound, value) : value; }

}  // namespace

Harvest most_in_a_day(const policy::TierPolicy& tier, const std::map<std::string, policy::Price>& prices) {
  Harvest most;
  const policy::Limits& limits = tier.limits;
  const policy::Exposure& expose = tier.expose;
  // A bucket is full at midnight, so a day has a minute's worth more.
  if (limits.tokens_per_minute) lower(most.tokens, static_cast<double>(*limits.tokens_per_minute) * (kMinutesADay + 1));
  if (limits.requests_per_minute && expose.max_output_tokens) {
    lower(most.tokens, static_cast<double>(*limits.requests_per_minute) * (kMinutesADay + 1) *
                           static_cast<double>(*expose.max_output_tokens) * static_cast<double>(expose.n));
  }
  if (limits.usd_per_day) {
    // The cheapest model that the tier may use, and prompts that cost nothing: the bound, not the usual.
    std::optional<double> cheapest;
    for (const auto& [model, price] : prices) {
      if (policy::model_allowed(expose, model) && price.output_per_mtok > 0) lower(cheapest, price.output_per_mtok);
    }
    if (cheapest) lower(most.tokens, *limits.usd_per_day / *cheapest * 1e6);
  }
  most.reasoning_tokens = expose.reasoning == "full" ? most.tokens : std::optional<double>(0);
  most.logprobs = 0;
  if (expose.logprobs > 0) {
    most.logprobs = most.tokens;
    // The token's own, and the alternatives.
    if (most.logprobs) *most.logprobs *= static_cast<double>(expose.logprobs + 1);
  }
  return most;
}

void PolicyTrial::Taken::add(const Taken& other) {
  tokens += other.tokens;
  reasoning_tokens += other.reasoning_tokens;
  logprobs += other.logprobs;
}

PolicyTrial::PolicyTrial(std::shared_ptr<const Rules> rules, std::shared_ptr<const Rules> before,
                         std::map<std::string, std::string> tiers, std::string other_tier)
    : rules_(std::move(rules)),
      before_(std::move(before)),
      account_tiers_(std::move(tiers)),
      other_tier_(std::move(other_tier)) {}

void PolicyTrial::count(const std::string& outcome, const std::string& id, const std::string& account,
                        const std::string& tier, const policy::Decision& decision) {
  ++outcomes_[outcome];
  if (outcome == "unchanged") return;
  if (outcome == "refused") ++by_rule_[decision.rule];
  for (const std::string& withheld : decision.withheld) ++withheld_[withheld];
  if (examples_.size() >= kExamples) return;
  examples_.push_back({{"id", id},
                       {"account", account},
                       {"tier", tier},
                       {"outcome", outcome},
                       {"rule", decision.rule},
                       {"withheld", decision.withheld}});
}

Result<void> PolicyTrial::take(std::string_view line) {
  const Json exchange = Json::parse(line, nullptr, false);
  if (!exchange.is_object()) return caller_error("is not a JSON object");
  const auto text = [&](const char* key) {
    const auto found = exchange.find(key);
    return found != exchange.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto operation = api::operation_of(text("dialect"));
  if (!operation)
    return caller_error("has the dialect '" + text("dialect") +
                        "'; expected openai.chat, openai.responses or anthropic.messages");
  const auto time = evidence::unix_ms_of(text("time"));
  if (!time) return caller_error("has no `time` such as 2026-11-26T14:00:00.000Z");
  const std::string account = text("account");
  const auto known = account_tiers_.find(account);
  const std::string tier_name = known == account_tiers_.end() ? other_tier_ : known->second;

  api::RequestFacts facts;
  const auto request = exchange.find("request");
  if (request != exchange.end() && request->is_object()) {
    auto read = reader_.read(*operation, request->dump());
    if (!read) return caller_error("has a request that would be refused as it is: " + read.error().message);
    facts = std::move(*read);
  } else {
    facts.model = text("model");  // prompts weren't kept: what is known decides
  }
  ++exchanges_;
  Taken taken;
  const auto usage = exchange.find("usage");
  const auto used = [&](const char* key) {
    if (usage == exchange.end() || !usage->is_object()) return 0.0;
    const auto found = usage->find(key);
    return found != usage->end() && found->is_number() ? found->get<double>() : 0.0;
  };
  taken.tokens = used("output");
  taken.reasoning_tokens = used("reasoning");
  if (facts.logprobs) taken.logprobs = taken.tokens * static_cast<double>(facts.top_logprobs + 1);
  const std::pair<std::string, std::int64_t> day{account, policy::LimitBook::day_of(*time)};
  Tier& tier = tiers_[tier_name];
  tier.before[day].add(taken);

  const auto policy = rules_->policy.tiers.find(tier_name);
  policy::Decision decision;
  if (policy == rules_->policy.tiers.end()) {
    decision.allowed = false;
    decision.rule = "tiers";
  } else {
    const policy::EffectivePolicy effective =
        policy::effective(tier_name, policy->second, {}, rules_->policy.steps, *time);
    const api::Route route{*operation == api::Operation::kMessages ? api::Family::kAnthropic : api::Family::kOpenAi,
                           *operation, ""};
    decision = policy::decide(effective, route, &facts);
    if (decision.allowed) {
      const policy::Price* price = rules_->price_of(facts.model);
      const policy::NanoUsd cost =
          price == nullptr ? 0
                           : static_cast<policy::NanoUsd>(
                                 used("input") * static_cast<double>(policy::token_price(price->input_per_mtok)) +
                                 used("output") * static_cast<double>(policy::token_price(price->output_per_mtok)));
      const auto tokens = static_cast<std::int64_t>(used("input") + used("output"));
      auto admitted =
          limits_.admit(account, policy->second.limits, tokens, cost, {static_cast<double>(*time) / 1000.0, *time});
      if (admitted.refused_by != policy::LimitKind::kNone) {
        decision.allowed = false;
        decision.rule = "limits." + std::string(policy::name_of(admitted.refused_by));
      } else {
        admitted.reservation.settle(tokens, cost);
      }
    }
  }
  if (decision.allowed) {
    if (decision.max_tokens > 0) taken.tokens = std::min(taken.tokens, static_cast<double>(decision.max_tokens));
    taken.reasoning_tokens = decision.strip_reasoning ? 0 : std::min(taken.reasoning_tokens, taken.tokens);
    if (facts.logprobs) {
      const auto alternatives = decision.top_logprobs > 0 ? decision.top_logprobs : facts.top_logprobs;
      taken.logprobs = decision.strip_logprobs ? 0 : taken.tokens * static_cast<double>(alternatives + 1);
    }
    tier.after[day].add(taken);
  }
  count(!decision.allowed           ? "refused"
        : decision.withheld.empty() ? "unchanged"
                                    : "changed",
        text("id"), account, tier_name, decision);
  return {};
}

Json PolicyTrial::result() const {
  const auto outcome = [&](const char* name) {
    const auto found = outcomes_.find(name);
    return found == outcomes_.end() ? 0 : found->second;
  };
  // Of the account that took most in a day.
  const auto busiest = [](const std::map<std::pair<std::string, std::int64_t>, Taken>& days) {
    Taken most;
    for (const auto& [day, taken] : days) {
      most.tokens = std::max(most.tokens, taken.tokens);
      most.reasoning_tokens = std::max(most.reasoning_tokens, taken.reasoning_tokens);
      most.logprobs = std::max(most.logprobs, taken.logprobs);
    }
    return json_of({most.tokens, most.reasoning_tokens, most.logprobs});
  };
  std::map<std::string, Tier> tiers = tiers_;
  for (const auto& [name, tier] : rules_->policy.tiers) tiers[name];
  Json listed = Json::array();
  for (const auto& [name, tier] : tiers) {
    Harvest before;
    if (before_) {
      const auto found = before_->policy.tiers.find(name);
      before = found == before_->policy.tiers.end() ? Harvest{0, 0, 0}
                                                    : most_in_a_day(found->second, before_->policy.prices);
    }
    const auto found = rules_->policy.tiers.find(name);
    const Harvest after =
        found == rules_->policy.tiers.end() ? Harvest{0, 0, 0} : most_in_a_day(found->second, rules_->policy.prices);
    listed.push_back({{"tier", name},
                      {"most_in_a_day", {{"before", json_of(before)}, {"after", json_of(after)}}},
                      {"recorded", {{"before", busiest(tier.before)}, {"after", busiest(tier.after)}}}});
  }
  return {{"exchanges", exchanges_},       {"unchanged", outcome("unchanged")},
          {"changed", outcome("changed")}, {"refused", outcome("refused")},
          {"by_rule", by_rule_},           {"withheld", withheld_},
          {"examples", examples_},         {"tiers", listed}};
}

}  // namespace retort::guard
