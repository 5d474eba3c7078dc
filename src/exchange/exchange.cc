#include "exchange/exchange.h"

#include <array>
#include <span>
#include <utility>

#include "base/json.h"

namespace retort {

namespace {

constexpr int kFormatVersion = 1;
constexpr std::string_view kWhat = "The exchange";

template <class Enum>
struct Named {
  Enum value;
  std::string_view name;
};

constexpr std::array<Named<Role>, 4> kRoles = {
    {{Role::kSystem, "system"}, {Role::kUser, "user"}, {Role::kAssistant, "assistant"}, {Role::kTool, "tool"}}};
constexpr std::array<Named<FinishReason>, 5> kFinishReasons = {{{FinishReason::kEnd, "end"},
                                                                {FinishReason::kLength, "length"},
                                                                {FinishReason::kToolCalls, "tool_calls"},
                                                                {FinishReason::kFiltered, "filtered"},
                                                                {FinishReason::kUnknown, "unknown"}}};
constexpr std::array<Named<SpanKind>, 5> kSpanKinds = {{{SpanKind::kScaffold, "scaffold"},
                                                        {SpanKind::kSystem, "system"},
                                                        {SpanKind::kUser, "user"},
                                                        {SpanKind::kAssistant, "assistant"},
                                                        {SpanKind::kTool, "tool"}}};
constexpr std::array<Named<GeneratedBy>, 3> kGeneratedBy = {
    {{GeneratedBy::kTeacher, "teacher"}, {GeneratedBy::kFile, "file"}, {GeneratedBy::kStudent, "student"}}};

template <class Enum, std::size_t N>
std::string_view find_name(const std::array<Named<Enum>, N>& table, Enum value) {
  for (const auto& entry : table) {
    if (entry.value == value) return entry.name;
  }
  RETORT_CHECK(!"a value outside its enumeration");
  return {};
}

template <class Enum, std::size_t N>
Result<Enum> find_value(const std::array<Named<Enum>, N>& table, std::string_view name, std::string_view what) {
  std::string known;
  for (const auto& entry : table) {
    if (entry.name == name) return entry.value;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  return caller_error("'" + std::string(name) + "' is no " + std::string(what) + "; expected one of: " + known + ".");
}

Json to_json(const TokenizedConversation& tokens) {
  Json spans = Json::array();
  for (const TokenSpan& span : tokens.spans) {
    spans.push_back(Json::array({span.begin, span.end, std::string(name_of(span.kind)), span.sampled}));
  }
  return {{"ids", tokens.ids}, {"spans", std::move(spans)}, {"tokenizer", tokens.tokenizer_fingerprint.hex()}};
}

// Members that are only written when there is something, so that exchanges without them keep their ids.
struct TextMember {
  const char* key;
  std::string Message::*of_message;
  std::string Completion::*of_completion;
};
constexpr std::array<TextMember, 3> kMessageTexts = {{{"tool_calls", &Message::tool_calls, nullptr},
                                                      {"tool_call_id", &Message::tool_call_id, nullptr},
                                                      {"name", &Message::name, nullptr}}};
constexpr std::array<TextMember, 3> kCompletionTexts = {{{"reasoning", nullptr, &Completion::reasoning},
                                                         {"tool_calls", nullptr, &Completion::tool_calls},
                                                         {"logprobs", nullptr, &Completion::logprobs}}};

Json to_json(const Completion& completion) {
  Json json = {{"text", completion.text}, {"finish_reason", std::string(name_of(completion.finish_reason))}};
  for (const TextMember& text : kCompletionTexts) {
    if (!(completion.*text.of_completion).empty()) json[text.key] = completion.*text.of_completion;
  }
  return json;
}

Json to_json(const ServedBy& served) {
  return {{"api", served.api},
          {"endpoint", served.endpoint},
          {"model", served.model},
          {"answered_as", served.answered_as},
          {"request_id", served.request_id},
          {"input_tokens", served.input_tokens},
          {"output_tokens", served.output_tokens},
          {"reasoning_tokens", served.reasoning_tokens}};
}

Json to_json(const Provenance& provenance) {
  Json json = {{"generated_by", std::string(name_of(provenance.generated_by))},
               {"prompt_source", provenance.prompt_source},
               {"code_version", provenance.code_version},
               {"created_at", provenance.created_at},
               {"terms", provenance.terms}};
  if (provenance.model) {
    json["model"] = {{"name", provenance.model->name},
                     {"file", provenance.model->file_digest.hex()},
                     {"template", provenance.model->template_digest.hex()},
                     {"run_as", provenance.model->run_as}};
  }
  if (provenance.served) json["served"] = to_json(*provenance.served);
  if (provenance.sampling) json["sampling"] = retort::to_json(*provenance.sampling);
  Json derived = Json::array();
  for (const Digest& digest : provenance.derived_from) derived.push_back(digest.hex());
  json["derived_from"] = std::move(derived);
  return json;
}

Json messages_to_json(const std::vector<Message>& messages) {
  Json list = Json::array();
  for (const Message& message : messages) list.push_back(retort::to_json(message));
  return list;
}

Result<Digest> digest_member(const Json& object, std::string_view key) {
  RETORT_ASSIGN(const std::string text, member<std::string>(object, key, kWhat));
  return Digest::from_hex(text);
}

Result<TokenizedConversation> tokens_from_json(const Json& json) {
  TokenizedConversation tokens;
  RETORT_ASSIGN(tokens.ids, member<std::vector<TokenId>>(json, "ids", kWhat));
  RETORT_ASSIGN(tokens.tokenizer_fingerprint, digest_member(json, "tokenizer"));
  RETORT_ASSIGN(const Json spans, member<Json>(json, "spans", kWhat));
  std::uint32_t last_end = 0;
  for (const Json& entry : spans) {
    if (!entry.is_array() || entry.size() != 4)
      return caller_error("The exchange: a span is not [begin, end, kind, sampled].");
    TokenSpan span;
    span.begin = entry[0].get<std::uint32_t>();
    span.end = entry[1].get<std::uint32_t>();
    RETORT_ASSIGN(span.kind, span_kind_from_name(entry[2].get<std::string>()));
    span.sampled = entry[3].get<bool>();
    if (span.begin < last_end || span.end < span.begin || span.end > tokens.ids.size()) {
      return caller_error("The exchange: its spans overlap or reach beyond its tokens.");
    }
    last_end = span.end;
    tokens.spans.push_back(span);
  }
  return tokens;
}

Result<Provenance> provenance_from_json(const Json& json) {
  Provenance provenance;
  RETORT_ASSIGN(const std::string by, member<std::string>(json, "generated_by", kWhat));
  RETORT_ASSIGN(provenance.generated_by, generated_by_from_name(by));
  RETORT_ASSIGN(provenance.prompt_source, member<std::string>(json, "prompt_source", kWhat));
  RETORT_ASSIGN(provenance.code_version, member<std::string>(json, "code_version", kWhat));
  RETORT_ASSIGN(provenance.created_at, member<std::string>(json, "created_at", kWhat));
  RETORT_ASSIGN(provenance.terms, member<std::string>(json, "terms", kWhat));
  if (json.contains("model")) {
    const Json& model = json["model"];
    ModelIdentity identity;
    RETORT_ASSIGN(identity.name, member<std::string>(model, "name", kWhat));
    RETORT_ASSIGN(identity.file_digest, digest_member(model, "file"));
    RETORT_ASSIGN(identity.template_digest, digest_member(model, "template"));
    RETORT_ASSIGN(identity.run_as, member<std::string>(model, "run_as", kWhat));
    provenance.model = std::move(identity);
  }
  if (json.contains("served")) {
    const Json& from = json["served"];
    ServedBy served;
    RETORT_ASSIGN(served.api, member<std::string>(from, "api", kWhat));
    RETORT_ASSIGN(served.endpoint, member<std::string>(from, "endpoint", kWhat));
    RETORT_ASSIGN(served.model, member<std::string>(from, "model", kWhat));
    RETORT_ASSIGN(served.answered_as, member<std::string>(from, "answered_as", kWhat));
    RETORT_ASSIGN(served.request_id, member<std::string>(from, "request_id", kWhat));
    RETORT_ASSIGN(served.input_tokens, member<std::int64_t>(from, "input_tokens", kWhat));
    RETORT_ASSIGN(served.output_tokens, member<std::int64_t>(from, "output_tokens", kWhat));
    RETORT_ASSIGN(served.reasoning_tokens, member<std::int64_t>(from, "reasoning_tokens", kWhat));
    provenance.served = std::move(served);
  }
  if (json.contains("sampling")) {
    const Json& sampling = json["sampling"];
    SamplingOptions options;
    RETORT_ASSIGN(options.temperature, member<double>(sampling, "temperature", kWhat));
    RETORT_ASSIGN(options.top_p, member<double>(sampling, "top_p", kWhat));
    RETORT_ASSIGN(options.top_k, member<std::int32_t>(sampling, "top_k", kWhat));
    RETORT_ASSIGN(options.min_p, member<double>(sampling, "min_p", kWhat));
    RETORT_ASSIGN(options.max_tokens, member<std::int32_t>(sampling, "max_tokens", kWhat));
    RETORT_ASSIGN(options.seed, member<std::uint64_t>(sampling, "seed", kWhat));
    provenance.sampling = options;
  }
  RETORT_ASSIGN(const auto derived, member<std::vector<std::string>>(json, "derived_from", kWhat));
  for (const std::string& text : derived) {
    RETORT_ASSIGN(const Digest digest, Digest::from_hex(text));
    provenance.derived_from.push_back(digest);
  }
  return provenance;
}

Result<Exchange> exchange_from_json(const Json& json) {
  RETORT_ASSIGN(const int version, member<int>(json, "version", kWhat));
  if (version != kFormatVersion) {
    return caller_error("The exchange is of format version " + std::to_string(version) +
                        "; this program reads version " + std::to_string(kFormatVersion) +
                        ". Use the program that wrote it, or a newer one.");
  }
  Exchange exchange;
  RETORT_ASSIGN(const Json messages, member<Json>(json, "prompt", kWhat));
  for (const Json& entry : messages) {
    RETORT_ASSIGN(const std::string role, member<std::string>(entry, "role", kWhat));
    Message message;
    RETORT_ASSIGN(message.role, role_from_name(role));
    RETORT_ASSIGN(message.content, member<std::string>(entry, "content", kWhat));
    for (const TextMember& text : kMessageTexts) {
      if (entry.contains(text.key)) {
        RETORT_ASSIGN(message.*text.of_message, member<std::string>(entry, text.key, kWhat));
      }
    }
    exchange.prompt.messages.push_back(std::move(message));
  }
  RETORT_ASSIGN(const Json completion, member<Json>(json, "completion", kWhat));
  RETORT_ASSIGN(exchange.completion.text, member<std::string>(completion, "text", kWhat));
  RETORT_ASSIGN(const std::string finish, member<std::string>(completion, "finish_reason", kWhat));
  RETORT_ASSIGN(exchange.completion.finish_reason, finish_reason_from_name(finish));
  for (const TextMember& text : kCompletionTexts) {
    if (completion.contains(text.key)) {
      RETORT_ASSIGN(exchange.completion.*text.of_completion, member<std::string>(completion, text.key, kWhat));
    }
  }
  if (json.contains("tools")) {
    RETORT_ASSIGN(exchange.prompt.tools, member<std::string>(json, "tools", kWhat));
  }
  RETORT_ASSIGN(const Json tokens, member<Json>(json, "tokens", kWhat));
  RETORT_ASSIGN(exchange.tokens, tokens_from_json(tokens));
  RETORT_ASSIGN(const Json provenance, member<Json>(json, "provenance", kWhat));
  RETORT_ASSIGN(exchange.provenance, provenance_from_json(provenance));
  return exchange;
}

}  // namespace

std::string_view name_of(Role role) { return find_name(kRoles, role); }
Result<Role> role_from_name(std::string_view name) { return find_value(kRoles, name, "role"); }
std::string_view name_of(FinishReason reason) { return find_name(kFinishReasons, reason); }
Result<FinishReason> finish_reason_from_name(std::string_view name) {
  return find_value(kFinishReasons, name, "finish reason");
}
std::string_view name_of(SpanKind kind) { return find_name(kSpanKinds, kind); }
Result<SpanKind> span_kind_from_name(std::string_view name) { return find_value(kSpanKinds, name, "kind of span"); }
std::string_view name_of(GeneratedBy by) { return find_name(kGeneratedBy, by); }
Result<GeneratedBy> generated_by_from_name(std::string_view name) {
  return find_value(kGeneratedBy, name, "origin of an answer");
}

Json to_json(const Message& message) {
  Json json = {{"role", std::string(name_of(message.role))}, {"content", message.content}};
  for (const TextMember& text : kMessageTexts) {
    if (!(message.*text.of_message).empty()) json[text.key] = message.*text.of_message;
  }
  return json;
}

Json to_json(const SamplingOptions& options) {
  return {{"temperature", options.temperature},
          {"top_p", options.top_p},
          {"top_k", options.top_k},
          {"min_p", options.min_p},
          {"max_tokens", options.max_tokens},
          {"seed", options.seed}};
}

Digest prompt_digest(const Prompt& prompt) {
  const Json messages = messages_to_json(prompt.messages);
  if (prompt.tools.empty()) return sha256(canonical_json(messages));
  return sha256(canonical_json({{"messages", messages}, {"tools", prompt.tools}}));
}

std::string to_canonical_bytes(const Exchange& exchange) {
  Json json = {{"version", kFormatVersion},
               {"prompt", messages_to_json(exchange.prompt.messages)},
               {"completion", to_json(exchange.completion)},
               {"tokens", to_json(exchange.tokens)},
               {"provenance", to_json(exchange.provenance)}};
  if (!exchange.prompt.tools.empty()) json["tools"] = exchange.prompt.tools;
  return canonical_json(json);
}

Digest exchange_id(const Exchange& exchange) { return sha256(to_canonical_bytes(exchange)); }

Result<Exchange> from_canonical_bytes(std::string_view bytes) {
  RETORT_ASSIGN(const Json json, parse_json(bytes, kWhat));
  Result<Exchange> exchange = caller_error("");
  try {
    exchange = exchange_from_json(json);
  } catch (const nlohmann::json::exception&) {
    return caller_error("The exchange has a member of the wrong type.");
  }
  if (exchange && to_canonical_bytes(*exchange) != bytes) {
    return caller_error("The exchange is not in canonical form: its bytes are not those this program would write.");
  }
  return exchange;
}

}  // namespace retort
