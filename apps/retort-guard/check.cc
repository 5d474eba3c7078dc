// `retort-guard check`: is this configuration whole, and what does it mean?
#include "frame/verb.h"
#include "guard/rules.h"

namespace retort::app {
namespace {

std::string limits_text(const policy::Limits& limits) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (limits.requests_per_minute) add(std::to_string(*limits.requests_per_minute) + " requests a minute");
  if (limits.tokens_per_minute) add(std::to_string(*limits.tokens_per_minute) + " tokens a minute");
  if (limits.usd_per_day) add(std::to_string(*limits.usd_per_day) + " USD a day");
  return text.empty() ? "no limits" : text;
}

Result<void> check(const std::string& configuration, Context& context) {
  RETORT_ASSIGN(const auto rules, guard::load_rules(configuration, context.environment));
  if (context.json) {
    Json tiers = Json::array();
    for (const auto& [name, tier] : rules->policy.tiers) tiers.push_back(name);
    Json upstreams = Json::array();
    for (const guard::Upstream& upstream : rules->upstreams) upstreams.push_back(upstream.options.name);
    context.emit({{"configuration", configuration},
                  {"digest", rules->digest.hex()},
                  {"tiers", tiers},
                  {"upstreams", upstreams},
                  {"warnings", rules->warnings}});
    return {};
  }
  context.out << configuration << " is fine.\n";
  for (const guard::Upstream& upstream : rules->upstreams) {
    context.out << "  upstream " << upstream.options.name << ": " << upstream.options.dialect << " at "
                << upstream.options.url << (upstream.key.empty() ? ", no key is sent" : "") << '\n';
  }
  for (const auto& [name, tier] : rules->policy.tiers) {
    context.out << "  tier " << name << ": " << limits_text(tier.limits) << "; reasoning " << tier.expose.reasoning
                << ", log-probabilities " << tier.expose.logprobs << ", batches " << (tier.expose.batch ? "yes" : "no")
                << '\n';
  }
  for (const origin::NetworkSource& source : rules->sources->sources()) {
    const std::int64_t days = (context.clock.unix_ms() - source.dated_unix_ms) / 86'400'000;
    context.out << "  list " << source.path.filename().string() << ": " << source.what << ", " << source.entries
                << " entries, " << days << " days old\n";
  }
  for (const std::string& warning : rules->warnings) context.out << "  note: " << warning << '\n';
  return {};
}

}  // namespace

void register_check(VerbSetup& verb) {
  struct Flags {
    std::string configuration;
    bool keys = false;
  };
  const auto flags = std::make_shared<Flags>();
  verb.app.add_option("configuration", flags->configuration, "guard.yaml")->type_name("GUARD.yaml");
  verb.app.add_flag("--keys", flags->keys, "Explain every key that guard.yaml may have");
  verb.action = [flags](Context& context) -> Result<void> {
    if (flags->keys) {
      context.out << guard::guard_keys_page();
      return {};
    }
    if (flags->configuration.empty()) return caller_error("Which file? Say `retort-guard check guard.yaml`.");
    return check(flags->configuration, context);
  };
}

}  // namespace retort::app
