#include "provider/batch_json.h"

#include "base/text.h"

namespace retort::provider {

Result<Json> object_of(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return malformed("it is not a JSON object");
  return json;
}

Result<void> for_each_json_line(std::string_view lines, const std::function<Result<void>(const Json&)>& visit) {
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    const std::string_view line = trim(lines.substr(0, end));
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    if (line.empty()) continue;
    RETORT_ASSIGN(const Json json, object_of(line));
    RETORT_TRY(visit(json));
  }
  return {};
}

net::HttpOutcome outcome_of(int status, const Json& body, const std::string& request_id) {
  net::HttpOutcome outcome;
  outcome.status = status;
  outcome.headers.add("content-type", "application/json");
  if (!request_id.empty()) {
    outcome.headers.add("x-request-id", request_id);
    outcome.headers.add("request-id", request_id);
  }
  outcome.body = canonical_json(body);
  return outcome;
}

Result<BatchPage> page_of(std::string_view json, const std::string& after,
                          const std::function<Result<BatchState>(const Json&)>& state) {
  RETORT_ASSIGN(const Json whole, object_of(json));
  const Json& data = part_of(whole, "data");
  if (!data.is_array()) return malformed("it lists no batches");
  BatchPage page;
  for (const Json& one : data) {
    RETORT_ASSIGN(BatchState found, state(one));
    page.batches.push_back(std::move(found));
  }
  const Json& more = part_of(whole, "has_more");
  if (more.is_boolean() && more.get<bool>() && !page.batches.empty()) page.next = after + page.batches.back().id;
  return page;
}

}  // namespace retort::provider
