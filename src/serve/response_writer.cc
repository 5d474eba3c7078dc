#include "serve/response_writer.h"

#include <array>
#include <cstdio>

#include "base/json.h"
#include "base/text.h"
#include "base/version.h"

namespace retort::serve {
namespace {

Json byte_list(const std::string& bytes) {
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return list;
}

Json chat_token(const std::string& bytes, const std::optional<double>& logprob) {
  return {
      {"token", token_text(bytes)}, {"logprob", logprob ? Json(*logprob) : Json(nullptr)}, {"bytes", byte_list(bytes)}};
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

}  // namespace

std::string token_text(const std::string& bytes) {
  if (is_valid_utf8(bytes)) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) {
    std::array<char, 8> escaped{};
    std::snprintf(escaped.data(), escaped.size(), "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    text += escaped.data();
  }
  return text;
}

ResponseWriter::ResponseWriter(const GenerationRequest& request, std::string id, std::int64_t created_s)
    : endpoint_(request.endpoint),
      model_(request.model),
      id_((request.endpoint == Endpoint::kChat ? "chatcmpl-" : "cmpl-") + std::move(id)),
      created_s_(created_s),
      wants_logprobs_(request.top_logprobs.has_value()),
      wants_ids_(request.return_token_ids),
      wants_usage_(request.include_usage) {}

Json ResponseWriter::envelope(bool streamed) const {
  const bool chat = endpoint_ == Endpoint::kChat;
  Json made = {{"id", id_},
               {"object", chat ? (streamed ? "chat.completion.chunk" : "chat.completion") : "text_completion"},
               {"created", created_s_},
               {"model", model_},
               {"system_fingerprint", "retort-" + std::string(kVersion)},
               {"choices", Json::array()}};
  if (streamed && wants_usage_) made["usage"] = nullptr;
  return made;
}

Json ResponseWriter::logprobs(const ChoicePart& part) const {
  if (!wants_logprobs_) return nullptr;
  if (endpoint_ == Endpoint::kChat) {
    Json content = Json::array();
    for (const ShownToken& token : part.tokens) {
      Json entry = chat_token(token.bytes, token.logprob);
      entry["top_logprobs"] = Json::array();
      for (const auto& [bytes, logprob] : token.top) entry["top_logprobs"].push_back(chat_token(bytes, logprob));
      content.push_back(std::move(entry));
    }
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }
  Json tokens = Json::array();
  Json values = Json::array();
  Json tops = Json::array();
  Json offsets = Json::array();
  for (const ShownToken& token : part.tokens) {
    tokens.push_back(token_text(token.bytes));
    values.push_back(token.logprob ? Json(*token.logprob) : Json(nullptr));
    offsets.push_back(token.text_offset);
    Json top = token.logprob ? Json::object() : Json(nullptr);
    // Of two tokens with one text the likelier is kept.
    for (const auto& [bytes, logprob] : token.top) top.emplace(token_text(bytes), logprob);
    tops.push_back(std::move(top));
  }
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(values)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

Json ResponseWriter::choice(const ChoicePart& part, bool streamed) const {
  Json made = {{"index", part.index},
               {"logprobs", logprobs(part)},
               {"finish_reason", part.finish_reason ? Json(*part.finish_reason) : Json(nullptr)}};
  if (endpoint_ == Endpoint::kCompletions) {
    made["text"] = part.text;
  } else if (streamed) {
    Json delta = Json::object();
    if (part.first) delta["role"] = "assistant";
    if (part.first || !part.text.empty()) delta["content"] = part.text;
    made["delta"] = std::move(delta);
  } else {
    made["message"] = {{"role", "assistant"}, {"content", part.text}, {"refusal", nullptr}};
  }
  if (wants_ids_) {
    made["token_ids"] = part.ids;
    if (part.prompt_ids) made["prompt_token_ids"] = *part.prompt_ids;
  }
  return made;
}

Json ResponseWriter::whole(const std::vector<ChoicePart>& choices, const Usage& usage) const {
  Json made = envelope(false);
  for (const ChoicePart& part : choices) made["choices"].push_back(choice(part, false));
  made["usage"] = usage_json(usage);
  return made;
}

Json ResponseWriter::chunk(const ChoicePart& part) const {
  Json made = envelope(true);
  made["choices"].push_back(choice(part, true));
  return made;
}

Json ResponseWriter::usage_chunk(const Usage& usage) const {
  Json made = envelope(true);
  made["usage"] = usage_json(usage);
  return made;
}

}  // namespace retort::serve
