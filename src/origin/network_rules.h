// What the operator wants done by country, autonomous system and kind of network: friction or evidence, seldom refusal.
//
// A rule matches when every condition it states does. A matching rule that passes ends the walk: those named there are
// exempt from all rules below it. Otherwise the strongest outcome of all that match holds. An unknown country
// never matches a condition on countries; it has an outcome of its own, which must be stated where a rule speaks of
// countries. Refusing by country alone is done only where the operator writes it out. Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "origin/network_facts.h"

namespace retort::origin {

// From weakest to strongest.
enum class NetworkOutcome : std::uint8_t {
  kPass,
  kFlag,    // goes on, is recorded
  kVerify,  // the caller is asked for verification
  kRefuse,
};
std::string_view text_of(NetworkOutcome outcome);  // "pass", "flag", "verify", "refuse"
std::optional<NetworkOutcome> outcome_of(std::string_view text);

struct NetworkRule {
  std::string name;
  // Conditions; empty: not stated.
  std::vector<std::string> countries{};         // ISO 3166-1 alpha-2; any of them
  std::vector<std::string> except_countries{};  // known, and none of them
  std::vector<std::uint32_t> asns{};            // any of them
  std::vector<std::string> kinds{};             // any of them
  NetworkOutcome outcome = NetworkOutcome::kFlag;
};

struct NetworkRules {
  std::vector<NetworkRule> rules{};
  std::optional<NetworkOutcome> unknown_country{};
  bool refuse_by_country_alone = false;
};

// Error: a rule that states nothing or has the name of another, what is no country, a kind that no source gives (with
// the nearest one), an unknown country without an outcome, a refusal by country alone that isn't written out.
Result<void> check(const NetworkRules& rules, const std::vector<std::string>& known_kinds);

struct NetworkDecision {
  NetworkOutcome outcome = NetworkOutcome::kPass;
  std::string rule{};                  // the one that decided; empty: none matched; "unknown_country"
  std::vector<std::string> matched{};  // every one that matched, in order
};

NetworkDecision decide(const NetworkRules& rules, const NetworkFacts& facts);

}  // namespace retort::origin
