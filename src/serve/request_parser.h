// The bodies of POST /v1/chat/completions and /v1/completions as plain structs. Pure; any thread.
//
// Strict: what is out of range, of another type or unknown is refused with the member's name. A parameter that changes
// what the answer means and isn't supported (tools, penalties, logit_bias, response_format, …) is refused unless it has
// its neutral value; one that doesn't (user, metadata, store, service_tier, …) is accepted and ignored. Null is absent.
#pragma once

#include <string_view>

#include "serve/api_error.h"
#include "serve/generation_request.h"

namespace retort::serve {

ApiResult<GenerationRequest> parse_request(Endpoint endpoint, std::string_view body);

}  // namespace retort::serve
