// The admin API: a listener of its own, whose every request needs the credential. For people and monitoring.
//
//   GET  /metrics                       Prometheus' text
//   GET  /admin/steps                   every step, newest first
//   POST /admin/steps                   {"account","step","by","reason","hours"}
//   POST /admin/steps/ID/undo           {"by"}
//   GET  /admin/callers                 callers as lines of JSON; keys, organisations and verifications, and changes of
//                                       them: guard/admin_callers.h
//   GET  /admin/spending/ACCOUNT        {"settled_usd","reserved_usd"} of the UTC day
//   POST /admin/erase                   {"organisation","by","day"}: destroys the keys of its kept texts (of one UTC
//                                       day)
//   POST /admin/reload                  reads configuration, keys and lists again
//
// Runs on a thread of its own; requests may wait for SQLite.
#pragma once

#include <memory>
#include <string>

#include "guard/admin_callers.h"
#include "guard/guard_state.h"
#include "net/server.h"

namespace retort::guard {

class Admin {
 public:
  static Result<std::unique_ptr<Admin>> start(GuardState& state);
  std::string url() const { return server_->url(); }

 private:
  Admin(GuardState& state, AdminCallers callers) : state_(state), callers_(std::move(callers)) {}
  net::HttpResponse answer(const net::HttpRequest& request);
  Result<net::HttpResponse> act(const net::HttpRequest& request);

  GuardState& state_;
  AdminCallers callers_;
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace retort::guard
