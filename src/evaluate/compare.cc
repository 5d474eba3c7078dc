#include "evaluate/compare.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/text.h"
#include "evaluate/parallel.h"
#include "evaluate/softmax.h"

namespace retort::evaluate {

namespace {

std::string place(std::size_t exchange, std::size_t position) {
  return "exchange " + std::to_string(exchange + 1) + ", position " + std::to_string(position);
}

// The rows that predict the scored tokens of one example.
struct Rows {
  std::vector<std::uint32_t> positions;  // of the predicted tokens, ascending; the row stands one before
  std::size_t first() const { return positions.front() - 1; }
  std::size_t end() const { return positions.back(); }
};

Rows rows_of(const HeldOutExample& example) {
  Rows rows;
  for (std::size_t t = 1; t < example.ids.size(); ++t) {
    if (example.scored[t] != 0) rows.positions.push_back(static_cast<std::uint32_t>(t));
  }
  return rows;
}

// Runs `scorer` over the example, without what follows its last scored token, and hands every needed row to
// `take(row_index, logits)` on several threads.
Result<void> visit_rows(Scorer& scorer, const HeldOutExample& example, const Rows& rows, int threads,
                        const std::function<void(std::size_t, std::span<const float>)>& take) {
  std::size_t taken = 0;
  const std::size_t vocabulary = scorer.vocabulary();
  const auto visit = [&](const LogitRows& chunk) -> Result<void> {
    RETORT_CHECK(chunk.vocabulary == vocabulary);
    const std::size_t chunk_end = chunk.first_position + chunk.rows;
    const std::size_t from = taken;
    while (taken < rows.positions.size() && rows.positions[taken] - 1 < chunk_end) ++taken;
    RETORT_CHECK(from == taken || rows.positions[from] - 1 >= chunk.first_position);
    for_each_row(taken - from, threads, [&](std::size_t i) {
      take(from + i, chunk.row(rows.positions[from + i] - 1 - chunk.first_position));
    });
    return {};
  };
  RETORT_TRY(scorer.score(std::span(example.ids).first(rows.end()), rows.first(), visit));
  RETORT_CHECK(taken == rows.positions.size());
  return {};
}

struct TeacherRows {
  std::size_t vocabulary = 0;
  std::vector<float> logits;
  std::vector<RowSummary> summaries;
  std::span<const float> row(std::size_t i) const { return {logits.data() + i * vocabulary, vocabulary}; }
};

ExchangeSums sums_of(const std::vector<TokenComparison>& tokens) {
  ExchangeSums sums;
  sums.tokens = static_cast<std::int64_t>(tokens.size());
  for (const TokenComparison& token : tokens) {
    sums.kl_nats += token.kl_nats;
    sums.agreed += token.teacher_top == token.model_top ? 1 : 0;
    sums.negative_log_probability += token.negative_log_probability;
  }
  return sums;
}

Result<void> check_finite(const std::vector<RowSummary>& summaries, const Rows& rows, const std::string& name,
                          std::size_t exchange) {
  for (std::size_t i = 0; i < summaries.size(); ++i) {
    if (summaries[i].finite) continue;
    return world_error(name + " gave logits that are not finite (" + place(exchange, rows.positions[i] - 1) +
                       "). A model whose weights are damaged does this: check the file, or make it again.");
  }
  return {};
}

Result<void> check_inputs(Scorer& teacher, std::span<const ComparedModel> models,
                          std::span<const HeldOutExample> examples, std::span<const TokenId> end_ids) {
  std::int64_t scored = 0;
  std::size_t longest = 0;
  for (std::size_t e = 0; e < examples.size(); ++e) {
    const HeldOutExample& example = examples[e];
    RETORT_CHECK(example.scored.size() == example.ids.size());
    scored += example.tokens();
    longest = std::max(longest, example.ids.size());
    for (std::size_t t = 0; t < example.ids.size(); ++t) {
      const TokenId id = example.ids[t];
      if (id >= 0 && static_cast<std::size_t>(id) < teacher.vocabulary()) continue;
      return caller_error("Held-out " + place(e, t) + ": token id " + std::to_string(id) +
                          " is outside the teacher's vocabulary of " + std::to_string(teacher.vocabulary()) +
                          ". The exchanges belong to another tokenizer; collect them again with this teacher.");
    }
  }
  if (scored == 0) {
    return caller_error("There is nothing to evaluate on: the " + std::to_string(examples.size()) +
                        " held-out exchanges hold no answer's token. Give exchanges with answers, or raise "
                        "evaluate.held_out.");
  }
  if (longest > teacher.context_tokens()) {
    return caller_error("A held-out exchange has " + std::to_string(longest) +
                        " tokens, but the teacher's context is " + std::to_string(teacher.context_tokens()) +
                        ". Open it with a larger context.");
  }
  for (const TokenId id : end_ids) RETORT_CHECK(id >= 0 && static_cast<std::size_t>(id) < teacher.vocabulary());
  for (const ComparedModel& model : models) {
    RETORT_CHECK(model.scorer != nullptr);
    if (model.scorer->vocabulary() != teacher.vocabulary()) {
      return caller_error(model.name + " has a vocabulary of " + std::to_string(model.scorer->vocabulary()) +
                          " tokens, the teacher one of " + std::to_string(teacher.vocabulary()) +
                          ": their probabilities can't be compared token by token. Give a student of this teacher.");
    }
    if (longest > model.scorer->context_tokens()) {
      return caller_error("A held-out exchange has " + std::to_string(longest) + " tokens, but the context of " +
                          model.name + " is " + std::to_string(model.scorer->context_tokens()) +
                          ". Open it with a larger context.");
    }
  }
  return {};
}

float end_probability(std::span<const float> logits, const RowSummary& summary, std::span<const TokenId> end_ids) {
  double sum = 0;
  for (const TokenId id : end_ids) sum += std::exp(log_probability(logits, summary, static_cast<std::size_t>(id)));
  return static_cast<float>(sum);
}

TokenComparison compare_token(std::uint32_t position, TokenId id, std::span<const float> teacher_logits,
                              const RowSummary& teacher, std::span<const float> model_logits, const RowSummary& model,
                              std::span<const TokenId> end_ids) {
  TokenComparison token;
  token.position = position;
  token.id = id;
  token.teacher_top = static_cast<TokenId>(teacher.top);
  token.model_top = static_cast<TokenId>(model.top);
  token.teacher_top_probability = static_cast<float>(teacher.top_probability);
  token.model_top_probability = static_cast<float>(model.top_probability);
  const auto place_of_id = static_cast<std::size_t>(id);
  token.teacher_probability = static_cast<float>(std::exp(log_probability(teacher_logits, teacher, place_of_id)));
  token.negative_log_probability = -log_probability(model_logits, model, place_of_id);
  token.model_probability = static_cast<float>(std::exp(-token.negative_log_probability));
  token.teacher_entropy = static_cast<float>(teacher.entropy);
  token.model_entropy = static_cast<float>(model.entropy);
  token.teacher_of_model_top = static_cast<float>(std::exp(log_probability(teacher_logits, teacher, model.top)));
  token.teacher_end = end_probability(teacher_logits, teacher, end_ids);
  token.model_end = end_probability(model_logits, model, end_ids);
  return token;
}

}  // namespace

std::optional<TokenComparison> compare_rows(std::uint32_t position, TokenId id, std::span<const float> teacher_logits,
                                            std::span<const float> model_logits, std::span<const TokenId> end_ids) {
  const RowSummary teacher = summarise_row(teacher_logits);
  const RowSummary model = summarise_row(model_logits);
  if (!teacher.finite || !model.finite) return std::nullopt;
  TokenComparison token = compare_token(position, id, teacher_logits, teacher, model_logits, model, end_ids);
  token.kl_nats = kl_divergence(teacher_logits, teacher, model_logits, model);
  return token;
}

std::int64_t HeldOutExample::tokens() const {
  return std::count_if(scored.begin() + (scored.empty() ? 0 : 1), scored.end(),
                       [](std::uint8_t flag) { return flag != 0; });
}

HeldOutExample held_out_example(const Exchange& exchange) {
  HeldOutExample example;
  example.ids = exchange.tokens.ids;
  example.scored.assign(example.ids.size(), 0);
  for (const TokenSpan& span : exchange.tokens.spans) {
    if (span.kind != SpanKind::kAssistant) continue;
    const std::size_t end = std::min<std::size_t>(span.end, example.ids.size());
    for (std::size_t t = std::max<std::size_t>(span.begin, 1); t < end; ++t) example.scored[t] = 1;
  }
  return example;
}

Result<Comparison> compare(Scorer& teacher, std::span<const ComparedModel> models,
                           std::span<const HeldOutExample> examples, const CompareOptions& options, Progress& progress,
                           std::stop_token stop) {
  RETORT_TRY(check_inputs(teacher, models, examples, options.end_ids));
  Comparison comparison;
  comparison.teacher.name = "teacher";
  for (const ComparedModel& model : models) comparison.models.push_back({model.name, {}, {}});

  TeacherRows kept;
  kept.vocabulary = teacher.vocabulary();
  progress.begin("compare with the teacher", static_cast<double>(examples.size()), "exchanges");
  for (std::size_t e = 0; e < examples.size(); ++e) {
    if (stop.stop_requested()) return interrupted("Stopped while comparing with the teacher.");
    const HeldOutExample& example = examples[e];
    const Rows rows = rows_of(example);
    if (rows.positions.empty()) {
      comparison.teacher.exchanges.emplace_back();
      comparison.teacher.tokens.emplace_back();
      for (std::size_t m = 0; m < models.size(); ++m) {
        if (e >= models[m].examples) continue;
        comparison.models[m].exchanges.emplace_back();
        comparison.models[m].tokens.emplace_back();
      }
      continue;
    }
    const std::size_t count = rows.positions.size();
    kept.logits.resize(count * kept.vocabulary);
    kept.summaries.resize(count);
    std::vector<TokenComparison> tokens(count);
    RETORT_TRY(visit_rows(teacher, example, rows, options.threads, [&](std::size_t i, std::span<const float> logits) {
      std::copy(logits.begin(), logits.end(), kept.logits.begin() + static_cast<std::ptrdiff_t>(i * kept.vocabulary));
      const RowSummary summary = summarise_row(logits);
      kept.summaries[i] = summary;
      if (!summary.finite) return;
      tokens[i] = compare_token(rows.positions[i], example.ids[rows.positions[i]], logits, summary, logits, summary,
                                options.end_ids);
    }));
    RETORT_TRY(check_finite(kept.summaries, rows, "The teacher", e));
    comparison.tokens += static_cast<std::int64_t>(count);
    comparison.teacher.exchanges.push_back(sums_of(tokens));
    comparison.teacher.tokens.push_back(std::move(tokens));

    for (std::size_t m = 0; m < models.size(); ++m) {
      if (e >= models[m].examples) continue;
      if (stop.stop_requested()) return interrupted("Stopped while comparing with the teacher.");
      std::vector<RowSummary> summaries(count);
      tokens.assign(count, {});
      RETORT_TRY(visit_rows(*models[m].scorer, example, rows, options.threads,
                            [&](std::size_t i, std::span<const float> logits) {
                              const RowSummary summary = summarise_row(logits);
                              summaries[i] = summary;
                              if (!summary.finite) return;
                              tokens[i] = compare_token(rows.positions[i], example.ids[rows.positions[i]], kept.row(i),
                                                        kept.summaries[i], logits, summary, options.end_ids);
                              tokens[i].kl_nats = kl_divergence(kept.row(i), kept.summaries[i], logits, summary);
                            }));
      RETORT_TRY(check_finite(summaries, rows, models[m].name, e));
      comparison.models[m].exchanges.push_back(sums_of(tokens));
      comparison.models[m].tokens.push_back(std::move(tokens));
    }
    progress.advance(static_cast<double>(e + 1), "");
  }
  progress.end(human_count(comparison.tokens) + " tokens of " +
               human_count(static_cast<std::int64_t>(examples.size())) + " exchanges compared");
  return comparison;
}

QualityEstimates estimate_quality(std::span<const ExchangeSums> exchanges, const BootstrapOptions& options) {
  std::vector<double> tokens;
  std::vector<double> kl;
  std::vector<double> agreed;
  std::vector<double> negative_log;
  for (const ExchangeSums& sums : exchanges) {
    tokens.push_back(static_cast<double>(sums.tokens));
    kl.push_back(sums.kl_nats);
    agreed.push_back(sums.agreed);
    negative_log.push_back(sums.negative_log_probability);
  }
  QualityEstimates quality;
  quality.kl_nats = bootstrap_ratio(kl, tokens, options);
  quality.top1_agreement = bootstrap_ratio(agreed, tokens, options);
  // exp is monotonic: the quantiles of the perplexity are those of its logarithm.
  const Estimate log_perplexity = bootstrap_ratio(negative_log, tokens, options);
  quality.perplexity = {std::exp(log_perplexity.value), std::exp(log_perplexity.low), std::exp(log_perplexity.high)};
  return quality;
}

void set_quality(ModelScore& score, const QualityEstimates& quality) {
  score.kl_nats = quality.kl_nats;
  score.top1_agreement = quality.top1_agreement;
  score.perplexity = quality.perplexity;
}

Estimate share_of_kl_closed(std::span<const ExchangeSums> before, std::span<const ExchangeSums> student,
                            const BootstrapOptions& options) {
  RETORT_CHECK(before.size() == student.size());
  return bootstrap(
      before.size(),
      [&](std::span<const std::uint32_t> indices) {
        double lost = 0;
        double left = 0;
        for (const std::uint32_t index : indices) {
          lost += before[index].kl_nats;
          left += student[index].kl_nats;
        }
        return lost == 0 ? 0.0 : 1 - left / lost;
      },
      options);
}

}  // namespace retort::evaluate
