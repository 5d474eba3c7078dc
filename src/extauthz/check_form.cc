#include "extauthz/check_form.h"

#include <algorithm>

#include "base/text.h"

namespace retort::extauthz {
namespace {

namespace auth = envoy::service::auth::v3;

constexpr int kPermissionDenied = 7;  // google.rpc.Code

template <class List>
void set_header(List* list, const std::string& name, const std::string& value) {
  auto* option = list->Add();
  option->mutable_header()->set_key(name);
  option->mutable_header()->set_value(value);
  option->mutable_append()->set_value(false);  // in place of what the caller sent
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

// Which upstream's key goes in is certain where the model says it, or where there is one of the dialect alone.
const guard::Upstream* certain_upstream(const guard::Admission& admission) {
  if (admission.upstream == nullptr || admission.facts) return admission.upstream;
  const auto& all = admission.in_force->rules->upstreams;
  const auto same = std::count_if(all.begin(), all.end(), [&](const guard::Upstream& upstream) {
    return upstream.family == admission.upstream->family;
  });
  return same == 1 ? admission.upstream : nullptr;
}

void write_metadata(const guard::Admission& admission, const guard::Upstream* upstream, CheckResponse& answer) {
  auto& fields = *answer.mutable_dynamic_metadata()->mutable_fields();
  const auto add = [&](const char* name, const std::string& text) {
    if (!text.empty() && is_valid_utf8(text)) fields[name].set_string_value(text);
  };
  add("id", admission.id);
  add("account", admission.account);
  add("organisation", admission.organisation);
  add("tier", admission.tier);
  add("end_customer", admission.end_customer);
  if (admission.facts) add("model", admission.facts->model);
  if (upstream != nullptr) add("upstream", upstream->options.name);
  add("undecided", joined(admission.undecided));
  add("refused_by", admission.refused_by);
}

}  // namespace

Result<Question> question_of(const CheckRequest& asked) {
  if (!asked.attributes().request().has_http()) {
    return caller_error("This answers Envoy's ext_authz about HTTP requests; expected attributes.request.http.");
  }
  const auto& http = asked.attributes().request().http();
  Question question;
  net::HttpRequest& request = question.request;
  request.method = http.method();
  const std::size_t mark = http.path().find('?');
  request.path = http.path().substr(0, mark);
  if (mark != std::string::npos) request.query = http.path().substr(mark + 1);
  request.peer = asked.attributes().source().address().socket_address().address();
  const auto add = [&](const std::string& name, const std::string& value) {
    if (name == "x-envoy-auth-partial-body") {
      question.partial = question.partial || value != "false";
    } else if (!name.starts_with(':')) {
      request.headers.add(name, value);
    }
  };
  for (const auto& [name, value] : http.headers()) add(name, value);
  for (const auto& field : http.header_map().headers()) {
    add(field.key(), field.raw_value().empty() ? field.value() : field.raw_value());
  }
  request.body = http.raw_body().empty() ? http.body() : http.raw_body();
  return question;
}

void write_answer(const guard::Admission& admission, const net::HttpRequest& request, CheckResponse& answer) {
  if (admission.refused) {
    write_refusal(admission.route.family, *admission.refused, admission.id, answer);
    write_metadata(admission, nullptr, answer);
    return;
  }
  answer.mutable_status()->set_code(0);
  auto* ok = answer.mutable_ok_response();
  const guard::Upstream* upstream = certain_upstream(admission);
  std::string key_header;
  if (upstream != nullptr && !upstream->key.empty()) {
    const bool anthropic = upstream->family == api::Family::kAnthropic;
    key_header = anthropic ? "x-api-key" : "authorization";
    set_header(ok->mutable_headers(), key_header, anthropic ? upstream->key : "Bearer " + upstream->key);
  }
  for (const char* name : {"authorization", "x-api-key", "proxy-authorization", "x-forwarded-for", "forwarded"}) {
    if (name != key_header) ok->add_headers_to_remove(name);
  }
  for (const net::Headers::Field& field : request.headers.fields()) {
    if (to_lower_ascii(field.name).starts_with("x-retort-")) ok->add_headers_to_remove(field.name);
  }
  set_header(ok->mutable_response_headers_to_add(), "x-retort-request-id", admission.id);
  if (!admission.undecided.empty()) {
    set_header(ok->mutable_response_headers_to_add(), "x-retort-undecided", joined(admission.undecided));
  }
  write_metadata(admission, upstream, answer);
}

void write_refusal(api::Family family, const api::ApiError& error, const std::string& id, CheckResponse& answer) {
  answer.mutable_status()->set_code(kPermissionDenied);
  auto* denied = answer.mutable_denied_response();
  const net::HttpResponse response = api::error_response(family, error, id);
  denied->mutable_status()->set_code(response.status);
  for (const net::Headers::Field& field : response.headers.fields()) {
    set_header(denied->mutable_headers(), to_lower_ascii(field.name), field.value);
  }
  if (!id.empty()) set_header(denied->mutable_headers(), "x-retort-request-id", id);
  denied->set_body(response.body);
}

std::string address_of_peer(const std::string& grpc_peer) {
  if (grpc_peer.starts_with("unix:")) return "unix";
  const std::size_t first = grpc_peer.find(':');
  const std::size_t last = grpc_peer.rfind(':');
  if (first == std::string::npos || last <= first) return {};
  const auto decoded = net::percent_decode(std::string_view(grpc_peer).substr(first + 1, last - first - 1));
  if (!decoded) return {};
  std::string address = *decoded;
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  return address;
}

}  // namespace retort::extauthz
