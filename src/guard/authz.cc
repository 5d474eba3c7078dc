#include "guard/authz.h"

#include <algorithm>
#include <array>

#include "base/json.h"
#include "base/text.h"

namespace retort::guard {
namespace {

constexpr std::string_view kMethod = "x-original-method";
constexpr std::string_view kUri = "x-original-uri";

net::HttpResponse plain(int status, const std::string& sentence) {
  net::HttpResponse response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body = sentence + "\n";
  return response;
}

// What a header's value may hold.
std::string field_text(std::string text) {
  for (char& letter : text) {
    if (static_cast<unsigned char>(letter) < ' ' || letter == '\x7F') letter = '?';
  }
  return text;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

}  // namespace

Result<net::HttpRequest> original_request(const net::HttpRequest& question) {
  net::HttpRequest request;
  request.peer = question.peer;
  std::array<int, 2> seen{};
  std::string uri;
  for (const net::Headers::Field& field : question.headers.fields()) {
    const std::string name = to_lower_ascii(field.name);
    if (name == kMethod) {
      request.method = field.value;
      ++seen[0];
    } else if (name == kUri) {
      uri = field.value;
      ++seen[1];
    } else {
      request.headers.add(field.name, field.value);
    }
  }
  if (seen[0] != 1 || seen[1] != 1 || request.method.empty() || !uri.starts_with('/')) {
    return caller_error(
        "This is where nginx's auth_request asks; expected X-Original-Method and X-Original-URI (a path), one of "
        "each.");
  }
  const std::size_t mark = uri.find('?');
  request.path = uri.substr(0, mark);
  if (mark != std::string::npos) request.query = uri.substr(mark + 1);
  return request;
}

net::HttpResponse auth_request_answer(const Admission& admission) {
  net::HttpResponse answer;
  const auto add = [&](const char* name, const std::string& text) {
    if (!text.empty()) answer.headers.add(name, field_text(text));
  };
  add("x-retort-request-id", admission.id);
  add("x-retort-account", admission.account);
  add("x-retort-organisation", admission.organisation);
  add("x-retort-tier", admission.tier);
  add("x-retort-end-customer", admission.end_customer);
  if (!admission.refused) {
    if (admission.upstream != nullptr) add("x-retort-upstream", admission.upstream->options.name);
    add("x-retort-undecided", joined(admission.undecided));
    return answer;
  }
  const net::HttpResponse refusal = api::error_response(admission.route.family, *admission.refused, admission.id);
  answer.status = refusal.status == 401 ? 401 : 403;
  add("x-retort-status", std::to_string(refusal.status));
  const auto body = nlohmann::ordered_json::parse(refusal.body, nullptr, false);
  add("x-retort-body", body.dump(-1, ' ', true, Json::error_handler_t::replace));
  for (const char* name : {"x-should-retry", "Retry-After", "retry-after-ms"}) {
    if (const auto value = refusal.headers.find(name)) add(name, std::string(*value));
  }
  return answer;
}

Authz::Authz(GuardState& state, std::uint64_t seed)
    : state_(state), admitter_(state, seed), thread_(std::make_shared<net::NetworkThread>()) {}

Authz::~Authz() {
  server_.reset();
  thread_.reset();
}

Result<std::unique_ptr<Authz>> Authz::start(GuardState& state, std::uint64_t seed) {
  std::unique_ptr<Authz> authz(new Authz(state, seed));
  RETORT_ASSIGN(const Listen listen, parse_listen(state.now()->rules->options.authz.listen));
  net::ServerOptions options;
  options.host = listen.host;
  options.port = listen.port;
  options.max_connections = 1 << 14;
  options.max_body_bytes = 1 << 10;  // there is none
  RETORT_ASSIGN(authz->server_,
                net::HttpServer::listen(
                    std::move(options),
                    [raw = authz.get()](const net::HttpRequest& question, const std::shared_ptr<net::Reply>& reply) {
                      raw->handle(question, reply);
                    },
                    authz->thread_));
  return authz;
}

void Authz::handle(const net::HttpRequest& question, const std::shared_ptr<net::Reply>& reply) {
  ++state_.metrics.auth_request_questions;
  if (!may_ask(*state_.now()->rules, question.peer)) {
    state_.metrics.refused("authz.peer");
    reply->send(plain(403, "Only a proxy named under network.trusted_hops may ask here."));
    return;
  }
  const auto request = original_request(question);
  if (!request) {
    state_.metrics.refused("authz.question");
    reply->send(plain(400, request.error().message));
    return;
  }
  const Admission admission = hand_over(state_, admitter_, *request, Plane::kHeaders);
  net::HttpResponse answer = auth_request_answer(admission);
  if (!admission.refused && admission.decision.slow_ms > 0) {
    thread_->after(std::chrono::milliseconds(admission.decision.slow_ms),
                   [reply, answer = std::move(answer)] { reply->send(answer); });
    return;
  }
  reply->send(std::move(answer));
}

}  // namespace retort::guard
