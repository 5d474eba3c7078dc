#include "guard/rules.h"

#include <algorithm>
#include <charconv>

#include "base/files.h"
#include "guard/planes.h"
#include "policy/steps.h"
#include "recipe/recipe.h"
#include "sharing/redis_link.h"

namespace retort::guard {
namespace {

Result<void> read_network(Rules& rules) {
  const NetworkOptions& options = rules.options.network;
  origin::NetworkSourcesOptions sources;
  for (const std::string& path : options.mmdb) sources.mmdb.push_back(rules.path(path));
  for (const NetworkListEntry& list : options.lists) sources.lists.push_back({list.kind, rules.path(list.path)});
  RETORT_ASSIGN(rules.sources, origin::NetworkSources::load(sources));
  std::vector<origin::IpNetwork> hops;
  for (const std::string& text : options.trusted_hops) {
    RETORT_ASSIGN(const origin::IpNetwork network, origin::IpNetwork::parse(text));
    hops.push_back(network);
  }
  rules.trusted_hops = origin::NetworkSet(std::move(hops));
  rules.hop_header =
      options.hop_header == "forwarded" ? origin::HopHeader::kForwarded : origin::HopHeader::kXForwardedFor;
  for (const NetworkRuleOptions& rule : options.rules) {
    std::vector<std::uint32_t> asns;
    for (const std::int64_t asn : rule.asns) asns.push_back(static_cast<std::uint32_t>(asn));
    rules.network_rules.rules.push_back({rule.name, rule.countries, rule.except_countries, std::move(asns), rule.kinds,
                                         origin::outcome_of(rule.outcome).value()});
  }
  if (!options.unknown_country.empty())
    rules.network_rules.unknown_country = origin::outcome_of(options.unknown_country);
  rules.network_rules.refuse_by_country_alone = options.refuse_by_country_alone;
  return origin::check(rules.network_rules, rules.sources->kinds());
}

Result<std::string> secret(const Environment& environment, const std::string& name, const std::string& what) {
  if (name.empty()) return std::string();
  const auto value = environment(name);
  if (!value || value->empty()) {
    return caller_error("The environment has no variable '" + name + "', which guard.yaml names for " + what +
                        "; set it, or name another.");
  }
  if (value->find_first_of("\r\n") != std::string::npos) {
    return caller_error("The variable '" + name + "' (" + what + ") holds a line break; expected one line.");
  }
  return *value;
}

Result<void> read_upstreams(Rules& rules, const Environment& environment) {
  for (const UpstreamOptions& options : rules.options.upstreams) {
    Upstream upstream{.options = options, .origin = {}, .key = {}};
    upstream.family = options.dialect == "anthropic" ? api::Family::kAnthropic : api::Family::kOpenAi;
    RETORT_ASSIGN(upstream.origin, net::Origin::parse(options.url));
    // Clients write /v1 themselves, and many write it into the address of a server as well.
    if (upstream.origin.path.ends_with("/v1")) upstream.origin.path.resize(upstream.origin.path.size() - 3);
    RETORT_ASSIGN(upstream.key, secret(environment, options.key_env, "the upstream '" + options.name + "'"));
    if (!options.authorities.empty()) upstream.options.authorities = rules.path(options.authorities).string();
    rules.upstreams.push_back(std::move(upstream));
  }
  return {};
}

// What a rule does without a person may be no stronger than the operator allows.
Result<void> check_automatic(const Rules& rules) {
  const auto most = policy::step_named(rules.policy.steps.automatic_up_to).value();
  for (const origin::NetworkRule& rule : rules.network_rules.rules) {
    if (rule.outcome == origin::NetworkOutcome::kVerify && most < policy::StepKind::kAskVerification) {
      return caller_error("The network rule '" + rule.name + "' asks for verification, and steps.automatic_up_to is " +
                          rules.policy.steps.automatic_up_to + "; raise it, or let the rule flag.");
    }
  }
  return {};
}

Result<void> check_prices(const Rules& rules) {
  for (const auto& [name, tier] : rules.policy.tiers) {
    if (!tier.limits.usd_per_day) continue;
    for (const UpstreamOptions& upstream : rules.options.upstreams) {
      for (const std::string& model : upstream.models) {
        if (rules.price_of(model) != nullptr) continue;
        return caller_error("The tier '" + name + "' has usd_per_day, and the model '" + model + "' of the upstream '" +
                            upstream.name + "' has no price; add it under prices.");
      }
    }
  }
  return {};
}

void warn(Rules& rules) {
  const auto add = [&](std::string sentence) { rules.warnings.push_back(std::move(sentence)); };
  if (rules.policy.tiers.empty()) add("No tier is configured, so every caller is refused; add one under tiers.");
  bool money = false;
  for (const auto& [name, tier] : rules.policy.tiers) money = money || tier.limits.usd_per_day.has_value();
  if (money && rules.options.evidence.path.empty()) {
    add("usd_per_day is kept in memory alone: after a restart the day begins at zero. With evidence.path it is "
        "restored.");
  }
  if (rules.options.listen.find("127.0.0.1") == std::string::npos &&
      rules.options.listen.find("localhost") == std::string::npos && rules.options.tls.certificate.empty()) {
    add("Callers are served in clear on " + rules.options.listen +
        ": their keys can be read on the way. Set tls, or "
        "let a proxy before the guard end TLS.");
  }
  for (const UpstreamOptions& upstream : rules.options.upstreams) {
    for (const std::string& model : upstream.models) {
      const policy::Price* price = rules.price_of(model);
      if (upstream.dialect != "anthropic" || price == nullptr || price->cache_write_per_mtok) continue;
      add("The price of '" + model +
          "' has no cache_write_per_mtok: what is written into the provider's cache counts as other input, and costs "
          "more there.");
    }
  }
  for (std::string& sentence : notes_on_planes(rules.options, rules.policy)) add(std::move(sentence));
}

}  // namespace

const Upstream* Rules::upstream_for(api::Family family, std::string_view model) const {
  const Upstream* any = nullptr;
  for (const Upstream& upstream : upstreams) {
    if (upstream.family != family) continue;
    const auto& models = upstream.options.models;
    if (model.empty() || std::find(models.begin(), models.end(), model) != models.end()) return &upstream;
    if (models.empty() && any == nullptr) any = &upstream;
  }
  return any;
}

const policy::Price* Rules::price_of(std::string_view model) const {
  const auto found = policy.prices.find(std::string(model));
  return found == policy.prices.end() ? nullptr : &found->second;
}

std::map<std::string, std::string> Rules::digests() const {
  std::map<std::string, std::string> named;
  named["configuration"] = digest.hex();
  for (const origin::NetworkSource& source : sources->sources()) {
    named[source.what + " " + source.path.filename().string()] = source.digest.hex();
  }
  return named;
}

std::shared_ptr<const recipe::Schema> guard_schema() {
  static const auto schema = [] {
    auto made = std::make_shared<recipe::Schema>();
    made->call_it("configuration", "listen: 127.0.0.1:8400", "`retort-guard check --keys`");
    made->add(guard_option_set()).add(policy::policy_option_set());
    return made;
  }();
  return schema;
}

std::string guard_keys_page() {
  return guard_schema()->reference_page(
      "# guard.yaml, key by key\n\n"
      "What `retort-guard serve` goes by. It is checked whole before anything starts (`retort-guard check "
      "guard.yaml`), and "
      "again at every\nreload. [GUARD.md](GUARD.md) explains it by example.\n\n"
      "This page is generated from the declarations in the source; a test fails when it is stale.\n");
}

Result<std::shared_ptr<const Rules>> load_rules(const std::filesystem::path& file, const Environment& environment) {
  auto text = read_file(file);
  if (!text) return with_context(text.error(), "The configuration cannot be read");
  RETORT_ASSIGN(const recipe::Recipe recipe, recipe::Recipe::parse(*text, file.string(), guard_schema()));
  const auto rules = std::make_shared<Rules>();
  rules->file = file;
  rules->folder = std::filesystem::absolute(file).parent_path();
  rules->digest = sha256(*text);
  rules->options = recipe.get(guard_option_set());
  rules->policy = recipe.get(policy::policy_option_set());
  RETORT_TRY(parse_listen(rules->options.listen));
  RETORT_TRY(read_upstreams(*rules, environment));
  RETORT_ASSIGN(rules->ownership.threshold, callers::Percent::parse(rules->options.callers.listed_from.text));
  rules->ownership.or_more = rules->options.callers.or_more;
  RETORT_TRY(read_network(*rules));
  RETORT_TRY(check_automatic(*rules));
  RETORT_TRY(check_prices(*rules));
  if (!rules->options.admin.listen.empty()) {
    RETORT_TRY(parse_listen(rules->options.admin.listen));
    RETORT_ASSIGN(rules->admin_token, secret(environment, rules->options.admin.token_env, "the admin API"));
  }
  for (const auto& [name, tier] : rules->policy.tiers) {
    const std::string& model = tier.expose.summary_model;
    if (!model.empty() && rules->upstream_for(api::Family::kOpenAi, model) == nullptr) {
      return caller_error("The tier '" + name + "' lets '" + model +
                          "' summarise reasoning, and no upstream of the dialect openai serves it.");
    }
  }
  const StateOptions& state = rules->options.state;
  if (!state.redis.empty()) RETORT_TRY(sharing::RedisAddress::parse(state.redis));
  RETORT_ASSIGN(rules->redis_password, secret(environment, state.password_env, "the Redis of state"));
  const AuthzOptions& authz = rules->options.authz;
  if (!authz.listen.empty()) RETORT_TRY(parse_listen(authz.listen));
  if (!authz.ext_authz.empty() && !authz.ext_authz.starts_with("unix:")) RETORT_TRY(parse_listen(authz.ext_authz));
  warn(*rules);
  return std::shared_ptr<const Rules>(rules);
}

Result<Listen> parse_listen(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  Listen listen;
  if (colon != std::string::npos && colon > 0) {
    listen.host = text.substr(0, colon);
    if (listen.host.starts_with('[') && listen.host.ends_with(']')) {
      listen.host = listen.host.substr(1, listen.host.size() - 2);
    }
    const char* begin = text.data() + colon + 1;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(begin, end, listen.port);
    if (begin != end && parsed.ec == std::errc() && parsed.ptr == end) return listen;
  }
  return caller_error("'" + text +
                      "' is not where one can listen; expected an address and a port, such as "
                      "127.0.0.1:8400 or [::]:8400.");
}

}  // namespace retort::guard
