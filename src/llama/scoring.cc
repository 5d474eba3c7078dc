// Engine::score: a whole sequence goes through the model in pieces, and every piece's logits are shown to the visitor.
#include <algorithm>
#include <string>

#include "base/text.h"
#include "llama/engine.h"
#include "llama/engine_state.h"

namespace retort::llama {

Result<void> Engine::score(std::span<const TokenId> ids, std::size_t first_row,
                           const std::function<Result<void>(const LogitRows&)>& visit) {
  Session& session = state_->session;
  if (ids.size() > session.context_tokens()) {
    return caller_error("The text to score is " + human_count(static_cast<std::int64_t>(ids.size())) +
                        " tokens long, but the context holds " +
                        human_count(static_cast<std::int64_t>(session.context_tokens())) +
                        "; score a shorter text or ask for a longer context.");
  }
  for (const TokenId id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= session.vocabulary()) {
      return caller_error("The text to score holds the token id " + std::to_string(id) +
                          ", but the model's vocabulary has " + std::to_string(session.vocabulary()) +
                          " tokens; was it made with another tokenizer?");
    }
  }
  if (first_row >= ids.size()) return {};
  state_->sequences.forget();

  std::size_t begin = 0;
  while (begin < ids.size()) {
    const bool visible = begin >= first_row;
    const std::size_t most = visible ? std::min(session.max_outputs(), session.batch_tokens()) : session.batch_tokens();
    const std::size_t end = std::min(visible ? ids.size() : first_row, begin + most);
    state_->batch.clear();
    for (std::size_t i = begin; i < end; ++i) state_->batch.add(ids[i], i, 0, visible);
    RETORT_TRY(session.decode(state_->batch, {}));
    if (visible) {
      // Rows were asked for in order, so they lie one after the other.
      const LogitRows rows{begin, end - begin, session.vocabulary(), session.logits(0).data()};
      RETORT_TRY(visit(rows));
    }
    begin = end;
  }
  state_->sequences.forget();
  return {};
}

}  // namespace retort::llama
