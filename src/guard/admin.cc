#include "guard/admin.h"

#include "base/cryptography.h"
#include "base/json.h"
#include "callers/lines.h"

namespace retort::guard {
namespace {

constexpr std::int64_t kHour_ms = 3'600'000;
constexpr double kMostHours = 24 * 366;

net::HttpResponse json(int status, const Json& document) {
  return net::json_response(status, canonical_json(document));
}
net::HttpResponse sentence(int status, const std::string& text) {
  return json(status, {{"error", {{"message", text}}}});
}

Result<Json> body_of(const net::HttpRequest& request) {
  Json body = Json::parse(request.body, nullptr, false);
  if (!body.is_object()) return caller_error("The body is not a JSON object.");
  for (const auto& [key, value] : body.items()) {
    if (!value.is_string() && !value.is_number()) return caller_error("'" + key + "' is neither a text nor a number.");
  }
  return body;
}

std::string text_of(const Json& body, const char* key) {
  const auto found = body.find(key);
  return found != body.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

Result<std::unique_ptr<Admin>> Admin::start(GuardState& state) {
  RETORT_ASSIGN(AdminCallers callers, AdminCallers::open(state));
  std::unique_ptr<Admin> admin(new Admin(state, std::move(callers)));
  const auto rules = state.now()->rules;
  RETORT_ASSIGN(const Listen listen, parse_listen(rules->options.admin.listen));
  net::ServerOptions options;
  options.host = listen.host;
  options.port = listen.port;
  RETORT_ASSIGN(admin->server_,
                net::HttpServer::listen(std::move(options), [raw = admin.get()](net::HttpRequest request,
                                                                                std::shared_ptr<net::Reply> reply) {
                  reply->send(raw->answer(request));
                }));
  return admin;
}

net::HttpResponse Admin::answer(const net::HttpRequest& request) {
  const std::string expected = "Bearer " + state_.now()->rules->admin_token;
  const auto given = request.headers.find("authorization");
  if (!given || !equal_in_constant_time(*given, expected)) {
    return sentence(401, "This needs the admin credential: Authorization: Bearer …");
  }
  auto done = act(request);
  if (done) return std::move(*done);
  return sentence(done.error().fault == Fault::kCaller ? 400 : 500, done.error().message);
}

Result<net::HttpResponse> Admin::act(const net::HttpRequest& request) {
  const bool get = request.method == "GET";
  const bool post = request.method == "POST";
  const std::int64_t now = state_.clock.unix_ms();
  const std::string& path = request.path;
  if (get && path == "/metrics") {
    net::HttpResponse response;
    response.headers.add("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    response.body = state_.prometheus();
    return response;
  }
  if (get && path == "/admin/steps") {
    RETORT_ASSIGN(const auto steps, state_.steps->all());
    Json lines = Json::array();
    for (const KeptStep& kept : steps) lines.push_back(to_json(kept));
    return json(200, {{"steps", lines}});
  }
  if (post && path == "/admin/steps") {
    RETORT_ASSIGN(const Json body, body_of(request));
    const auto kind = policy::step_named(text_of(body, "step"));
    if (!kind) return caller_error("'step' is not one of " + policy::step_names() + ".");
    const double hours = body.contains("hours") && body["hours"].is_number() ? body["hours"].get<double>() : 24;
    if (!(hours > 0 && hours <= kMostHours)) return caller_error("'hours' is not between 0 and 8784.");
    policy::Step step{*kind,
                      text_of(body, "account"),
                      text_of(body, "by"),
                      text_of(body, "reason"),
                      now,
                      now + static_cast<std::int64_t>(hours * kHour_ms)};
    RETORT_ASSIGN(const std::int64_t id, state_.steps->set(step));
    if (state_.recorder) {
      RETORT_TRY(state_.recorder->act(
          "step",
          {{"account", step.account}, {"step", text_of(body, "step")}, {"by", step.by}, {"reason", step.reason}}, now));
    }
    return json(200, {{"id", id}});
  }
  constexpr std::string_view kSteps = "/admin/steps/";
  constexpr std::string_view kUndo = "/undo";
  if (post && path.starts_with(kSteps) && path.ends_with(kUndo)) {
    RETORT_ASSIGN(const Json body, body_of(request));
    const std::string number = path.substr(kSteps.size(), path.size() - kSteps.size() - kUndo.size());
    if (number.empty() || number.size() > 15 || number.find_first_not_of("0123456789") != std::string::npos) {
      return caller_error("'" + number + "' is not the number of a step.");
    }
    RETORT_TRY(state_.steps->undo(std::stoll(number), text_of(body, "by"), now));
    if (state_.recorder) {
      RETORT_TRY(state_.recorder->act("step taken back", {{"id", number}, {"by", text_of(body, "by")}}, now));
    }
    return json(200, {{"id", std::stoll(number)}});
  }
  if (get && path == "/admin/callers") {
    Json lines = Json::array();
    const auto directory = state_.callers->now();
    for (const auto& [account, caller] : directory->callers()) lines.push_back(callers::caller_line(caller, now));
    return json(200, {{"callers", lines}});
  }
  constexpr std::string_view kSpending = "/admin/spending/";
  if (get && path.starts_with(kSpending)) {
    RETORT_ASSIGN(const std::string account, net::percent_decode(path.substr(kSpending.size())));
    const policy::MoneyState money = state_.limits.money(account, policy::LimitBook::day_of(now));
    return json(200, {{"settled_usd", policy::usd(money.settled)}, {"reserved_usd", policy::usd(money.reserved)}});
  }
  if (post && path == "/admin/erase") {
    RETORT_ASSIGN(const Json body, body_of(request));
    if (!state_.recorder) return caller_error("This guard keeps no evidence.");
    const std::string organisation = text_of(body, "organisation");
    const std::string by = text_of(body, "by");
    if (organisation.empty() || by.empty()) return caller_error("Erasing needs 'organisation' and 'by'.");
    const std::string day = text_of(body, "day");
    RETORT_ASSIGN(const std::size_t keys,
                  state_.recorder->erase(organisation, day.empty() ? std::nullopt : std::optional(day), by, now));
    return json(200, {{"keys_destroyed", keys}});
  }
  if (post && path == "/admin/reload") {
    RETORT_TRY(state_.reload());
    RETORT_TRY(state_.callers->refresh());
    RETORT_TRY(state_.steps->refresh());
    return json(200, {{"reloaded", true}});
  }
  RETORT_ASSIGN(const auto done, callers_.act(request));
  if (done) return json(200, *done);
  return sentence(404, "There is nothing at " + request.method + " " + path + ".");
}

}  // namespace retort::guard
