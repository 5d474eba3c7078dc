// Who asks, and whether and how the request goes on: every filter before upstream, in order.
//
//   path and dialect; the caller's key; ownership lists; network; steps; the request's body; what is exposed; the
//   requests of a batch; sealed reasoning; limits and money; the admission record
//
// The proxy, nginx's auth_request and Envoy's ext_authz all ask here (guard/planes.h). Called on a worker's thread;
// blocks on nothing but the spool's write and, of a batch, a row in SQLite.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/api_error.h"
#include "api/request_facts.h"
#include "api/route.h"
#include "base/random.h"
#include "guard/guard_state.h"
#include "guard/planes.h"
#include "net/http.h"
#include "policy/decide.h"
#include "policy/limits.h"
#include "policy/price.h"

namespace retort::guard {

// Requests that come together: in an upload, or as the batch that is made of one.
struct Batch {
  bool upload = false;  // a file for a batch: nothing is asked yet
  std::string path;     // what its requests ask for, of an upload
  std::int64_t requests = 0;
  std::optional<policy::NanoUsd> worst;       // nothing: it has no bound
  std::optional<policy::TokenPrices> prices;  // it is billed by; nothing: not known
};

struct Admission {
  std::string id;  // of the exchange, and of x-retort-request-id
  std::int64_t begun_unix_ms = 0;
  std::shared_ptr<const InForce> in_force;
  api::Route route;
  std::optional<api::RequestFacts> facts;
  std::optional<Batch> batch;

  std::string account, organisation, tier, end_customer;
  policy::EffectivePolicy effective;
  policy::Decision decision;
  policy::Reservation reservation;

  const Upstream* upstream = nullptr;    // of in_force's rules
  const policy::Price* price = nullptr;  // likewise; null: it costs nothing here
  std::string body;                      // what goes upstream, of Plane::kProxy
  std::vector<std::string> undecided;    // what the plane can't decide of this request (guard/planes.h)
  std::string sealed_for;                // whose reasoning is sealed: organisation, or a reseller's end customer
  std::optional<sealing::ConversationId> conversation;  // of the sealed blobs that came with it
  std::optional<evidence::Staged> staged;               // the admission record, to be settled before anything is sent
  bool recorded = false;                                // an admission record was written: a completion must follow

  // The request ends here: what its caller is told, and the rule that decided.
  std::optional<api::ApiError> refused;
  std::string refused_by;
};

// The request is refused because its record can't be kept: nothing is owed.
void refuse_without_evidence(Admission& admission);

class Admitter {
 public:
  // `seed`: each worker's own, so that no two give the same ids.
  Admitter(GuardState& state, std::uint64_t seed);

  Admission admit(const net::HttpRequest& request, Plane plane = Plane::kProxy);

 private:
  struct Pass;
  GuardState& state_;
  api::RequestReader reader_;
  Random random_;
};

}  // namespace retort::guard
