// Anthropic's messages: the system's turn stands apart, contents are blocks, and there are no log-probabilities.
#include <map>

#include "base/json.h"
#include "base/text.h"
#include "provider/dialect.h"
#include "provider/json_answer.h"

namespace retort::provider {
namespace {

// A call in the form of the OpenAI API, as Message::tool_calls holds it.
Json call_json(const std::string& id, const std::string& name, const std::string& arguments) {
  return {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
}

Result<void> add_calls(const std::string& tool_calls, Json& blocks) {
  const Json calls = Json::parse(tool_calls, nullptr, false);
  if (!calls.is_array()) return caller_error("The calls of an assistant's turn are not a JSON array.");
  for (const Json& call : calls) {
    const Json& function = part_of(call, "function");
    const Json input = Json::parse(text_or_empty(function, "arguments"), nullptr, false);
    if (!input.is_object()) return caller_error("The arguments of a tool's call are not a JSON object.");
    blocks.push_back({{"type", "tool_use"},
                      {"id", text_or_empty(call, "id")},
                      {"name", text_or_empty(function, "name")},
                      {"input", input}});
  }
  return {};
}

Result<Json> tools_json(const std::string& tools) {
  const Json all = Json::parse(tools, nullptr, false);
  if (!all.is_array()) return caller_error("The tools of a prompt are not a JSON array.");
  Json list = Json::array();
  for (const Json& tool : all) {
    const Json& function = part_of(tool, "function");
    Json one = {{"name", text_or_empty(function, "name")}, {"input_schema", part_of(function, "parameters")}};
    if (one["input_schema"].is_null()) one["input_schema"] = {{"type", "object"}};
    if (const std::string text = text_or_empty(function, "description"); !text.empty()) one["description"] = text;
    list.push_back(std::move(one));
  }
  return list;
}

Result<FinishReason> finish_of(const std::string& word) {
  if (word == "end_turn" || word == "stop_sequence") return FinishReason::kEnd;
  if (word == "max_tokens" || word == "model_context_window_exceeded") return FinishReason::kLength;
  if (word == "tool_use") return FinishReason::kToolCalls;
  if (word == "refusal") return FinishReason::kFiltered;
  return malformed(word.empty() ? "it doesn't say why it ended" : "it ended for the unknown reason '" + word + "'");
}

Usage usage_of(const Json& usage) {
  // Cached input is input; what it costs is the service's affair, and never more than this.
  return {count_or_zero(usage, "input_tokens") + count_or_zero(usage, "cache_creation_input_tokens") +
              count_or_zero(usage, "cache_read_input_tokens"),
          count_or_zero(usage, "output_tokens"), 0};
}

class AnthropicMessages final : public Dialect {
 public:
  std::string_view name() const override { return "anthropic.messages"; }
  std::string_view path() const override { return "/messages"; }

  Result<std::string> body(const std::string& model, const Prompt& prompt, const AskOptions& options) const override {
    const SamplingOptions& sampling = options.sampling;
    if (options.top_logprobs) {
      return caller_error("Anthropic's API gives no log-probabilities; expected collect.logprobs to be absent.");
    }
    Json messages = Json::array();
    std::string system;
    for (const Message& message : prompt.messages) {
      if (message.role == Role::kSystem) {
        system += (system.empty() ? "" : "\n\n") + message.content;
        continue;
      }
      RETORT_TRY(add(message, messages));
    }
    Json json = {{"model", model}, {"messages", std::move(messages)}, {"max_tokens", sampling.max_tokens}};
    // Its newer models take one of the two, and say so: what the recipe asks for is not left out in silence.
    json["temperature"] = sampling.temperature;
    if (sampling.top_p < 1) json["top_p"] = sampling.top_p;
    if (sampling.top_k > 0) json["top_k"] = sampling.top_k;
    if (!system.empty()) json["system"] = system;
    if (!prompt.tools.empty()) {
      RETORT_ASSIGN(json["tools"], tools_json(prompt.tools));
    }
    if (options.stream) json["stream"] = true;
    return canonical_json(json);
  }

  net::Headers headers(const std::string& key) const override {
    net::Headers fields;
    fields.add("Content-Type", "application/json");
    fields.add("anthropic-version", "2023-06-01");
    if (!key.empty()) fields.add("x-api-key", key);
    return fields;
  }

  Result<Answer> read(const net::HttpOutcome& outcome) const override {
    return reading<Answer>([&] { return is_event_stream(outcome) ? from_stream(outcome) : from_json(outcome); });
  }

 private:
  static Result<void> add(const Message& message, Json& messages) {
    const bool result = message.role == Role::kTool;
    Json blocks = Json::array();
    if (result) {
      blocks.push_back({{"type", "tool_result"}, {"tool_use_id", message.tool_call_id}, {"content", message.content}});
    } else if (!message.content.empty()) {
      blocks.push_back({{"type", "text"}, {"text", message.content}});
    }
    if (!message.tool_calls.empty()) RETORT_TRY(add_calls(message.tool_calls, blocks));
    const char* role = message.role == Role::kAssistant ? "assistant" : "user";
    // Results of several calls are one turn of the user.
    if (result && !messages.empty() && messages.back()["role"] == "user") {
      for (Json& block : blocks) messages.back()["content"].push_back(std::move(block));
      return {};
    }
    messages.push_back({{"role", role}, {"content", std::move(blocks)}});
    return {};
  }

  static void take_block(const Json& block, Completion& completion, Json& calls) {
    const std::string type = text_or_empty(block, "type");
    if (type == "text") completion.text += text_or_empty(block, "text");
    if (type == "thinking") completion.reasoning += text_or_empty(block, "thinking");
    if (type == "tool_use") {
      calls.push_back(
          call_json(text_or_empty(block, "id"), text_or_empty(block, "name"), canonical_json(part_of(block, "input"))));
    }
  }

  static Result<Answer> from_json(const net::HttpOutcome& outcome) {
    RETORT_ASSIGN(const Json json, json_body(outcome));
    const Json& content = part_of(json, "content");
    if (text_or_empty(json, "type") != "message" || !content.is_array()) return malformed("it is not a message");
    Answer answer;
    RETORT_ASSIGN(answer.completion.finish_reason, finish_of(text_or_empty(json, "stop_reason")));
    Json calls = Json::array();
    for (const Json& block : content) take_block(block, answer.completion, calls);
    if (!calls.empty()) answer.completion.tool_calls = canonical_json(calls);
    if (const Json& usage = part_of(json, "usage"); usage.is_object()) answer.usage = usage_of(usage);
    answer.answered_as = text_or_empty(json, "model");
    answer.request_id = header_text(outcome, "request-id");
    if (answer.request_id.empty()) answer.request_id = text_or_empty(json, "id");
    return answer;
  }

  static Result<Answer> from_stream(const net::HttpOutcome& outcome) {
    Answer answer;
    answer.request_id = header_text(outcome, "request-id");
    std::string finish;
    bool stopped = false;
    Usage usage;
    bool counted = false;
    std::map<std::int64_t, Json> blocks;
    std::map<std::int64_t, std::string> arguments;
    RETORT_TRY(for_each_event(outcome, [&](const std::string&, const Json& data) -> Result<void> {
      const std::string type = text_or_empty(data, "type");
      const std::int64_t index = count_or_zero(data, "index");
      if (type == "message_start") {
        const Json& message = part_of(data, "message");
        answer.answered_as = text_or_empty(message, "model");
        if (answer.request_id.empty()) answer.request_id = text_or_empty(message, "id");
        usage = usage_of(part_of(message, "usage"));
        counted = true;
      } else if (type == "content_block_start") {
        blocks[index] = part_of(data, "content_block");
      } else if (type == "content_block_delta") {
        const Json& delta = part_of(data, "delta");
        Json& block = blocks[index];
        for (const char* key : {"text", "thinking"}) {
          if (delta.contains(key)) block[key] = text_or_empty(block, key) + text_or_empty(delta, key);
        }
        arguments[index] += text_or_empty(delta, "partial_json");
      } else if (type == "message_delta") {
        finish = text_or_empty(part_of(data, "delta"), "stop_reason");
        usage.output = count_or_zero(part_of(data, "usage"), "output_tokens");
      } else if (type == "message_stop") {
        stopped = true;
      }
      return {};
    }));
    if (!stopped) return malformed("the stream ended before its end");
    RETORT_ASSIGN(answer.completion.finish_reason, finish_of(finish));
    Json calls = Json::array();
    for (auto& [index, block] : blocks) {
      if (!arguments[index].empty()) block["input"] = Json::parse(arguments[index]);
      take_block(block, answer.completion, calls);
    }
    if (!calls.empty()) answer.completion.tool_calls = canonical_json(calls);
    if (counted) answer.usage = usage;
    return answer;
  }
};

}  // namespace

const Dialect& anthropic_messages() {
  static const AnthropicMessages dialect;
  return dialect;
}

}  // namespace retort::provider
