// Envoy's ext_authz for `serve`. It needs gRPC, some forty libraries that no other verb wants; so it is in a program of
// its own, retort-guard-grpc, which retort-guard becomes (exec) where guard.yaml has authz.ext_authz.
//
// Two files define these: ext_authz_elsewhere.cc (retort-guard) and ext_authz_here.cc (retort-guard-grpc).
#pragma once

#include <memory>
#include <string>

#include "frame/verb.h"
#include "guard/guard_state.h"

namespace retort::app {

class ExtAuthzPlane {
 public:
  virtual ~ExtAuthzPlane() = default;  // waits for answers under way
  virtual std::string address() const = 0;
};

// Before the gateway starts. Error (kCaller): retort-guard-grpc isn't there.
Result<void> be_the_right_program(const std::string& configuration, const Context& context);

// Null where guard.yaml has no authz.ext_authz.
Result<std::unique_ptr<ExtAuthzPlane>> start_ext_authz(guard::GuardState& state);

}  // namespace retort::app
