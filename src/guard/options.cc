#include "guard/options.h"

#include <set>

namespace retort::guard {
namespace {

const std::vector<std::string> kOutcomes = {"pass", "flag", "verify", "refuse"};
const std::vector<std::string> kBlobFates = {"drop", "refuse"};

void check_upstreams(const GuardOptions& options, recipe::Problems& problems) {
  std::set<std::string> names;
  for (const UpstreamOptions& upstream : options.upstreams) {
    if (upstream.dialect != "openai" && upstream.dialect != "anthropic") {
      problems.add("upstreams", "has the dialect '" + upstream.dialect + "'; expected openai or anthropic");
    }
    if (!names.insert(upstream.name).second) {
      problems.add("upstreams", "names '" + upstream.name + "' twice; expected names that differ");
    }
  }
  if (options.upstreams.empty()) {
    problems.add("upstreams",
                 "is empty; expected at least one, such as [{name: main, url: \"http://127.0.0.1:8080\"}]");
  }
}

}  // namespace

const recipe::MapShape<UpstreamOptions>& upstream_shape() {
  static const auto shape =
      recipe::MapShape<UpstreamOptions>()
          .add("name", &UpstreamOptions::name, {.required = true, .not_empty = true})
          .add("dialect", &UpstreamOptions::dialect, {.choices = {"openai", "anthropic"}})
          .add("url", &UpstreamOptions::url, {.required = true, .not_empty = true})
          .add("key_env", &UpstreamOptions::key_env)
          .add("models", &UpstreamOptions::models)
          .add("authorities", &UpstreamOptions::authorities)
          .add("resend", &UpstreamOptions::resend, {.choices = {"anything", "idempotent", "nothing"}});
  return shape;
}
const recipe::MapShape<NetworkListEntry>& network_list_shape() {
  static const auto shape = recipe::MapShape<NetworkListEntry>()
                                .add("kind", &NetworkListEntry::kind, {.required = true, .not_empty = true})
                                .add("path", &NetworkListEntry::path, {.required = true, .not_empty = true});
  return shape;
}
const recipe::MapShape<NetworkRuleOptions>& network_rule_shape() {
  static const auto shape = recipe::MapShape<NetworkRuleOptions>()
                                .add("name", &NetworkRuleOptions::name, {.required = true, .not_empty = true})
                                .add("countries", &NetworkRuleOptions::countries)
                                .add("except_countries", &NetworkRuleOptions::except_countries)
                                .add("asns", &NetworkRuleOptions::asns, {.minimum = 1})
                                .add("kinds", &NetworkRuleOptions::kinds)
                                .add("outcome", &NetworkRuleOptions::outcome, {.choices = kOutcomes});
  return shape;
}
const recipe::MapShape<TlsOptions>& tls_shape() {
  static const auto shape =
      recipe::MapShape<TlsOptions>().add("certificate", &TlsOptions::certificate).add("key", &TlsOptions::key);
  return shape;
}
const recipe::MapShape<AdminOptions>& admin_shape() {
  static const auto shape =
      recipe::MapShape<AdminOptions>().add("listen", &AdminOptions::listen).add("token_env", &AdminOptions::token_env);
  return shape;
}
const recipe::MapShape<AuthzOptions>& authz_shape() {
  static const auto shape = recipe::MapShape<AuthzOptions>()
                                .add("listen", &AuthzOptions::listen)
                                .add("ext_authz", &AuthzOptions::ext_authz)
                                .add("bodies", &AuthzOptions::bodies)
                                .add("undecided", &AuthzOptions::undecided, {.choices = {"pass", "refuse"}});
  return shape;
}
const recipe::MapShape<StateOptions>& state_shape() {
  static const auto shape = recipe::MapShape<StateOptions>()
                                .add("redis", &StateOptions::redis)
                                .add("password_env", &StateOptions::password_env);
  return shape;
}
const recipe::MapShape<CallersOptions>& callers_shape() {
  static const auto shape = recipe::MapShape<CallersOptions>()
                                .add("path", &CallersOptions::path, {.not_empty = true})
                                .add("listed_from", &CallersOptions::listed_from)
                                .add("or_more", &CallersOptions::or_more);
  return shape;
}
const recipe::MapShape<NetworkOptions>& network_shape() {
  static const auto shape =
      recipe::MapShape<NetworkOptions>()
          .add("mmdb", &NetworkOptions::mmdb)
          .add("lists", &NetworkOptions::lists)
          .add("trusted_hops", &NetworkOptions::trusted_hops)
          .add("hop_header", &NetworkOptions::hop_header, {.choices = {"x_forwarded_for", "forwarded"}})
          .add("rules", &NetworkOptions::rules)
          .add("unknown_country", &NetworkOptions::unknown_country,
               {.choices = {"", "pass", "flag", "verify", "refuse"}})
          .add("refuse_by_country_alone", &NetworkOptions::refuse_by_country_alone);
  return shape;
}
const recipe::MapShape<EvidenceOptions>& evidence_shape() {
  static const auto shape =
      recipe::MapShape<EvidenceOptions>()
          .add("path", &EvidenceOptions::path)
          .add("prompts", &EvidenceOptions::prompts, {.choices = {"whole", "sketch", "none"}})
          .add("retention_days", &EvidenceOptions::retention_days, {.minimum = 0, .maximum = 36'500})
          .add("required", &EvidenceOptions::required)
          .add("quota_mb", &EvidenceOptions::quota_mb, {.minimum = 1});
  return shape;
}
const recipe::MapShape<SealingOptions>& sealing_shape() {
  static const auto shape = recipe::MapShape<SealingOptions>()
                                .add("keys", &SealingOptions::keys)
                                .add("expire_hours", &SealingOptions::expire_hours, {.minimum = 1})
                                .add("changed_prefix", &SealingOptions::changed_prefix, {.choices = kBlobFates})
                                .add("other_model", &SealingOptions::other_model, {.choices = kBlobFates});
  return shape;
}

const recipe::OptionSet<GuardOptions>& guard_option_set() {
  static const auto set =
      recipe::OptionSet<GuardOptions>("", "Where the guard stands.")
          .add("listen", &GuardOptions::listen,
               {.help = "Address and port for callers, such as 127.0.0.1:8400; port 0 takes a free one.",
                .not_empty = true})
          .add("workers", &GuardOptions::workers,
               {.unit = "threads", .help = "0 takes one a core, at most 4.", .minimum = 0, .maximum = 64})
          .add("max_body_mb", &GuardOptions::max_body_mb,
               {.unit = "MB", .help = "The largest request taken.", .minimum = 1, .maximum = 1024})
          .add("tls", &GuardOptions::tls, {.help = "PEM files; without them callers are served in clear."})
          .add(
              "admin", &GuardOptions::admin,
              {.help = "A listener of its own for people and monitoring; its credential is in the variable token_env."})
          .add("authz", &GuardOptions::authz,
               {.help = "Listeners of their own for proxies that ask here and send requests on themselves: nginx's "
                        "auth_request (listen), Envoy's ext_authz (ext_authz). See docs/GUARD-PLANES.md."})
          .add("state", &GuardOptions::state,
               {.help = "Where several guards share their limits: a Redis. Without it each keeps its own."})
          .add("upstreams", &GuardOptions::upstreams,
               {.help = "The model APIs behind. A request goes to the one that names its model.", .required = true})
          .add("callers", &GuardOptions::callers,
               {.help = "The folder that `keys` and `orgs` keep, and when an owned company counts as listed."})
          .add("network", &GuardOptions::network,
               {.help = "What is known of addresses, and what follows: friction or evidence, refusal only where it is "
                        "written out."})
          .add("evidence", &GuardOptions::evidence, {.help = "The record of what was asked, decided and answered."})
          .add("sealing", &GuardOptions::sealing,
               {.help = "Opaque reasoning is sealed for the organisation that it was given to."})
          .check(check_upstreams)
          .check([](const GuardOptions& options, recipe::Problems& problems) {
            if (options.tls.certificate.empty() != options.tls.key.empty()) {
              problems.add("tls", "has one of certificate and key; expected both, or neither");
            }
            if (!options.admin.listen.empty() && options.admin.token_env.empty()) {
              problems.add("admin",
                           "listens without a credential; expected token_env, the name of a variable that holds one");
            }
            const AuthzOptions& authz = options.authz;
            const bool asked_by_address =
                !authz.listen.empty() || (!authz.ext_authz.empty() && !authz.ext_authz.starts_with("unix:"));
            if (asked_by_address && options.network.trusted_hops.empty()) {
              problems.add("authz",
                           "listens and nobody may ask; expected the proxy's address under network.trusted_hops, such "
                           "as [127.0.0.1]");
            }
            if (options.evidence.required && options.evidence.path.empty()) {
              problems.add("evidence", "is required and has no path; expected a folder");
            }
          });
  return set;
}

}  // namespace retort::guard

namespace retort::recipe {

std::string Codec<guard::Decimal>::type_name(const OptionText&) { return "number"; }

Parsed<guard::Decimal> Codec<guard::Decimal>::parse(const Node& node, const OptionText&) {
  const bool scalar =
      node.kind == Node::Kind::kText || node.kind == Node::Kind::kInteger || node.kind == Node::Kind::kNumber;
  if (!scalar || node.text.empty()) return Expected("a number such as 50 or 33.333");
  return guard::Decimal{node.text};
}

Node Codec<guard::Decimal>::write(const guard::Decimal& value) { return Node::of(value.text); }

}  // namespace retort::recipe
