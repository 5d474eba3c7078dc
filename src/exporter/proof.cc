#include "exporter/proof.h"

#include <algorithm>
#include <cmath>

#include "exporter/lineage.h"
#include "gguf/architecture.h"
#include "gguf/file.h"

namespace retort::exporter {
namespace {

// log of the sum of exponentials of a row, in FP64.
double log_sum_exp(std::span<const float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - static_cast<double>(largest));
  return static_cast<double>(largest) + std::log(sum);
}

// Compares one row and adds it up. `next`: the token that comes next.
void add_row(std::span<const float> trained, std::span<const float> exported, TokenId next, Agreement& sum) {
  const double trained_norm = log_sum_exp(trained);
  const double exported_norm = log_sum_exp(exported);
  double kl = 0;
  for (std::size_t i = 0; i < trained.size(); ++i) {
    const double p = static_cast<double>(trained[i]) - trained_norm;
    const double q = static_cast<double>(exported[i]) - exported_norm;
    kl += std::exp(p) * (p - q);
  }
  const auto at = static_cast<std::size_t>(next);
  const double difference = std::fabs((static_cast<double>(trained[at]) - trained_norm) -
                                      (static_cast<double>(exported[at]) - exported_norm));
  sum.mean_kl += kl;
  // A NaN must not get lost in std::max.
  sum.max_kl = kl <= sum.max_kl ? sum.max_kl : kl;
  sum.mean_difference += difference;
  sum.max_difference = difference <= sum.max_difference ? sum.max_difference : difference;
  const auto top = [](std::span<const float> row) { return std::max_element(row.begin(), row.end()) - row.begin(); };
  sum.top1_agreement += top(trained) == top(exported) ? 1 : 0;
  ++sum.positions;
}

// Several times what a right file of a small model (127M parameters, the worst case) showed: Q8_0 0.006, Q6_K 0.011,
// Q5_0 0.07, Q4_0 0.34 nats. A wrong file, such as one with rows in the wrong order, is nats away.
double kl_limit(gguf::TensorType type) {
  const double bits =
      8.0 * static_cast<double>(gguf::block_bytes(type)) / static_cast<double>(gguf::block_length(type));
  if (bits >= 8) return 0.03;
  if (bits >= 5) return 0.25;
  if (bits >= 4) return 1.0;
  return 3.0;
}

std::string number(double value) {
  std::string text = std::to_string(value);
  return text;
}

}  // namespace

Json to_json(const Agreement& agreement) {
  return {{"positions", agreement.positions},
          {"mean_logprob_difference", agreement.mean_difference},
          {"max_logprob_difference", agreement.max_difference},
          {"mean_kl_nats", agreement.mean_kl},
          {"max_kl_nats", agreement.max_kl},
          {"top1_agreement", agreement.top1_agreement}};
}

Result<Agreement> compare(Scorer& trained, Scorer& exported, std::span<const std::vector<TokenId>> sequences,
                          Progress& progress, std::stop_token stop) {
  if (trained.vocabulary() != exported.vocabulary()) {
    return caller_error("The exported file has a vocabulary of " + std::to_string(exported.vocabulary()) +
                        ", the trained model one of " + std::to_string(trained.vocabulary()) +
                        "; they can't be compared.");
  }
  const std::size_t vocabulary = trained.vocabulary();
  Agreement sum;
  double total = 0;
  for (const auto& ids : sequences) total += static_cast<double>(ids.size());
  progress.begin("prove export", total, "tokens");
  double done = 0;
  for (const std::vector<TokenId>& ids : sequences) {
    if (stop.stop_requested()) return interrupted("Stopped while the exported file was being proved.");
    if (ids.size() < 2) continue;
    for (const TokenId id : ids) {
      if (id < 0 || static_cast<std::size_t>(id) >= vocabulary) {
        return caller_error("A sequence of the proof holds the token " + std::to_string(id) +
                            ", which isn't in the vocabulary.");
      }
    }
    std::vector<float> reference(ids.size() * vocabulary);
    RETORT_TRY(trained.score(ids, 0, [&](const LogitRows& rows) -> Result<void> {
      RETORT_CHECK(rows.vocabulary == vocabulary && rows.first_position + rows.rows <= ids.size());
      std::copy(rows.data, rows.data + rows.rows * vocabulary,
                reference.begin() + static_cast<std::ptrdiff_t>(rows.first_position * vocabulary));
      return {};
    }));
    RETORT_TRY(exported.score(ids, 0, [&](const LogitRows& rows) -> Result<void> {
      RETORT_CHECK(rows.vocabulary == vocabulary && rows.first_position + rows.rows <= ids.size());
      for (std::size_t r = 0; r < rows.rows; ++r) {
        const std::size_t position = rows.first_position + r;
        if (position + 1 >= ids.size()) break;
        add_row(std::span(reference).subspan(position * vocabulary, vocabulary), rows.row(r), ids[position + 1], sum);
      }
      return {};
    }));
    done += static_cast<double>(ids.size());
    progress.advance(done, "");
  }
  if (sum.positions == 0) {
    progress.end("nothing to compare");
    return caller_error("There is no sequence of two or more tokens to prove the export on.");
  }
  const auto count = static_cast<double>(sum.positions);
  sum.mean_kl /= count;
  sum.mean_difference /= count;
  sum.top1_agreement /= count;
  progress.end("mean |difference of logprobs| " + number(sum.mean_difference) + ", KL " + number(sum.mean_kl));
  return sum;
}

Result<void> check_agreement(const Agreement& agreement, gguf::TensorType type, const std::string& file) {
  const auto refuse = [&](const std::string& figure, double value, double limit) {
    return world_error("The exported file " + file + " isn't the model that was trained: " + figure + " is " +
                       number(value) + " over " + std::to_string(agreement.positions) + " tokens; expected at most " +
                       number(limit) + ". It must not be used; please report this with the run folder.");
  };
  // Written so that NaN fails.
  if (gguf::is_quantised(type)) {
    const double limit = kl_limit(type);
    if (!(agreement.mean_kl <= limit)) return refuse("the mean KL divergence (nats)", agreement.mean_kl, limit);
    return {};
  }
  if (type != gguf::TensorType::kF32) {
    constexpr double kMean = 5e-4, kMost = 0.05;
    if (!(agreement.mean_kl <= kMean)) return refuse("the mean KL divergence (nats)", agreement.mean_kl, kMean);
    if (!(agreement.max_kl <= kMost)) return refuse("the largest KL divergence (nats)", agreement.max_kl, kMost);
    return {};
  }
  constexpr double kMean = 1e-4, kMost = 1e-3;
  if (!(agreement.mean_difference <= kMean)) {
    return refuse("the mean difference of log-probabilities", agreement.mean_difference, kMean);
  }
  if (!(agreement.max_difference <= kMost)) {
    return refuse("the largest difference of log-probabilities", agreement.max_difference, kMost);
  }
  return {};
}

Result<void> check_file(const std::filesystem::path& file) {
  RETORT_ASSIGN(const gguf::File opened, gguf::File::open(file));
  RETORT_TRY(gguf::check_model(opened));
  RETORT_TRY(opened.check_finite());
  RETORT_ASSIGN(const auto lineage, opened.metadata().get<std::string>("retort.lineage"));
  RETORT_ASSIGN(const Json json, parse_json(lineage, file.string() + ", retort.lineage"));
  RETORT_TRY(lineage_from_json(json, file.string() + ", retort.lineage"));
  return {};
}

}  // namespace retort::exporter
