// Callers over the admin API: what `retort-guard keys|accounts|orgs|verification|audit` do, by the same functions and
// with the same audit trail.
//
//   GET  /admin/keys[?account=A]              POST /admin/keys             {"account","organisation","tier","kind",
//                                                                          "plan_usd","note","expires"} ->
//                                                                          {"id","secret"}
//                                             POST /admin/keys/ID/revoke
//   GET  /admin/callers                       POST /admin/accounts         {"account","organisation","person","tier",
//                                                                          "kind","plan_usd"}
//                                             POST /admin/accounts/ID/tier {"tier"}
//                                             POST /admin/accounts/ID/plan {"plan_usd"}
//                                             POST /admin/people           {"person","organisation","role"}
//                                             POST /admin/traits           {"account"|"organisation"|"person","kind",
//                                                                          "value"}
//   GET  /admin/organisations                 POST /admin/organisations    {"organisation","name","kind","reseller"}
//                                             POST /admin/organisations/ID/owners {"owners":[{"owner","percent"}]}
//                                             POST /admin/organisations/ID/attestation {"ed25519"} -> {"secret"}
//                                             POST /admin/lists            {"name","date","entities":[…]}
//   GET  /admin/verifications                 POST /admin/verifications {"account"|"organisation","tier","kind","note"}
//                                             POST /admin/verifications/N/receive {"document" (SHA-256),"note"}
//                                             POST /admin/verifications/N/raise   {"expires","note"}
//                                             POST /admin/verifications/N/refuse  {"note"}
//   GET  /admin/audit[?limit=100]
//
// Every change needs "by", who makes it. A member that isn't named here is refused. The admin API's thread only.
#pragma once

#include <optional>

#include "base/json.h"
#include "callers/registry.h"
#include "guard/guard_state.h"
#include "net/http.h"

namespace retort::guard {

class AdminCallers {
 public:
  // Opens the database of callers a second time: changes are seen by the guard as those of another process.
  static Result<AdminCallers> open(GuardState& state);

  // Nothing: the path is none of these. Error (kCaller): a sentence for the operator.
  Result<std::optional<Json>> act(const net::HttpRequest& request);

 private:
  AdminCallers(GuardState& state, callers::Registry registry) : state_(&state), registry_(std::move(registry)) {}
  Result<std::optional<Json>> show(const net::HttpRequest& request);

  GuardState* state_;
  callers::Registry registry_;
};

}  // namespace retort::guard
