// Answers Envoy's ext_authz over gRPC: envoy.service.auth.v3.Authorization/Check, on an address and a port or on a Unix
// socket (authz.ext_authz).
//
// Over TCP only a trusted hop may ask (network.trusted_hops); who may open the socket's file decides on a Unix socket.
// Runs on gRPC's own threads; the state must outlive it. The destructor waits for answers under way.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "guard/guard_state.h"

namespace retort::extauthz {

class ExtAuthzServer {
 public:
  // Error (kCaller): it can't listen there.
  static Result<std::unique_ptr<ExtAuthzServer>> start(guard::GuardState& state);
  ~ExtAuthzServer();
  ExtAuthzServer(const ExtAuthzServer&) = delete;
  ExtAuthzServer& operator=(const ExtAuthzServer&) = delete;

  // "127.0.0.1:9001", with the port that was free; "unix:/path".
  const std::string& address() const;

 private:
  struct Inside;
  explicit ExtAuthzServer(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

}  // namespace retort::extauthz
