#include "tokens/rendered_exchange.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "tokens/answer_tokens.h"

namespace retort::tokens {
namespace {

bool calls_tools(const Exchange& exchange) {
  const auto& messages = exchange.prompt.messages;
  return !exchange.prompt.tools.empty() || !exchange.completion.tool_calls.empty() ||
         std::any_of(messages.begin(), messages.end(), [](const Message& m) { return !m.tool_calls.empty(); });
}

// Whether the answer is known not to have been ended by the teacher.
bool was_cut(FinishReason reason) { return reason == FinishReason::kLength || reason == FinishReason::kFiltered; }

void cut_to(TokenizedConversation& tokens, std::size_t length) {
  if (tokens.ids.size() <= length) return;
  tokens.ids.resize(length);
  std::erase_if(tokens.spans, [&](const TokenSpan& span) { return span.begin >= length; });
  for (TokenSpan& span : tokens.spans) span.end = std::min(span.end, static_cast<std::uint32_t>(length));
}

// In place of the ids that the text has: those that were drawn. The rendered end of turn stays where the service tells
// of none.
void put_answer(TokenizedConversation& tokens, const std::vector<AnswerToken>& drawn,
                const std::vector<TokenId>& ends) {
  TokenSpan& answer = tokens.spans.back();
  const auto is_end = [&](TokenId id) { return std::ranges::find(ends, id) != ends.end(); };
  std::vector<TokenId> ids;
  for (const AnswerToken& token : drawn) ids.push_back(token.id);
  const TokenId last = answer.end > answer.begin ? tokens.ids[answer.end - 1] : -1;
  if (is_end(last) && !is_end(ids.back())) ids.push_back(last);
  const auto begin = tokens.ids.begin() + answer.begin;
  const auto at = tokens.ids.erase(begin, tokens.ids.begin() + answer.end);
  tokens.ids.insert(at, ids.begin(), ids.end());
  answer.end = answer.begin + static_cast<std::uint32_t>(ids.size());
  answer.sampled = true;
}

}  // namespace

Result<Exchange> with_rendered_tokens(Exchange exchange, const ChatFormat& format, std::size_t context_tokens) {
  if (!exchange.tokens.ids.empty()) return exchange;
  const auto where = [&] { return "The exchange " + exchange_id(exchange).short_hex(); };
  if (calls_tools(exchange)) {
    return caller_error(where() +
                        " holds tools or calls of them, and chat templates aren't given tools yet, so a student can't "
                        "learn from it. Leave such prompts out.");
  }
  std::vector<Message> messages = exchange.prompt.messages;
  messages.push_back({Role::kAssistant, exchange.completion.text});
  auto rendered = format.render(messages, false);
  if (!rendered) return with_context(rendered.error(), where());
  TokenizedConversation& tokens = *rendered;
  if (was_cut(exchange.completion.finish_reason) && !tokens.spans.empty()) {
    TokenSpan& answer = tokens.spans.back();
    const std::vector<TokenId>& ends = format.end_ids();
    while (answer.end > answer.begin && std::ranges::find(ends, tokens.ids[answer.end - 1]) != ends.end()) --answer.end;
    cut_to(tokens, answer.end);
  }
  if (const auto drawn = answer_tokens(exchange.completion, format.tokenizer()); drawn && !tokens.spans.empty()) {
    put_answer(tokens, *drawn, format.end_ids());
  }
  cut_to(tokens, context_tokens);
  exchange.tokens = std::move(tokens);
  return exchange;
}

}  // namespace retort::tokens
