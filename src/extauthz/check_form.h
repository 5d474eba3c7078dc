// Envoy's question as the request that the guard decides on, and the guard's decision as Envoy's answer. Pure.
//
// Internal to the module: includes the generated messages.
#pragma once

#include <ext_authz.pb.h>

#include <string>

#include "base/error.h"
#include "guard/admission.h"
#include "net/http.h"

namespace retort::extauthz {

using CheckRequest = envoy::service::auth::v3::CheckRequest;
using CheckResponse = envoy::service::auth::v3::CheckResponse;

struct Question {
  net::HttpRequest request;
  bool partial = false;  // Envoy shows a part of the body alone (allow_partial_message)
};

// Error (kCaller): it isn't about an HTTP request.
Result<Question> question_of(const CheckRequest& asked);

// Admitted: the provider's key in, the caller's and every header of ours out, what became of it as dynamic metadata.
// Refused: status, headers and body in the form of the API that was asked.
void write_answer(const guard::Admission& admission, const net::HttpRequest& request, CheckResponse& answer);
void write_refusal(api::Family family, const api::ApiError& error, const std::string& id, CheckResponse& answer);

// "ipv4:127.0.0.1:4711", "ipv6:[::1]:4711" (also percent-encoded) -> the address; "unix:…" -> "unix"; else "".
std::string address_of_peer(const std::string& grpc_peer);

}  // namespace retort::extauthz
