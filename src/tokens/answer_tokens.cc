#include "tokens/answer_tokens.h"

#include <string>
#include <string_view>

#include "base/utf8.h"
#include "exchange/told_tokens.h"

namespace retort::tokens {
namespace {

std::optional<TokenId> end_id(const std::string& bytes, const Tokenizer& tokenizer) {
  const std::optional<TokenId> id = tokenizer.special_id(bytes);
  return id && tokenizer.is_end(*id) ? id : std::nullopt;
}

// Without what is no UTF-8: services write that as U+FFFD, each in its own way, or leave it off at the end.
std::string readable(const std::string& bytes) {
  std::string text = repaired_utf8(bytes);
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  for (std::size_t at = 0; (at = text.find(kReplacement, at)) != std::string::npos;)
    text.erase(at, kReplacement.size());
  return text;
}

}  // namespace

std::optional<std::vector<AnswerToken>> answer_tokens(const Completion& completion, const Tokenizer& tokenizer) {
  const auto told = told_tokens(completion);
  if (!told || told->empty()) return std::nullopt;
  std::vector<AnswerToken> tokens;
  std::string text;
  for (const ToldToken& each : *told) {
    const bool last = &each == &told->back();
    std::optional<TokenId> id = tokenizer.id_with_bytes(each.bytes);
    if (id) {
      text += each.bytes;
    } else if (last) {
      id = end_id(each.bytes, tokenizer);
    }
    if (!id) return std::nullopt;
    AnswerToken token{*id, each.logprob};
    for (const auto& [bytes, logprob] : each.likeliest) {
      std::optional<TokenId> other = tokenizer.id_with_bytes(bytes);
      if (!other) other = end_id(bytes, tokenizer);
      if (other) token.likeliest.emplace_back(*other, logprob);
    }
    tokens.push_back(std::move(token));
  }
  if (text != completion.text && readable(text) != readable(completion.text)) return std::nullopt;
  return tokens;
}

}  // namespace retort::tokens
