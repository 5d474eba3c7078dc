#include "pipeline/evaluation_details.h"

#include <algorithm>

#include "pipeline/health_json.h"

namespace retort::pipeline {
namespace {

Json to_json(const ComparedToken& token) {
  return {{"text", token.text},
          {"kl_nats", token.kl_nats},
          {"agreed", token.agreed},
          {"teacher_top", token.teacher_top},
          {"student_top", token.student_top},
          {"teacher_top_probability", token.teacher_top_probability},
          {"student_top_probability", token.student_top_probability}};
}

Result<ComparedToken> token_from_json(const Json& json, const std::string& what) {
  ComparedToken token;
  RETORT_ASSIGN(token.text, member<std::string>(json, "text", what));
  RETORT_ASSIGN(token.kl_nats, member<double>(json, "kl_nats", what));
  RETORT_ASSIGN(token.agreed, member<bool>(json, "agreed", what));
  RETORT_ASSIGN(token.teacher_top, member<std::string>(json, "teacher_top", what));
  RETORT_ASSIGN(token.student_top, member<std::string>(json, "student_top", what));
  RETORT_ASSIGN(token.teacher_top_probability, member<double>(json, "teacher_top_probability", what));
  RETORT_ASSIGN(token.student_top_probability, member<double>(json, "student_top_probability", what));
  return token;
}

}  // namespace

std::vector<TokenId> answer_prompt(const Exchange& exchange) {
  std::size_t begin = exchange.tokens.ids.size();
  for (const TokenSpan& span : exchange.tokens.spans) {
    if (span.kind == SpanKind::kAssistant) begin = span.begin;
  }
  return {exchange.tokens.ids.begin(), exchange.tokens.ids.begin() + static_cast<std::ptrdiff_t>(begin)};
}

std::string last_user_text(const Exchange& exchange) {
  const auto& messages = exchange.prompt.messages;
  const auto found =
      std::find_if(messages.rbegin(), messages.rend(), [](const Message& m) { return m.role == Role::kUser; });
  return found == messages.rend() ? std::string() : found->content;
}

std::string answer_text(const TokenCompletion& completion, const tokens::Tokenizer& tokenizer) {
  std::span<const TokenId> ids = completion.ids;
  if (completion.finish_reason == FinishReason::kEnd && !ids.empty()) ids = ids.first(ids.size() - 1);
  return tokenizer.decode(ids);
}

ComparedExchange compared_exchange(const Exchange& exchange, const Digest& id,
                                   std::span<const evaluate::TokenComparison> tokens,
                                   const tokens::Tokenizer& tokenizer) {
  ComparedExchange compared;
  compared.exchange_id = id.hex();
  compared.prompt = last_user_text(exchange);
  for (const evaluate::TokenComparison& token : tokens) {
    compared.tokens.push_back({tokenizer.piece(token.id, true), token.kl_nats, token.teacher_top == token.model_top,
                               tokenizer.piece(token.teacher_top, true), tokenizer.piece(token.model_top, true),
                               token.teacher_top_probability, token.model_top_probability});
  }
  return compared;
}

Json to_json(const EvaluationDetails& details) {
  Json compared = Json::array();
  for (const ComparedExchange& exchange : details.compared) {
    Json tokens = Json::array();
    for (const ComparedToken& token : exchange.tokens) tokens.push_back(to_json(token));
    compared.push_back({{"exchange", exchange.exchange_id}, {"prompt", exchange.prompt}, {"tokens", tokens}});
  }
  Json answers = Json::array();
  for (const AnswerFacts& answer : details.answers) {
    answers.push_back({{"prompt", answer.prompt},
                       {"teacher", answer.teacher},
                       {"before", answer.before},
                       {"student", answer.student}});
  }
  return {{"format", "retort-evaluation"},
          {"version", 1},
          {"reference", details.reference},
          {"share_of_kl_closed", details.share_of_kl_closed ? to_json(*details.share_of_kl_closed) : Json()},
          {"health", details.health ? to_json(*details.health) : Json()},
          {"compared", compared},
          {"answers", answers}};
}

Result<EvaluationDetails> details_from_json(const Json& json, const std::string& what) {
  EvaluationDetails details;
  RETORT_ASSIGN(details.reference, member<std::string>(json, "reference", what));
  RETORT_ASSIGN(const Json share, member<Json>(json, "share_of_kl_closed", what));
  if (!share.is_null()) {
    RETORT_ASSIGN(details.share_of_kl_closed, estimate_from_json(share, what));
  }
  if (const auto found = json.find("health"); found != json.end() && !found->is_null()) {
    RETORT_ASSIGN(details.health, health_from_json(*found, what));
  }
  RETORT_ASSIGN(const Json compared, member<Json>(json, "compared", what));
  for (const Json& entry : compared) {
    ComparedExchange exchange;
    RETORT_ASSIGN(exchange.exchange_id, member<std::string>(entry, "exchange", what));
    RETORT_ASSIGN(exchange.prompt, member<std::string>(entry, "prompt", what));
    RETORT_ASSIGN(const Json tokens, member<Json>(entry, "tokens", what));
    for (const Json& token_json : tokens) {
      RETORT_ASSIGN(ComparedToken token, token_from_json(token_json, what));
      exchange.tokens.push_back(std::move(token));
    }
    details.compared.push_back(std::move(exchange));
  }
  RETORT_ASSIGN(const Json answers, member<Json>(json, "answers", what));
  for (const Json& entry : answers) {
    AnswerFacts answer;
    RETORT_ASSIGN(answer.prompt, member<std::string>(entry, "prompt", what));
    RETORT_ASSIGN(answer.teacher, member<std::string>(entry, "teacher", what));
    RETORT_ASSIGN(answer.before, member<std::string>(entry, "before", what));
    RETORT_ASSIGN(answer.student, member<std::string>(entry, "student", what));
    details.answers.push_back(std::move(answer));
  }
  return details;
}

}  // namespace retort::pipeline
