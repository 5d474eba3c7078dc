// Exchanges made up for the tests of this module: token ids stand for themselves, spans are right by construction.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "exchange/exchange.h"

namespace retort::dataset {

struct MadeExchange {
  std::string question = "What is a retort?";
  std::string answer = "A vessel of a distillery.";
  std::vector<TokenId> question_ids = {20, 21, 22};
  std::vector<TokenId> answer_ids = {30, 31, 32, 33};
  bool self_generated = true;
  FinishReason finish = FinishReason::kEnd;
};

// <1 system 2> <1 QUESTION 2> newline 3, <1 ANSWER (2 unless cut)> newline 3. The 2s inside spans are the turns' ends.
inline Exchange make_exchange(const MadeExchange& from) {
  Exchange made;
  made.prompt.messages = {{Role::kSystem, "Be brief."}, {Role::kUser, from.question}};
  made.completion = {from.answer, from.finish};
  auto& ids = made.tokens.ids;
  const auto add_span = [&](const std::vector<TokenId>& content, SpanKind kind, bool sampled, bool ends) {
    ids.push_back(1);
    const auto begin = static_cast<std::uint32_t>(ids.size());
    ids.insert(ids.end(), content.begin(), content.end());
    if (ends) ids.push_back(2);
    made.tokens.spans.push_back({begin, static_cast<std::uint32_t>(ids.size()), kind, sampled});
    if (ends) ids.push_back(3);
  };
  add_span({10}, SpanKind::kSystem, false, true);
  add_span(from.question_ids, SpanKind::kUser, from.self_generated, true);
  add_span(from.answer_ids, SpanKind::kAssistant, true, from.finish == FinishReason::kEnd);
  made.provenance.sampling = SamplingOptions{};
  return made;
}

}  // namespace retort::dataset
