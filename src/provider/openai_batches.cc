// OpenAI's batches: a file of JSON lines, a batch that names it, and files of answers and errors.
#include "base/text.h"
#include "provider/batch_json.h"

namespace retort::provider {
namespace {

constexpr const char* kNameKey = "retort_batch";

// JSON lines hold no line break that isn't their end, so no request can hold this.
std::string boundary_of(const std::string& name) { return "retort-" + name; }

std::string words_of_errors(const Json& errors) {
  const Json& data = part_of(errors, "data");
  if (!data.is_array() || data.empty()) return {};
  const std::string code = text_or_empty(data[0], "code");
  return text_or_empty(data[0], "message") + (code.empty() ? "" : " (" + code + ")");
}

class OpenAiBatches final : public BatchApi {
 public:
  bool uploads() const override { return true; }
  std::int64_t most_requests() const override { return 50'000; }
  std::size_t most_bytes() const override { return 190'000'000; }  // of 200 MB

  std::string open(const std::string& name) const override {
    const std::string part = "--" + boundary_of(name) + "\r\nContent-Disposition: form-data; name=";
    return part + "\"purpose\"\r\n\r\nbatch\r\n" + part + "\"file\"; filename=\"" + name +
           ".jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n";
  }

  void add(const Dialect& dialect, const std::string& id, const std::string& request,
           std::string& body) const override {
    body += R"({"custom_id":")" + id + R"(","method":"POST","url":"/v1)" + std::string(dialect.path()) +
            R"(","body":)" + request + "}\n";
  }

  void close(const std::string& name, std::string& body) const override {
    body += "\r\n--" + boundary_of(name) + "--\r\n";
  }

  net::HttpCall upload(const std::string& name, std::string body) const override {
    net::HttpCall call;
    call.url = "/files";
    call.headers.add("Content-Type", "multipart/form-data; boundary=" + boundary_of(name));
    call.body = std::move(body);
    return call;
  }

  Result<std::string> uploaded(const net::HttpOutcome& outcome) const override {
    RETORT_ASSIGN(const Json json, object_of(outcome.body));
    std::string id = text_or_empty(json, "id");
    if (id.empty()) return malformed("it doesn't name the file that was uploaded");
    return id;
  }

  net::HttpCall create(const Dialect& dialect, const std::string& name, const std::string& file,
                       std::string /*body*/) const override {
    net::HttpCall call;
    call.url = "/batches";
    call.body = canonical_json({{"input_file_id", file},
                                {"endpoint", "/v1" + std::string(dialect.path())},
                                {"completion_window", "24h"},
                                {"metadata", {{kNameKey, name}}}});
    return call;
  }

  std::string path_of(const std::string& id) const override { return "/batches/" + id; }
  std::string list_path() const override { return "/batches?limit=100"; }

  Result<BatchState> state(std::string_view json) const override {
    RETORT_ASSIGN(const Json whole, object_of(json));
    return read(whole);
  }

  Result<BatchPage> page(std::string_view json) const override { return page_of(json, list_path() + "&after=", read); }

  Result<void> for_each_result(std::string_view lines,
                               const std::function<Result<void>(BatchResult)>& visit) const override {
    return for_each_json_line(lines, [&](const Json& line) {
      BatchResult result;
      result.id = text_or_empty(line, "custom_id");
      const Json& response = part_of(line, "response");
      const Json& error = part_of(line, "error");
      if (response.is_object()) {
        result.outcome = outcome_of(static_cast<int>(count_or_zero(response, "status_code")), part_of(response, "body"),
                                    text_or_empty(response, "request_id"));
      } else if (const std::string code = text_or_empty(error, "code");
                 code == "batch_expired" || code == "batch_cancelled") {
        result.lapsed = code == "batch_expired" ? "expired" : "canceled";
      } else {
        result.outcome = outcome_of(500, {{"error", error}}, "");
      }
      return visit(std::move(result));
    });
  }

 private:
  static Result<BatchState> read(const Json& json) {
    BatchState state;
    state.id = text_or_empty(json, "id");
    state.status = text_or_empty(json, "status");
    if (state.id.empty() || state.status.empty()) return malformed("it is not a batch");
    state.refused = state.status == "failed";
    state.ended =
        state.refused || state.status == "completed" || state.status == "expired" || state.status == "cancelled";
    state.why = words_of_errors(part_of(json, "errors"));
    state.name = text_or_empty(part_of(json, "metadata"), kNameKey);
    state.requests = count_or_zero(part_of(json, "request_counts"), "total");
    if (state.ended) {
      for (const char* key : {"output_file_id", "error_file_id"}) {
        const std::string file = text_or_empty(json, key);
        if (!file.empty()) state.results.push_back("/files/" + file + "/content");
      }
    }
    return state;
  }
};

}  // namespace

const BatchApi& openai_batches() {
  static const OpenAiBatches api;
  return api;
}

}  // namespace retort::provider
