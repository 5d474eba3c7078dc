// What ranks tell one another besides tensors, as bytes. They run one program on machines of one kind, so nothing here
// outlives a training or is read by another version.
//
// Pure; any thread.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "dataset/example.h"
#include "exchange/engine.h"

namespace retort::train {

std::string message_bytes(const Json& message);
Json message_from(const std::string& bytes);

Json message_of(std::span<const dataset::Example> examples);
Result<std::vector<dataset::Example>> examples_from(const Json& json);

// Without their tags.
Json message_of(std::span<const TokenRequest> requests);
std::vector<TokenRequest> requests_from(const Json& json);

}  // namespace retort::train
