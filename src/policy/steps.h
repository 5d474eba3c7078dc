// Steps of response: what is done about an account beyond its tier, in order of strength. Each is logged, expires, and
// can be taken back.
//
// Plain values and pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "policy/options.h"

namespace retort::policy {

enum class StepKind : std::uint8_t {
  kFlag,            // looked at by a person; the caller notices nothing
  kSlow,            // requests wait before they are sent on
  kStripLogprobs,   // no log-probabilities
  kStripReasoning,  // no texts of reasoning
  kSummariseReasoning,
  kCap,              // a share of the tier's limits
  kAskVerification,  // refused until the caller is verified
  kBlock,            // refused; needs a named person
};
std::string_view name_of(StepKind kind);
std::optional<StepKind> step_named(std::string_view name);
// "flag, slow, strip_logprobs, …": for sentences.
std::string step_names();

struct Step {
  StepKind kind = StepKind::kFlag;
  std::string account;
  std::string by;  // a person, or "policy: RULE"
  std::string reason;
  std::int64_t since_unix_ms = 0;
  std::int64_t until_unix_ms = 0;
};

// What an account may have: its tier's policy, and what the steps in force at `now_unix_ms` take away.
struct EffectivePolicy {
  TierPolicy tier;
  std::string tier_name;
  std::int64_t slow_ms = 0;
  bool ask_verification = false;
  bool blocked = false;
  std::string steps;  // names of those in force: "flag slow"; "" when none
};
EffectivePolicy effective(std::string_view tier_name, const TierPolicy& tier, std::span<const Step> steps,
                          const StepOptions& options, std::int64_t now_unix_ms);

}  // namespace retort::policy
