// Decides on a request that another proxy will send on, and closes its books at once: nobody will tell how it went.
//
// Of an admitted request the reservation is settled at its worst case, and the completion record (ended "handed_over")
// follows the admission record. On a worker's thread or one of its own; blocks on nothing but the spool's writes.
#pragma once

#include "guard/admission.h"

namespace retort::guard {

// `plane` is not kProxy.
Admission hand_over(GuardState& state, Admitter& admitter, const net::HttpRequest& request, Plane plane);

// Whether the policy lets the asking proxy, at this address, be believed (network.trusted_hops).
bool may_ask(const Rules& rules, const std::string& peer);

}  // namespace retort::guard
