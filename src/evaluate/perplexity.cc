#include "evaluate/perplexity.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "evaluate/parallel.h"
#include "evaluate/softmax.h"

namespace retort::evaluate {

namespace {

Result<void> check_inputs(Scorer& model, std::span<const TokenId> text, const TextOptions& options) {
  const std::size_t begin = options.begin ? 1 : 0;
  if (options.window + begin > model.context_tokens() || options.window < 2) {
    return caller_error("The window of the text is " + std::to_string(options.window) +
                        " tokens; expected 2 to the model's context of " + std::to_string(model.context_tokens()) +
                        (begin != 0 ? ", less one for the token at the beginning." : "."));
  }
  if (options.stride < 1 || options.stride >= options.window + begin) {
    return caller_error("The stride of the text is " + std::to_string(options.stride) +
                        " tokens; expected at least 1 and less than the window of " + std::to_string(options.window) +
                        ".");
  }
  if (text.size() + begin < 2) {
    return caller_error("The text has " + std::to_string(text.size()) +
                        " tokens: at least two are needed, so that one can be predicted from the other.");
  }
  for (std::size_t t = 0; t < text.size(); ++t) {
    if (text[t] >= 0 && static_cast<std::size_t>(text[t]) < model.vocabulary()) continue;
    return caller_error("The text's token " + std::to_string(t) + " has the id " + std::to_string(text[t]) +
                        ", outside the model's vocabulary of " + std::to_string(model.vocabulary()) + ".");
  }
  return {};
}

}  // namespace

Result<TextScore> score_text(Scorer& model, std::span<const TokenId> text, const TextOptions& options,
                             const BootstrapOptions& bootstrap, std::stop_token stop) {
  RETORT_TRY(check_inputs(model, text, options));
  std::vector<double> window_sums;
  std::vector<double> window_tokens;
  TextScore score;
  const std::size_t begin = options.begin ? 1 : 0;
  std::size_t scored_to = begin == 0 ? 1 : 0;  // text[0] has nothing before it
  for (std::size_t start = 0; scored_to < text.size(); start += options.stride) {
    if (stop.stop_requested()) return interrupted("Stopped while scoring the text.");
    const std::size_t end = std::min(start + options.window, text.size());
    if (end <= scored_to) continue;
    std::vector<TokenId> ids;
    if (options.begin) ids.push_back(*options.begin);
    ids.insert(ids.end(), text.begin() + static_cast<std::ptrdiff_t>(start),
               text.begin() + static_cast<std::ptrdiff_t>(end));
    // Token text[t] stands at ids[t - start + begin]; the row before it predicts it. The last token predicts nothing.
    const std::size_t first_row = scored_to - start + begin - 1;
    const std::size_t count = end - scored_to;
    std::vector<double> negative_log(count);
    std::vector<std::uint8_t> finite(count, 1);
    std::size_t taken = 0;
    RETORT_TRY(model.score(std::span(ids).first(ids.size() - 1), first_row, [&](const LogitRows& rows) -> Result<void> {
      for_each_row(rows.rows, options.threads, [&](std::size_t r) {
        const RowSummary summary = summarise_row(rows.row(r));
        const std::size_t i = rows.first_position + r - first_row;
        finite[i] = summary.finite ? 1 : 0;
        if (summary.finite) {
          negative_log[i] = -log_probability(rows.row(r), summary, static_cast<std::size_t>(text[scored_to + i]));
        }
      });
      taken += rows.rows;
      return {};
    }));
    RETORT_CHECK(taken == count);
    if (std::find(finite.begin(), finite.end(), 0) != finite.end()) {
      return world_error(
          "The model gave logits that are not finite on the text. A model whose weights are damaged does this: check "
          "the file, or make it again.");
    }
    double sum = 0;
    for (const double value : negative_log) sum += value;
    window_sums.push_back(sum);
    window_tokens.push_back(static_cast<double>(count));
    score.negative_log_probability += sum;
    score.tokens += static_cast<std::int64_t>(count);
    scored_to = end;
  }
  const Estimate log_perplexity = bootstrap_ratio(window_sums, window_tokens, bootstrap);
  score.perplexity = {std::exp(log_perplexity.value), std::exp(log_perplexity.low), std::exp(log_perplexity.high)};
  return score;
}

}  // namespace retort::evaluate
