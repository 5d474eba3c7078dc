#include "policy/steps.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace retort::policy {
namespace {

constexpr std::array<std::pair<StepKind, std::string_view>, 8> kNames = {{
    {StepKind::kFlag, "flag"},
    {StepKind::kSlow, "slow"},
    {StepKind::kStripLogprobs, "strip_logprobs"},
    {StepKind::kStripReasoning, "strip_reasoning"},
    {StepKind::kSummariseReasoning, "summarise_reasoning"},
    {StepKind::kCap, "cap"},
    {StepKind::kAskVerification, "ask_verification"},
    {StepKind::kBlock, "block"},
}};

template <class T>
void shrink(std::optional<T>& limit, double share, T least) {
  if (limit) limit = std::max(least, static_cast<T>(static_cast<double>(*limit) * share));
}

}  // namespace

std::string_view name_of(StepKind kind) {
  for (const auto& [candidate, name] : kNames) {
    if (candidate == kind) return name;
  }
  return "";
}

std::optional<StepKind> step_named(std::string_view name) {
  for (const auto& [kind, candidate] : kNames) {
    if (candidate == name) return kind;
  }
  return std::nullopt;
}

std::string step_names() {
  std::string names;
  for (const auto& [kind, name] : kNames) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

EffectivePolicy effective(std::string_view tier_name, const TierPolicy& tier, std::span<const Step> steps,
                          const StepOptions& options, std::int64_t now_unix_ms) {
  EffectivePolicy result{.tier = tier, .tier_name = std::string(tier_name), .steps = {}};
  for (const Step& step : steps) {
    if (step.since_unix_ms > now_unix_ms || step.until_unix_ms <= now_unix_ms) continue;
    result.steps += (result.steps.empty() ? "" : " ") + std::string(name_of(step.kind));
    Limits& limits = result.tier.limits;
    switch (step.kind) {
      case StepKind::kFlag: break;
      case StepKind::kSlow: result.slow_ms = options.slow_ms; break;
      case StepKind::kStripLogprobs: result.tier.expose.logprobs = 0; break;
      case StepKind::kStripReasoning: result.tier.expose.reasoning = "none"; break;
      case StepKind::kSummariseReasoning:
        // Less than what the tier has, never more.
        if (result.tier.expose.reasoning == "full") {
          result.tier.expose.reasoning = result.tier.expose.summary_model.empty() ? "none" : "summary";
        }
        break;
      case StepKind::kCap:
        shrink<std::int64_t>(limits.requests_per_minute, options.cap_share, 1);
        shrink<std::int64_t>(limits.tokens_per_minute, options.cap_share, 1);
        shrink<double>(limits.usd_per_day, options.cap_share, 0);
        break;
      case StepKind::kAskVerification: result.ask_verification = true; break;
      case StepKind::kBlock: result.blocked = true; break;
    }
  }
  return result;
}

}  // namespace retort::policy
