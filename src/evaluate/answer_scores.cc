#include "evaluate/answer_scores.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "evaluate/parallel.h"
#include "evaluate/softmax.h"
#include "exchange/told_tokens.h"

namespace retort::evaluate {
namespace {

Result<void> check_fits(Scorer& model, const std::string& name, std::span<const HeldOutExample> examples) {
  for (std::size_t e = 0; e < examples.size(); ++e) {
    const std::vector<TokenId>& ids = examples[e].ids;
    if (ids.size() > model.context_tokens()) {
      return caller_error("The held-out exchange " + std::to_string(e + 1) + " has " + std::to_string(ids.size()) +
                          " tokens, but the context of " + name + " is " + std::to_string(model.context_tokens()) +
                          ". Open it with a larger context.");
    }
    const bool known = std::ranges::all_of(
        ids, [&](TokenId id) { return id >= 0 && static_cast<std::size_t>(id) < model.vocabulary(); });
    if (!known) {
      return caller_error("The held-out exchange " + std::to_string(e + 1) +
                          " holds a token outside the vocabulary of " + name + ". It belongs to another tokenizer.");
    }
  }
  return {};
}

// -log of the probability of each scored token, by its position.
Result<std::vector<double>> surprises(Scorer& model, const std::string& name, const HeldOutExample& example) {
  std::vector<double> nats(example.ids.size(), 0);
  std::size_t first = 0, end = 0;  // rows that predict a scored token lie in [first, end)
  for (std::size_t t = 1; t < example.ids.size(); ++t) {
    if (example.scored[t] == 0) continue;
    if (end == 0) first = t - 1;
    end = t;
  }
  if (end == 0) return nats;
  RETORT_TRY(model.score(std::span(example.ids).first(end), first, [&](const LogitRows& rows) -> Result<void> {
    for_each_row(rows.rows, 0, [&](std::size_t r) {
      const std::size_t t = rows.first_position + r + 1;
      if (t >= example.ids.size() || example.scored[t] == 0) return;
      const RowSummary summary = summarise_row(rows.row(r));
      nats[t] = summary.finite ? -log_probability(rows.row(r), summary, static_cast<std::size_t>(example.ids[t]))
                               : std::nan("");
    });
    return {};
  }));
  if (std::ranges::all_of(nats, [](double value) { return std::isfinite(value); })) return nats;
  return world_error(name +
                     " gave logits that are not finite. A model whose weights are damaged does this: check the " +
                     "file, or make it again.");
}

// Drawn from the teacher's distribution as it is.
bool drawn_from_all(const SamplingOptions& sampling) {
  return sampling.temperature == 1 && sampling.top_p == 1 && sampling.top_k == 0 && sampling.min_p == 0;
}

}  // namespace

Result<std::vector<AnswerScore>> score_answers(Scorer& model, const std::string& name,
                                               std::span<const HeldOutExample> examples,
                                               std::span<const TokenId> end_ids, Progress& progress,
                                               std::stop_token stop) {
  RETORT_TRY(check_fits(model, name, examples));
  std::vector<AnswerScore> scores;
  progress.begin("score " + name, static_cast<double>(examples.size()), "exchanges");
  for (const HeldOutExample& example : examples) {
    if (stop.stop_requested()) return interrupted("Stopped while scoring the teacher's answers.");
    RETORT_ASSIGN(const std::vector<double> nats, surprises(model, name, example));
    AnswerScore score;
    for (std::size_t t = 1; t < nats.size(); ++t) {
      if (example.scored[t] == 0) continue;
      score.tokens += 1;
      score.nats += nats[t];
      if (std::ranges::find(end_ids, example.ids[t]) != end_ids.end()) continue;
      score.text_tokens += 1;
      score.text_nats += nats[t];
    }
    scores.push_back(score);
    progress.advance(static_cast<double>(scores.size()), "");
  }
  progress.end(std::to_string(scores.size()) + " exchanges scored");
  return scores;
}

Estimate answer_perplexity(std::span<const AnswerScore> scores, const BootstrapOptions& bootstrap) {
  std::vector<double> nats, tokens;
  for (const AnswerScore& score : scores) {
    nats.push_back(score.nats);
    tokens.push_back(score.tokens);
  }
  // exp is monotonic: the quantiles of the perplexity are those of its logarithm.
  const Estimate logarithm = bootstrap_ratio(nats, tokens, bootstrap);
  return {std::exp(logarithm.value), std::exp(logarithm.low), std::exp(logarithm.high)};
}

std::optional<double> told_log_probability(const Exchange& exchange) {
  const auto& sampling = exchange.provenance.sampling;
  if (!sampling || !drawn_from_all(*sampling)) return std::nullopt;
  const auto tokens = told_tokens(exchange.completion);
  if (!tokens) return std::nullopt;
  std::string_view left = exchange.completion.text;
  double sum = 0;
  for (const ToldToken& token : *tokens) {
    if (left.empty()) break;  // what follows is the end of turn
    if (!left.starts_with(token.bytes)) return std::nullopt;
    left.remove_prefix(token.bytes.size());
    sum += token.logprob;
  }
  if (!left.empty() || exchange.completion.text.empty()) return std::nullopt;
  return sum;
}

std::optional<Estimate> sampled_kl(std::span<const std::optional<double>> told, std::span<const AnswerScore> scores,
                                   const BootstrapOptions& bootstrap) {
  RETORT_CHECK(told.size() == scores.size());
  std::vector<double> differences, tokens;
  for (std::size_t e = 0; e < told.size(); ++e) {
    if (!told[e] || scores[e].text_tokens == 0) continue;
    differences.push_back(*told[e] + scores[e].text_nats);
    tokens.push_back(scores[e].text_tokens);
  }
  if (tokens.empty()) return std::nullopt;
  return bootstrap_ratio(differences, tokens, bootstrap);
}

}  // namespace retort::evaluate
