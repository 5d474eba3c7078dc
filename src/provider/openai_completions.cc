#include "provider/openai_completions.h"

#include "base/json.h"
#include "provider/json_answer.h"

namespace retort::provider {
namespace {

Result<FinishReason> finish_of(const std::string& word) {
  if (word == "stop") return FinishReason::kEnd;
  if (word == "length") return FinishReason::kLength;
  if (word == "content_filter") return FinishReason::kFiltered;
  return malformed(word.empty() ? "it doesn't say why it ended" : "it ended for the unknown reason '" + word + "'");
}

std::optional<Usage> usage_of(const Json& json) {
  const Json& usage = part_of(json, "usage");
  if (!usage.is_object()) return std::nullopt;
  return Usage{count_or_zero(usage, "prompt_tokens"), count_or_zero(usage, "completion_tokens"), 0};
}

// The lists of `logprobs`, one entry a token, in our form.
void append_logprobs(const Json& choice, Json& all) {
  const Json& logprobs = part_of(choice, "logprobs");
  const Json& tokens = part_of(logprobs, "tokens");
  const Json& values = part_of(logprobs, "token_logprobs");
  const Json& tops = part_of(logprobs, "top_logprobs");
  if (!tokens.is_array() || !values.is_array()) return;
  for (std::size_t i = 0; i < tokens.size() && i < values.size(); ++i) {
    ToldToken token{tokens[i].get<std::string>(), values[i].get<double>(), {}};
    if (tops.is_array() && i < tops.size() && tops[i].is_object()) {
      for (const auto& [other, logprob] : tops[i].items()) token.likeliest.emplace_back(other, logprob.get<double>());
    }
    all.push_back(to_json(token));
  }
}

class OpenAiCompletions final : public Dialect {
 public:
  std::string_view name() const override { return "openai.completions"; }
  std::string_view path() const override { return "/completions"; }

  Result<std::string> body(const std::string& model, const Prompt& prompt, const AskOptions& options) const override {
    const bool plain =
        prompt.messages.size() == 1 && prompt.messages.front().role == Role::kUser && prompt.tools.empty();
    if (!plain) {
      return caller_error(
          "The completions API goes on with one text, and this prompt is a conversation (a system message, several "
          "turns or tools). Expected one user's turn alone and no collect.system, or teacher.api openai, which takes "
          "conversations.");
    }
    const SamplingOptions& sampling = options.sampling;
    Json json = {{"model", model},
                 {"prompt", prompt.messages.front().content},
                 {"temperature", sampling.temperature},
                 {"max_tokens", sampling.max_tokens}};
    if (sampling.top_p < 1) json["top_p"] = sampling.top_p;
    if (sampling.top_k > 0) json["top_k"] = sampling.top_k;
    if (sampling.min_p > 0) json["min_p"] = sampling.min_p;
    if (options.seed) json["seed"] = sampling.seed;
    if (!options.stop.empty()) json["stop"] = options.stop;
    // vLLM and SGLang read special tokens in any text; llama.cpp and `retort serve` where this says so.
    if (options.template_text) json["parse_special"] = true;
    if (options.top_logprobs) json["logprobs"] = *options.top_logprobs;
    if (options.stream) {
      json["stream"] = true;
      json["stream_options"] = {{"include_usage", true}};
    }
    return canonical_json(json);
  }

  net::Headers headers(const std::string& key) const override { return openai_chat().headers(key); }

  Result<Answer> read(const net::HttpOutcome& outcome) const override {
    return reading<Answer>([&] { return is_event_stream(outcome) ? from_stream(outcome) : from_json(outcome); });
  }

 private:
  static void take_head(const Json& json, Answer& answer) {
    if (answer.answered_as.empty()) answer.answered_as = text_or_empty(json, "model");
    if (answer.request_id.empty()) answer.request_id = text_or_empty(json, "id");
    if (const auto usage = usage_of(json)) answer.usage = usage;
  }

  static Result<Answer> from_json(const net::HttpOutcome& outcome) {
    RETORT_ASSIGN(const Json json, json_body(outcome));
    const Json& choices = part_of(json, "choices");
    if (!choices.is_array() || choices.size() != 1) return malformed("it doesn't hold exactly one choice");
    const Json& text = part_of(choices[0], "text");
    if (!text.is_string()) return malformed("its choice has no text");
    Answer answer;
    answer.request_id = header_text(outcome, "x-request-id");
    take_head(json, answer);
    answer.completion.text = text.get<std::string>();
    RETORT_ASSIGN(answer.completion.finish_reason, finish_of(text_or_empty(choices[0], "finish_reason")));
    Json logprobs = Json::array();
    append_logprobs(choices[0], logprobs);
    if (!logprobs.empty()) answer.completion.logprobs = canonical_json(logprobs);
    return answer;
  }

  static Result<Answer> from_stream(const net::HttpOutcome& outcome) {
    Answer answer;
    answer.request_id = header_text(outcome, "x-request-id");
    std::string finish;
    bool done = false;
    Json logprobs = Json::array();
    RETORT_TRY(for_each_event(outcome, [&](const std::string&, const Json& data) -> Result<void> {
      if (data.is_null()) {
        done = true;
        return {};
      }
      take_head(data, answer);
      const Json& choices = part_of(data, "choices");
      if (!choices.is_array() || choices.empty()) return {};
      answer.completion.text += text_or_empty(choices[0], "text");
      append_logprobs(choices[0], logprobs);
      const std::string reason = text_or_empty(choices[0], "finish_reason");
      if (!reason.empty()) finish = reason;
      return {};
    }));
    if (!done) return malformed("the stream ended before its end");
    RETORT_ASSIGN(answer.completion.finish_reason, finish_of(finish));
    if (!logprobs.empty()) answer.completion.logprobs = canonical_json(logprobs);
    return answer;
  }
};

}  // namespace

const Dialect& openai_completions() {
  static const OpenAiCompletions dialect;
  return dialect;
}

}  // namespace retort::provider
