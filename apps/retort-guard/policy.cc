// `retort-guard policy test`: what a policy would have done to recorded exchanges, and what it still lets be taken.
#include <fstream>
#include <iomanip>

#include "callers/directory.h"
#include "frame/verb.h"
#include "guard/policy_trial.h"
#include "retort-guard/subverbs.h"

namespace retort::app {
namespace {

struct Flags {
  std::string configuration;
  std::string exchanges;
  std::string before;
  std::string callers;
  std::string other_tier = "anonymous";
};

Result<std::map<std::string, std::string>> tiers_of(const Flags& flags, const guard::Rules& rules, const Clock& clock) {
  std::map<std::string, std::string> tiers;
  if (!flags.callers.empty()) {
    std::ifstream file(flags.callers);
    if (!file) return caller_error("There is no file '" + flags.callers + "'; expected callers, a JSON object a line.");
    std::int64_t number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      if (line.empty()) continue;
      const Json caller = Json::parse(line, nullptr, false);
      if (!caller.is_object() || !caller.contains("account") || !caller["account"].is_string() ||
          !caller.contains("tier") || !caller["tier"].is_string()) {
        return caller_error("Line " + std::to_string(number) + " of " + flags.callers +
                            " is not a caller; expected {\"account\": …, \"tier\": …}.");
      }
      tiers[caller["account"].get<std::string>()] = caller["tier"].get<std::string>();
    }
    return tiers;
  }
  const auto paths = callers::RegistryPaths::in(rules.path(rules.options.callers.path));
  std::error_code error;
  if (!std::filesystem::exists(paths.database, error)) return tiers;
  RETORT_ASSIGN(const callers::Registry registry, callers::Registry::open(paths));
  RETORT_ASSIGN(const auto known, callers::all_callers(registry, rules.ownership));
  for (const auto& [account, caller] : known) tiers[account] = caller.tier(clock.unix_ms());
  return tiers;
}

std::string amount(const Json& value) {
  if (value.is_null()) return "no bound";
  std::ostringstream text;
  text << std::fixed << std::setprecision(0) << value.get<double>();
  return text.str();
}

void print(const Json& result, std::ostream& out) {
  out << result["exchanges"] << " exchanges: " << result["unchanged"] << " as before, " << result["changed"]
      << " with something withheld, " << result["refused"] << " refused.\n";
  for (const auto& [rule, count] : result["by_rule"].items()) out << "  refused by " << rule << ": " << count << '\n';
  for (const auto& [what, count] : result["withheld"].items()) out << "  withheld " << what << ": " << count << '\n';
  out << "\nWhat one account can take in a day (before -> after), and the busiest one took in the recording:\n";
  for (const Json& tier : result["tiers"]) {
    out << "  " << tier["tier"].get<std::string>() << '\n';
    for (const char* what : {"tokens", "reasoning_tokens", "logprobs"}) {
      const Json& most = tier["most_in_a_day"];
      const Json& recorded = tier["recorded"];
      out << "    " << std::left << std::setw(17) << what << amount(most["before"][what]) << " -> "
          << amount(most["after"][what]) << "; recorded " << amount(recorded["before"][what]) << " -> "
          << amount(recorded["after"][what]) << '\n';
    }
  }
}

Result<void> test(const Flags& flags, Context& context) {
  RETORT_ASSIGN(const auto rules, guard::load_rules(flags.configuration, context.environment));
  std::shared_ptr<const guard::Rules> before;
  if (!flags.before.empty()) {
    RETORT_ASSIGN(before, guard::load_rules(flags.before, context.environment));
  }
  RETORT_ASSIGN(auto tiers, tiers_of(flags, *rules, context.clock));
  std::ifstream file(flags.exchanges);
  if (!file) {
    return caller_error("There is no file '" + flags.exchanges + "'; `retort-guard export` writes one.");
  }
  guard::PolicyTrial trial(rules, before, std::move(tiers), flags.other_tier);
  std::int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty()) continue;
    const auto taken = trial.take(line);
    if (!taken)
      return caller_error("Line " + std::to_string(number) + " of " + flags.exchanges + " " + taken.error().message +
                          ".");
  }
  const Json result = trial.result();
  if (context.json) {
    context.emit(result);
  } else {
    print(result, context.out);
  }
  return {};
}

}  // namespace

void register_policy(VerbSetup& verb) {
  const auto flags = std::make_shared<Flags>();
  Subverbs verbs(verb);
  CLI::App* app = &verbs.add("test", "Try a policy on recorded exchanges");
  app->add_option("configuration", flags->configuration, "guard.yaml")->type_name("GUARD.yaml")->required();
  app->add_option("--exchanges", flags->exchanges, "As `retort-guard export` writes them")
      ->type_name("E.jsonl")
      ->required();
  app->add_option("--before", flags->before, "The policy to compare with; without it: none")->type_name("GUARD.yaml");
  app->add_option("--callers", flags->callers, "Accounts with their tiers; without it: those of the configuration")
      ->type_name("C.jsonl");
  app->add_option("--tier", flags->other_tier, "Of accounts that aren't known")->capture_default_str();
  verbs.run(*app, [flags](Context& context) { return test(*flags, context); });
}

}  // namespace retort::app
