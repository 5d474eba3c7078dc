// Anthropic's message batches: the requests in the call, the results as JSON lines.
#include "provider/batch_json.h"

namespace retort::provider {
namespace {

// Its statuses by what went wrong, for those who judge by them.
int status_of(const std::string& type) {
  if (type == "invalid_request_error") return 400;
  if (type == "authentication_error") return 401;
  if (type == "billing_error") return 402;
  if (type == "permission_error") return 403;
  if (type == "not_found_error") return 404;
  if (type == "request_too_large") return 413;
  if (type == "rate_limit_error") return 429;
  if (type == "overloaded_error") return 529;
  return 500;
}

class AnthropicBatches final : public BatchApi {
 public:
  bool uploads() const override { return false; }
  std::int64_t most_requests() const override { return 100'000; }
  std::size_t most_bytes() const override { return 190'000'000; }  // of 256 MB

  std::string open(const std::string&) const override { return "{\"requests\":["; }

  void add(const Dialect&, const std::string& id, const std::string& request, std::string& body) const override {
    if (body.back() != '[') body += ',';
    body += R"({"custom_id":")" + id + R"(","params":)" + request + "}";
  }

  void close(const std::string&, std::string& body) const override { body += "]}"; }

  net::HttpCall upload(const std::string&, std::string) const override { return {}; }
  Result<std::string> uploaded(const net::HttpOutcome&) const override {
    return world_error("Nothing is uploaded to this API.");
  }

  net::HttpCall create(const Dialect&, const std::string&, const std::string&, std::string body) const override {
    net::HttpCall call;
    call.url = "/messages/batches";
    call.body = std::move(body);
    return call;
  }

  std::string path_of(const std::string& id) const override { return "/messages/batches/" + id; }
  std::string list_path() const override { return "/messages/batches?limit=100"; }

  Result<BatchState> state(std::string_view json) const override {
    RETORT_ASSIGN(const Json whole, object_of(json));
    return read(whole);
  }

  Result<BatchPage> page(std::string_view json) const override {
    return page_of(json, list_path() + "&after_id=", read);
  }

  Result<void> for_each_result(std::string_view lines,
                               const std::function<Result<void>(BatchResult)>& visit) const override {
    return for_each_json_line(lines, [&](const Json& line) {
      BatchResult result;
      result.id = text_or_empty(line, "custom_id");
      const Json& told = part_of(line, "result");
      const std::string type = text_or_empty(told, "type");
      if (type == "succeeded") {
        result.outcome = outcome_of(200, part_of(told, "message"), "");
      } else if (type == "expired" || type == "canceled") {
        result.lapsed = type;
      } else {
        const Json& error = part_of(told, "error");
        const Json& inner = part_of(error, "error").is_object() ? part_of(error, "error") : error;
        result.outcome = outcome_of(status_of(text_or_empty(inner, "type")), {{"error", inner}}, "");
      }
      return visit(std::move(result));
    });
  }

 private:
  static Result<BatchState> read(const Json& json) {
    BatchState state;
    state.id = text_or_empty(json, "id");
    state.status = text_or_empty(json, "processing_status");
    if (state.id.empty() || state.status.empty()) return malformed("it is not a batch of messages");
    state.ended = state.status == "ended";
    for (const char* kind : {"processing", "succeeded", "errored", "canceled", "expired"}) {
      state.requests += count_or_zero(part_of(json, "request_counts"), kind);
    }
    // Of our own making rather than `results_url`: a key goes to the endpoint of the recipe and nowhere else.
    if (state.ended) state.results.push_back("/messages/batches/" + state.id + "/results");
    return state;
  }
};

}  // namespace

const BatchApi& anthropic_batches() {
  static const AnthropicBatches api;
  return api;
}

}  // namespace retort::provider
