#include "guard/planes.h"

namespace retort::guard {
namespace {

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

bool on_this_machine(const std::string& listen) {
  return listen.starts_with("unix:") || listen.starts_with("127.") || listen.starts_with("localhost:") ||
         listen.starts_with("[::1]:");
}

void add_notes(const std::string& key, Plane plane, const GuardOptions& options, const policy::PolicyOptions& policy,
               std::vector<std::string>& notes) {
  const bool refuses = options.authz.undecided == "refuse";
  for (const auto& [name, tier] : policy.tiers) {
    if (plane == Plane::kHeaders && tier.limits.usd_per_day) {
      notes.push_back(key + " refuses the tier '" + name +
                      "': it has usd_per_day, and what a request may cost can't be seen without its body.");
      continue;
    }
    const std::vector<std::string> left = undecided(tier, plane, !options.sealing.keys.empty());
    if (left.empty()) continue;
    notes.push_back(key +
                    (refuses ? " refuses the tier '" + name + "', because it cannot decide "
                             : " lets the tier '" + name + "' pass without deciding ") +
                    listed(left) + ".");
  }
  if (plane == Plane::kWhole) {
    bool money = false;
    for (const auto& [name, tier] : policy.tiers) money = money || tier.limits.usd_per_day.has_value();
    if (money) notes.push_back(key + " counts each request at the most it may cost: it never sees what was billed.");
  }
}

}  // namespace

std::vector<std::string> undecided(const policy::TierPolicy& tier, Plane plane, bool sealing) {
  std::vector<std::string> left;
  if (plane == Plane::kProxy) return left;
  const policy::Exposure& expose = tier.expose;
  if (plane == Plane::kHeaders) {
    if (!expose.models.empty()) left.emplace_back("models");
    left.emplace_back("logprobs");  // how many is always bounded, and so is n
    left.emplace_back("n");
    if (!expose.logit_bias_with_logprobs) left.emplace_back("logit_bias_with_logprobs");
    if (!expose.seed) left.emplace_back("seed");
    if (!expose.tools) left.emplace_back("tools");
    if (!expose.stored) left.emplace_back("stored");
    if (expose.max_output_tokens) left.emplace_back("max_output_tokens");
    if (tier.limits.tokens_per_minute) left.emplace_back("tokens_per_minute");
  }
  // A request that asks for it is refused; models also reason unasked.
  if (expose.reasoning != "full") left.emplace_back("reasoning");
  if (sealing) left.emplace_back("sealing");
  return left;
}

std::vector<std::string> notes_on_planes(const GuardOptions& options, const policy::PolicyOptions& policy) {
  std::vector<std::string> notes;
  const AuthzOptions& authz = options.authz;
  if (!authz.listen.empty()) add_notes("authz.listen", Plane::kHeaders, options, policy, notes);
  if (!authz.ext_authz.empty()) {
    add_notes("authz.ext_authz", authz.bodies ? Plane::kWhole : Plane::kHeaders, options, policy, notes);
  }
  for (const std::string& listen : {authz.listen, authz.ext_authz}) {
    if (!listen.empty() && !on_this_machine(listen)) {
      notes.push_back("Proxies ask on " + listen +
                      " in clear, callers' keys with it: keep that network to yourselves.");
    }
  }
  return notes;
}

}  // namespace retort::guard
