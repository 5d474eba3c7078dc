// The list of verbs: the one place that names them all.
#include <vector>

#include "frame/frame.h"

namespace retort::app {

void register_serve(VerbSetup& verb);
void register_check(VerbSetup& verb);
void register_keys(VerbSetup& verb);
void register_accounts(VerbSetup& verb);
void register_orgs(VerbSetup& verb);
void register_verification(VerbSetup& verb);
void register_audit(VerbSetup& verb);
void register_steps(VerbSetup& verb);
void register_policy(VerbSetup& verb);
void register_sealing(VerbSetup& verb);
void register_verify(VerbSetup& verb);
void register_export(VerbSetup& verb);

const Program& program() {
  static const std::vector<Verb> list = {
      {"serve", "stand before the upstreams that guard.yaml names, until SIGTERM", false, &register_serve},
      {"check", "say whether guard.yaml is whole, and what it means", false, &register_check},
      {"keys", "create, revoke and list the keys that callers present", false, &register_keys},
      {"accounts", "who calls: accounts, tiers, plans, traits", false, &register_accounts},
      {"orgs", "organisations, who owns them, who is listed, what resellers sign with", false, &register_orgs},
      {"verification", "raise a caller's tier, step by step, until it expires", false, &register_verification},
      {"steps", "what is done about an account beyond its tier: set, take back, list", false, &register_steps},
      {"policy", "try a policy on recorded exchanges: what would change, what could still be taken", false,
       &register_policy},
      {"audit", "who changed what about callers", false, &register_audit},
      {"sealing", "the keys that reasoning is sealed with: rotate, list", false, &register_sealing},
      {"verify", "check that the record of evidence holds: its chain and its signatures", false, &register_verify},
      {"export", "evidence as exchanges, a JSON line each", false, &register_export}};
  static const Program guard{
      "retort-guard", "stands before a model's API: knows the caller, decides what each may have, keeps evidence.",
      "Start with: retort-guard check guard.yaml", list};
  return guard;
}

}  // namespace retort::app
