#include "origin/network_rules.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/text.h"

namespace retort::origin {
namespace {

constexpr std::array<std::string_view, 4> kOutcomes = {"pass", "flag", "verify", "refuse"};
constexpr std::string_view kUnknownCountry = "unknown_country";

template <class Values, class Value>
bool has(const Values& values, const Value& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool speaks_of_countries(const NetworkRule& rule) { return !rule.countries.empty() || !rule.except_countries.empty(); }

bool matches(const NetworkRule& rule, const NetworkFacts& facts) {
  if (!rule.countries.empty() && !(facts.country && has(rule.countries, *facts.country))) return false;
  if (!rule.except_countries.empty() && !(facts.country && !has(rule.except_countries, *facts.country))) return false;
  if (!rule.asns.empty() && !(facts.asn && has(rule.asns, *facts.asn))) return false;
  return rule.kinds.empty() ||
         std::any_of(facts.kinds.begin(), facts.kinds.end(), [&](const auto& kind) { return has(rule.kinds, kind); });
}

Result<void> check_words(const NetworkRule& rule, const std::vector<std::string>& known_kinds) {
  const std::string the_rule = "The network rule '" + rule.name + "' ";
  for (const auto* list : {&rule.countries, &rule.except_countries}) {
    for (const std::string& country : *list) {
      const auto upper = [](char c) { return c >= 'A' && c <= 'Z'; };
      if (country.size() == 2 && upper(country[0]) && upper(country[1])) continue;
      return caller_error(the_rule + "names the country '" + country +
                          "'; expected two capital letters of ISO 3166-1, such as DE.");
    }
  }
  for (const std::string& kind : rule.kinds) {
    if (has(known_kinds, kind)) continue;
    const std::string near = nearest(kind, known_kinds);
    std::string all;
    for (const std::string& known : known_kinds) all += (all.empty() ? "" : ", ") + known;
    return caller_error(the_rule + "names the kind '" + kind + "', which no list or database gives" +
                        (near.empty() ? "" : "; did you mean '" + near + "'?") +
                        " There are: " + (all.empty() ? "none, as no list is loaded" : all) + ".");
  }
  if (has(rule.asns, 0U)) return caller_error(the_rule + "names the autonomous system 0; expected a number from 1.");
  return {};
}

}  // namespace

std::string_view text_of(NetworkOutcome outcome) { return kOutcomes[static_cast<std::size_t>(outcome)]; }

std::optional<NetworkOutcome> outcome_of(std::string_view text) {
  const auto found = std::find(kOutcomes.begin(), kOutcomes.end(), text);
  if (found == kOutcomes.end()) return std::nullopt;
  return static_cast<NetworkOutcome>(found - kOutcomes.begin());
}

Result<void> check(const NetworkRules& rules, const std::vector<std::string>& known_kinds) {
  const std::string remedy =
      " Where somebody is says little of who they are; write `refuse_by_country_alone: true` beside the rules if that "
      "is "
      "meant, or ask for verification instead.";
  std::set<std::string> names = {std::string(kUnknownCountry)};
  bool countries = false;
  for (const NetworkRule& rule : rules.rules) {
    const std::string the_rule = "The network rule '" + rule.name + "' ";
    if (rule.name.empty()) return caller_error("A network rule has no name; give it one, it stands in evidence.");
    if (!names.insert(rule.name).second) {
      return caller_error(the_rule + "has a name that is taken; choose another one.");
    }
    if (!speaks_of_countries(rule) && rule.asns.empty() && rule.kinds.empty()) {
      return caller_error(the_rule + "states no condition; expected countries, except_countries, asns or kinds.");
    }
    RETORT_TRY(check_words(rule, known_kinds));
    countries = countries || speaks_of_countries(rule);
    const bool alone = speaks_of_countries(rule) && rule.asns.empty() && rule.kinds.empty();
    if (alone && rule.outcome == NetworkOutcome::kRefuse && !rules.refuse_by_country_alone) {
      return caller_error(the_rule + "refuses by country alone." + remedy);
    }
  }
  if (countries && !rules.unknown_country) {
    return caller_error(
        "The network rules speak of countries and not of an unknown one; state `unknown_country`: pass, flag, verify "
        "or "
        "refuse.");
  }
  if (rules.unknown_country == NetworkOutcome::kRefuse && !rules.refuse_by_country_alone) {
    return caller_error("The network rules refuse an unknown country." + remedy);
  }
  return {};
}

NetworkDecision decide(const NetworkRules& rules, const NetworkFacts& facts) {
  NetworkDecision decision;
  const auto matched = [&](std::string_view name, NetworkOutcome outcome) {
    decision.matched.emplace_back(name);
    if (decision.rule.empty() || outcome > decision.outcome) {
      decision.rule = name;
      decision.outcome = outcome;
    }
  };
  for (const NetworkRule& rule : rules.rules) {
    if (!matches(rule, facts)) continue;
    matched(rule.name, rule.outcome);
    if (rule.outcome == NetworkOutcome::kPass) return decision;
  }
  if (!facts.country && rules.unknown_country) matched(kUnknownCountry, *rules.unknown_country);
  return decision;
}

}  // namespace retort::origin
