// The ways in which a request can meet the guard, and what can't be decided in each.
//
// In two of them another proxy sends the request on: then nothing of it or of its answer can be changed, what the
// answer cost stays unknown, and what isn't shown isn't judged. docs/GUARD-PLANES.md says it to operators. Pure; any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "guard/options.h"
#include "policy/options.h"

namespace retort::guard {

enum class Plane : std::uint8_t {
  kProxy,    // this program sends it on, and sees the answer
  kHeaders,  // another proxy sends it on; its body isn't shown (auth_request; ext_authz without bodies)
  kWhole,    // another proxy sends it on, as it is; its body is shown (ext_authz)
};

// Keys of the tier's policy that requests which generate text are let through without: "models", "logprobs", …, and
// "sealing" where reasoning is sealed. Empty for kProxy.
std::vector<std::string> undecided(const policy::TierPolicy& tier, Plane plane, bool sealing);

// What the configuration's other planes leave undecided, a sentence for each tier that it concerns.
std::vector<std::string> notes_on_planes(const GuardOptions& options, const policy::PolicyOptions& policy);

}  // namespace retort::guard
