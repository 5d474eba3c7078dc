// OpenAI's chat completions, which vLLM, SGLang, llama.cpp, `retort serve` and most hosted services speak too.
#include <map>

#include "base/json.h"
#include "base/text.h"
#include "provider/dialect.h"
#include "provider/json_answer.h"

namespace retort::provider {
namespace {

// Texts that hold JSON were written by us, from JSON.
Json json_of(const std::string& text) { return Json::parse(text, nullptr, false); }

Json message_json(const Message& message) {
  Json json = {{"role", std::string(name_of(message.role))}, {"content", message.content}};
  if (!message.name.empty()) json["name"] = message.name;
  if (!message.tool_call_id.empty()) json["tool_call_id"] = message.tool_call_id;
  if (!message.tool_calls.empty()) {
    json["tool_calls"] = json_of(message.tool_calls);
    if (message.content.empty()) json["content"] = nullptr;
  }
  return json;
}

Result<FinishReason> finish_of(const std::string& word) {
  if (word == "stop") return FinishReason::kEnd;
  if (word == "length") return FinishReason::kLength;
  if (word == "tool_calls" || word == "function_call") return FinishReason::kToolCalls;
  if (word == "content_filter") return FinishReason::kFiltered;
  return malformed(word.empty() ? "it doesn't say why it ended" : "it ended for the unknown reason '" + word + "'");
}

void append_logprobs(const Json& choice, Json& all) {
  const Json& content = part_of(part_of(choice, "logprobs"), "content");
  if (!content.is_array()) return;
  for (const Json& entry : content) all.push_back(to_json(told_token(entry)));
}

std::optional<Usage> usage_of(const Json& json) {
  const Json& usage = part_of(json, "usage");
  if (!usage.is_object()) return std::nullopt;
  return Usage{count_or_zero(usage, "prompt_tokens"), count_or_zero(usage, "completion_tokens"),
               count_or_zero(part_of(usage, "completion_tokens_details"), "reasoning_tokens")};
}

// vLLM, SGLang and DeepSeek put the reasoning beside the content.
std::string reasoning_of(const Json& message) {
  const std::string text = text_or_empty(message, "reasoning_content");
  return text.empty() ? text_or_empty(message, "reasoning") : text;
}

class OpenAiChat final : public Dialect {
 public:
  std::string_view name() const override { return "openai.chat"; }
  std::string_view path() const override { return "/chat/completions"; }

  Result<std::string> body(const std::string& model, const Prompt& prompt, const AskOptions& options) const override {
    const SamplingOptions& sampling = options.sampling;
    Json messages = Json::array();
    for (const Message& message : prompt.messages) messages.push_back(message_json(message));
    Json json = {{"model", model}, {"messages", std::move(messages)}, {"temperature", sampling.temperature}};
    json[options.max_completion_tokens ? "max_completion_tokens" : "max_tokens"] = sampling.max_tokens;
    if (sampling.top_p < 1) json["top_p"] = sampling.top_p;
    // Not OpenAI's own, but every server of open weights knows them.
    if (sampling.top_k > 0) json["top_k"] = sampling.top_k;
    if (sampling.min_p > 0) json["min_p"] = sampling.min_p;
    if (options.seed) json["seed"] = sampling.seed;
    if (options.top_logprobs) {
      json["logprobs"] = true;
      if (*options.top_logprobs > 0) json["top_logprobs"] = *options.top_logprobs;
    }
    if (!prompt.tools.empty()) json["tools"] = json_of(prompt.tools);
    if (options.stream) {
      json["stream"] = true;
      json["stream_options"] = {{"include_usage", true}};
    }
    return canonical_json(json);
  }

  net::Headers headers(const std::string& key) const override {
    net::Headers fields;
    fields.add("Content-Type", "application/json");
    if (!key.empty()) fields.add("Authorization", "Bearer " + key);
    return fields;
  }

  Result<Answer> read(const net::HttpOutcome& outcome) const override {
    return reading<Answer>([&] { return is_event_stream(outcome) ? from_stream(outcome) : from_json(outcome); });
  }

 private:
  static Result<Answer> from_json(const net::HttpOutcome& outcome) {
    RETORT_ASSIGN(const Json json, json_body(outcome));
    const Json& choices = part_of(json, "choices");
    if (!choices.is_array() || choices.size() != 1) return malformed("it doesn't hold exactly one choice");
    const Json& choice = choices[0];
    const Json& message = part_of(choice, "message");
    if (!message.is_object()) return malformed("its choice has no message");
    Answer answer = start_of(json, outcome);
    Completion& completion = answer.completion;
    RETORT_ASSIGN(completion.finish_reason, finish_of(text_or_empty(choice, "finish_reason")));
    const Json& content = part_of(message, "content");
    if (!content.is_string() && !content.is_null()) return malformed("the content of its message is not a text");
    completion.text = text_or_empty(message, "content");
    completion.reasoning = reasoning_of(message);
    const Json& calls = part_of(message, "tool_calls");
    if (calls.is_array() && !calls.empty()) completion.tool_calls = canonical_json(calls);
    Json logprobs = Json::array();
    append_logprobs(choice, logprobs);
    if (!logprobs.empty()) completion.logprobs = canonical_json(logprobs);
    return answer;
  }

  static Answer start_of(const Json& json, const net::HttpOutcome& outcome) {
    Answer answer;
    answer.usage = usage_of(json);
    answer.answered_as = text_or_empty(json, "model");
    answer.request_id = header_text(outcome, "x-request-id");
    if (answer.request_id.empty()) answer.request_id = text_or_empty(json, "id");
    return answer;
  }

  static Result<Answer> from_stream(const net::HttpOutcome& outcome) {
    Answer answer;
    answer.request_id = header_text(outcome, "x-request-id");
    std::string finish;
    bool done = false;
    std::map<std::int64_t, Json> calls;
    Json logprobs = Json::array();
    RETORT_TRY(for_each_event(outcome, [&](const std::string&, const Json& data) -> Result<void> {
      if (data.is_null()) {
        done = true;
        return {};
      }
      if (answer.answered_as.empty()) answer.answered_as = text_or_empty(data, "model");
      if (answer.request_id.empty()) answer.request_id = text_or_empty(data, "id");
      if (const auto usage = usage_of(data)) answer.usage = usage;
      const Json& choices = part_of(data, "choices");
      if (!choices.is_array() || choices.empty()) return {};
      const Json& choice = choices[0];
      const Json& delta = part_of(choice, "delta");
      answer.completion.text += text_or_empty(delta, "content");
      answer.completion.reasoning += reasoning_of(delta);
      append_logprobs(choice, logprobs);
      for (const Json& piece : part_of(delta, "tool_calls")) add_call(piece, calls);
      const std::string reason = text_or_empty(choice, "finish_reason");
      if (!reason.empty()) finish = reason;
      return {};
    }));
    if (!done) return malformed("the stream ended before its end");
    RETORT_ASSIGN(answer.completion.finish_reason, finish_of(finish));
    if (!calls.empty()) {
      Json list = Json::array();
      for (auto& [index, call] : calls) list.push_back(std::move(call));
      answer.completion.tool_calls = canonical_json(list);
    }
    if (!logprobs.empty()) answer.completion.logprobs = canonical_json(logprobs);
    return answer;
  }

  // Calls come in pieces: id and name once, arguments as text to be joined.
  static void add_call(const Json& piece, std::map<std::int64_t, Json>& calls) {
    Json& call = calls[count_or_zero(piece, "index")];
    if (call.is_null()) call = {{"id", ""}, {"type", "function"}, {"function", {{"name", ""}, {"arguments", ""}}}};
    if (const std::string id = text_or_empty(piece, "id"); !id.empty()) call["id"] = id;
    const Json& function = part_of(piece, "function");
    for (const char* key : {"name", "arguments"}) {
      call["function"][key] = call["function"][key].get<std::string>() + text_or_empty(function, key);
    }
  }
};

}  // namespace

const Dialect& openai_chat() {
  static const OpenAiChat dialect;
  return dialect;
}

}  // namespace retort::provider
