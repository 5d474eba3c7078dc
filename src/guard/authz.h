// The listener that nginx's auth_request asks: one question a request, its body not shown.
//
// Only a trusted hop may ask (network.trusted_hops): it says what the caller asked for in X-Original-Method and
// X-Original-URI, exactly one of each, hands the caller's own headers on, and adds the caller's address to the hop
// header. Answers, as auth_request understands them:
//   200  x-retort-request-id, -account, -organisation, -tier, -end-customer, -upstream, -undecided
//   401  no valid key
//   403  everything else that is refused
//   400  the question isn't one (nginx then answers 500)
// and of a refusal x-retort-status (what the caller is to see: 404, 429, …), x-retort-body (JSON in the API's form, on
// one line, ASCII), x-should-retry, Retry-After, retry-after-ms.
//
// Runs on a thread of its own.
#pragma once

#include <memory>
#include <string>

#include "guard/handover.h"
#include "net/server.h"

namespace retort::guard {

// The request that the proxy asks about. Error (kCaller): headers are missing, or there more than once.
Result<net::HttpRequest> original_request(const net::HttpRequest& question);
net::HttpResponse auth_request_answer(const Admission& admission);

class Authz {
 public:
  // On authz.listen of the rules in force. `seed`: of the ids of exchanges.
  static Result<std::unique_ptr<Authz>> start(GuardState& state, std::uint64_t seed);
  ~Authz();
  Authz(const Authz&) = delete;
  Authz& operator=(const Authz&) = delete;

  net::HttpServer& server() { return *server_; }

 private:
  Authz(GuardState& state, std::uint64_t seed);
  void handle(const net::HttpRequest& question, const std::shared_ptr<net::Reply>& reply);

  GuardState& state_;
  Admitter admitter_;
  std::shared_ptr<net::NetworkThread> thread_;
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace retort::guard
