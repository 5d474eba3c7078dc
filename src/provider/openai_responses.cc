// OpenAI's responses: a turn is a list of items. Nothing is left on the service's side (`store: false`).
#include "base/json.h"
#include "base/text.h"
#include "provider/dialect.h"
#include "provider/json_answer.h"

namespace retort::provider {
namespace {

Result<void> add_items(const Message& message, Json& items) {
  if (message.role == Role::kTool) {
    items.push_back({{"type", "function_call_output"}, {"call_id", message.tool_call_id}, {"output", message.content}});
    return {};
  }
  if (!message.content.empty() || message.tool_calls.empty()) {
    items.push_back({{"role", std::string(name_of(message.role))}, {"content", message.content}});
  }
  if (message.tool_calls.empty()) return {};
  const Json calls = Json::parse(message.tool_calls, nullptr, false);
  if (!calls.is_array()) return caller_error("The calls of an assistant's turn are not a JSON array.");
  for (const Json& call : calls) {
    const Json& function = part_of(call, "function");
    items.push_back({{"type", "function_call"},
                     {"call_id", text_or_empty(call, "id")},
                     {"name", text_or_empty(function, "name")},
                     {"arguments", text_or_empty(function, "arguments")}});
  }
  return {};
}

class OpenAiResponses final : public Dialect {
 public:
  std::string_view name() const override { return "openai.responses"; }
  std::string_view path() const override { return "/responses"; }

  Result<std::string> body(const std::string& model, const Prompt& prompt, const AskOptions& options) const override {
    const SamplingOptions& sampling = options.sampling;
    Json items = Json::array();
    for (const Message& message : prompt.messages) RETORT_TRY(add_items(message, items));
    Json json = {{"model", model},
                 {"input", std::move(items)},
                 {"max_output_tokens", sampling.max_tokens},
                 {"temperature", sampling.temperature},
                 {"store", false}};
    if (sampling.top_p < 1) json["top_p"] = sampling.top_p;
    if (options.top_logprobs) {
      json["include"] = {"message.output_text.logprobs"};
      if (*options.top_logprobs > 0) json["top_logprobs"] = *options.top_logprobs;
    }
    if (!prompt.tools.empty()) {
      Json tools = Json::array();
      for (const Json& tool : Json::parse(prompt.tools, nullptr, false)) {
        Json one = part_of(tool, "function");
        if (!one.is_object()) return caller_error("A tool of the prompt is not a function.");
        one["type"] = "function";
        tools.push_back(std::move(one));
      }
      json["tools"] = std::move(tools);
    }
    if (options.stream) json["stream"] = true;
    return canonical_json(json);
  }

  net::Headers headers(const std::string& key) const override { return openai_chat().headers(key); }

  Result<Answer> read(const net::HttpOutcome& outcome) const override {
    return reading<Answer>([&]() -> Result<Answer> {
      if (!is_event_stream(outcome)) {
        RETORT_ASSIGN(const Json json, json_body(outcome));
        return from_response(json, outcome);
      }
      // The last event of a stream holds the whole response.
      Json last;
      RETORT_TRY(for_each_event(outcome, [&](const std::string&, const Json& data) -> Result<void> {
        const std::string type = text_or_empty(data, "type");
        if (type == "response.completed" || type == "response.incomplete" || type == "response.failed") {
          last = part_of(data, "response");
        }
        return {};
      }));
      if (last.is_null()) return malformed("the stream ended before its end");
      return from_response(last, outcome);
    });
  }

 private:
  static Result<FinishReason> finish_of(const Json& json, bool called) {
    const std::string status = text_or_empty(json, "status");
    if (status == "completed") return called ? FinishReason::kToolCalls : FinishReason::kEnd;
    const std::string reason = text_or_empty(part_of(json, "incomplete_details"), "reason");
    if (status == "incomplete" && reason == "max_output_tokens") return FinishReason::kLength;
    if (status == "incomplete" && reason == "content_filter") return FinishReason::kFiltered;
    return malformed("its status is '" + status + "'");
  }

  static void take_message(const Json& item, Completion& completion, Json& logprobs) {
    for (const Json& part : part_of(item, "content")) {
      completion.text += text_or_empty(part, "text");
      for (const Json& entry : part_of(part, "logprobs")) logprobs.push_back(to_json(told_token(entry)));
    }
  }

  static Result<Answer> from_response(const Json& json, const net::HttpOutcome& outcome) {
    const Json& output = part_of(json, "output");
    if (!output.is_array()) return malformed("it has no output");
    Answer answer;
    Json calls = Json::array();
    Json logprobs = Json::array();
    for (const Json& item : output) {
      const std::string type = text_or_empty(item, "type");
      if (type == "message") take_message(item, answer.completion, logprobs);
      if (type == "reasoning") {
        for (const Json& part : part_of(item, "summary")) answer.completion.reasoning += text_or_empty(part, "text");
      }
      if (type == "function_call") {
        calls.push_back(
            {{"id", text_or_empty(item, "call_id")},
             {"type", "function"},
             {"function", {{"name", text_or_empty(item, "name")}, {"arguments", text_or_empty(item, "arguments")}}}});
      }
    }
    RETORT_ASSIGN(answer.completion.finish_reason, finish_of(json, !calls.empty()));
    if (!calls.empty()) answer.completion.tool_calls = canonical_json(calls);
    if (!logprobs.empty()) answer.completion.logprobs = canonical_json(logprobs);
    if (const Json& usage = part_of(json, "usage"); usage.is_object()) {
      answer.usage = Usage{count_or_zero(usage, "input_tokens"), count_or_zero(usage, "output_tokens"),
                           count_or_zero(part_of(usage, "output_tokens_details"), "reasoning_tokens")};
    }
    answer.answered_as = text_or_empty(json, "model");
    answer.request_id = header_text(outcome, "x-request-id");
    if (answer.request_id.empty()) answer.request_id = text_or_empty(json, "id");
    return answer;
  }
};

}  // namespace

const Dialect& openai_responses() {
  static const OpenAiResponses dialect;
  return dialect;
}

}  // namespace retort::provider
