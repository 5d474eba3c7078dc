// What evaluation keeps for the report beside the scorecard: evaluate/details.json.
//
// Plain values and pure functions; any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "evaluate/compare.h"
#include "evaluate/health.h"
#include "exchange/engine.h"
#include "exchange/exchange.h"
#include "pipeline/run_facts.h"
#include "tokens/tokenizer.h"

namespace retort::pipeline {

struct EvaluationDetails {
  std::string reference;  // which file the teacher was, in words
  std::optional<Estimate> share_of_kl_closed;
  std::optional<evaluate::Health> health;  // absent in details of older versions
  std::vector<ComparedExchange> compared;
  std::vector<AnswerFacts> answers;
};

// The ids of an exchange up to where its (last) answer begins.
std::vector<TokenId> answer_prompt(const Exchange& exchange);
std::string last_user_text(const Exchange& exchange);
// The answer as text, without its end token.
std::string answer_text(const TokenCompletion& completion, const tokens::Tokenizer& tokenizer);
ComparedExchange compared_exchange(const Exchange& exchange, const Digest& id,
                                   std::span<const evaluate::TokenComparison> tokens,
                                   const tokens::Tokenizer& tokenizer);

Json to_json(const EvaluationDetails& details);
Result<EvaluationDetails> details_from_json(const Json& json, const std::string& what);

}  // namespace retort::pipeline
