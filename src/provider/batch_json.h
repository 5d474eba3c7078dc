// What both batch APIs share in reading. Internal to the module.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "provider/batch_api.h"
#include "provider/json_answer.h"

namespace retort::provider {

// Error (kWorld): not a JSON object.
Result<Json> object_of(std::string_view text);
// Visits the objects of JSON lines; blank lines are passed over.
Result<void> for_each_json_line(std::string_view lines, const std::function<Result<void>(const Json&)>& visit);
// An outcome as if `body` had come by itself.
net::HttpOutcome outcome_of(int status, const Json& body, const std::string& request_id);
// Both list batches in the same way, the newest first; `after`: the path that goes on after an id.
Result<BatchPage> page_of(std::string_view json, const std::string& after,
                          const std::function<Result<BatchState>(const Json&)>& state);

}  // namespace retort::provider
