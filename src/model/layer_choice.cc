#include "model/layer_choice.h"

#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>

#include "base/json.h"

namespace retort::model {

namespace {

constexpr std::int64_t kJudgedRows = 128;  // whose distributions greedy KL compares

// Sequences as one row without padding, cut to `max_tokens` in all.
Result<TokenBatch> pack(std::span<const std::vector<TokenId>> sequences, const DecoderConfig& config,
                        std::int64_t max_tokens) {
  std::vector<std::int64_t> ids;
  std::vector<std::int64_t> positions;
  std::vector<std::int64_t> documents;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto room = std::min(max_tokens - static_cast<std::int64_t>(ids.size()), config.context);
    const auto count = std::min<std::int64_t>(static_cast<std::int64_t>(sequences[i].size()), room);
    if (count < 2) continue;  // a lone token says nothing about what follows
    for (std::int64_t j = 0; j < count; ++j) {
      const TokenId id = sequences[i][static_cast<std::size_t>(j)];
      if (id < 0 || id >= config.vocabulary) {
        return caller_error("Token " + std::to_string(id) + " is outside the model's vocabulary of " +
                            std::to_string(config.vocabulary) + ".");
      }
      ids.push_back(id);
      positions.push_back(j);
      documents.push_back(static_cast<std::int64_t>(i));
    }
  }
  if (ids.empty()) {
    return caller_error("The importance of layers cannot be measured without token sequences; give at least one.");
  }
  const auto row = [](const std::vector<std::int64_t>& values) {
    return torch::tensor(values, torch::kInt64).unsqueeze(0);
  };
  return TokenBatch{row(ids), row(positions), row(documents)};
}

std::vector<LayerScore> block_influence(const Decoder& teacher, const TokenBatch& batch) {
  std::vector<LayerScore> scores;
  teacher.forward(batch, [&](std::int64_t layer, const torch::Tensor& input, const torch::Tensor& output) {
    const auto a = input.to(torch::kFloat64);
    const auto b = output.to(torch::kFloat64);
    const auto cosine = (a * b).sum(1) / (a.norm(2, 1) * b.norm(2, 1) + 1e-30);
    LayerScore score;
    score.layer = layer;
    score.block_influence = 1 - cosine.mean().item<double>();
    scores.push_back(score);
  });
  return scores;
}

void keep_most_influential(LayerChoice& choice, std::int64_t keep) {
  // The last layer is not judged: it is kept before any other.
  std::vector<std::int64_t> order(choice.scores.size() - 1);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return choice.scores[static_cast<std::size_t>(a)].block_influence >
           choice.scores[static_cast<std::size_t>(b)].block_influence;
  });
  for (auto& score : choice.scores) score.kept = false;
  choice.scores.back().kept = true;
  for (std::int64_t i = 0; i + 1 < keep; ++i) {
    choice.scores[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])].kept = true;
  }
}

// The distributions of the teacher that cuts are compared with.
class Judge {
 public:
  Judge(const Decoder& teacher, const TokenBatch& batch) : teacher_(teacher) {
    const std::int64_t tokens = batch.ids.numel();
    const std::int64_t judged = std::min(tokens, kJudgedRows);
    // Spread over the whole batch.
    rows_ = torch::arange(judged, torch::kInt64) * tokens / judged;
    rows_ = rows_.to(torch::kInt64);
    const auto log_probabilities =
        teacher.logits(teacher.forward(batch).squeeze(0).index_select(0, rows_)).log_softmax(1);
    probabilities_ = log_probabilities.exp();
    negative_entropy_ = (probabilities_ * log_probabilities).sum(1);
  }
  // KL(teacher || cut) in nats per token; `state` is what goes into the final norm. sum p log p - sum p (z - log sum
  // exp z), so that no second table of distributions is built.
  double kl(const torch::Tensor& state) const {
    const auto logits = teacher_.logits(teacher_.apply_final_norm(state.index_select(0, rows_)));
    const auto rows = negative_entropy_ + logits.logsumexp(1) - torch::einsum("rv,rv->r", {probabilities_, logits});
    return rows.mean(0, false, torch::kFloat64).item<double>();
  }

 private:
  const Decoder& teacher_;
  torch::Tensor rows_, probabilities_, negative_entropy_;
};

Result<void> remove_greedily(const Decoder& teacher, const TokenBatch& batch, LayerChoice& choice, std::int64_t keep,
                             Progress& progress, std::stop_token stop) {
  const Judge judge(teacher, batch);
  const Decoder::Layout layout = teacher.layout(batch);
  const torch::Tensor embedded = teacher.embed(batch.ids.reshape({-1}));
  std::vector<std::int64_t> left(choice.scores.size());
  std::iota(left.begin(), left.end(), 0);
  const auto removals = static_cast<std::int64_t>(left.size()) - keep;
  progress.begin("choose layers", static_cast<double>(removals), "layers");
  for (std::int64_t removal = 0; removal < removals; ++removal) {
    double best_kl = std::numeric_limits<double>::infinity();
    std::size_t best = 0;
    torch::Tensor before = embedded;  // what goes into candidate `i`
    for (std::size_t i = 0; i < left.size(); ++i) {
      if (stop.stop_requested()) return interrupted("The choice of layers was stopped.");
      torch::Tensor state = before;
      for (std::size_t j = i + 1; j < left.size(); ++j) state = teacher.apply_block(left[j], state, layout);
      const double kl = judge.kl(state);
      if (kl < best_kl) {
        best_kl = kl;
        best = i;
      }
      if (i + 1 < left.size()) before = teacher.apply_block(left[i], before, layout);
    }
    auto& score = choice.scores[static_cast<std::size_t>(left[best])];
    score.kept = false;
    score.removed_at = removal;
    score.kl_after_removal = best_kl;
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(best));
    progress.advance(static_cast<double>(removal + 1), "");
  }
  progress.end("");
  return {};
}

void collect_kept(LayerChoice& choice) {
  choice.kept.clear();
  for (const auto& score : choice.scores) {
    if (score.kept) choice.kept.push_back(score.layer);
  }
}

}  // namespace

std::string_view name_of(LayerMethod method) {
  switch (method) {
    case LayerMethod::kBlockInfluence: return "block_influence";
    case LayerMethod::kGreedyKl: return "greedy_kl";
    case LayerMethod::kExplicit: break;
  }
  return "explicit";
}

Result<LayerMethod> layer_method_from_name(std::string_view name) {
  for (const auto method : {LayerMethod::kBlockInfluence, LayerMethod::kGreedyKl, LayerMethod::kExplicit}) {
    if (name_of(method) == name) return method;
  }
  return caller_error("'" + std::string(name) +
                      "' is no way to choose layers; expected block_influence, greedy_kl or explicit.");
}

Result<LayerChoice> choose_layers(const Decoder& teacher, std::span<const std::vector<TokenId>> sequences,
                                  const LayerChoiceOptions& options, Progress& progress, std::stop_token stop) {
  const std::int64_t layers = teacher.config().layers;
  if (options.keep < 1 || options.keep > layers) {
    return caller_error("The student cannot have " + std::to_string(options.keep) + " layers; expected 1 to " +
                        std::to_string(layers) + ", the teacher's.");
  }
  RETORT_CHECK(options.method != LayerMethod::kExplicit);
  const torch::NoGradGuard no_gradient;
  RETORT_ASSIGN(const TokenBatch batch, pack(sequences, teacher.config(), options.max_tokens));
  LayerChoice choice;
  choice.method = options.method;
  choice.measured_tokens = batch.ids.numel();
  choice.scores = block_influence(teacher, batch);
  if (options.method == LayerMethod::kBlockInfluence) {
    keep_most_influential(choice, options.keep);
  } else {
    RETORT_TRY(remove_greedily(teacher, batch, choice, options.keep, progress, stop));
  }
  collect_kept(choice);
  return choice;
}

Result<LayerChoice> given_layers(const Decoder& teacher, std::span<const std::vector<TokenId>> sequences,
                                 std::span<const std::int64_t> layers, std::int64_t max_tokens) {
  RETORT_TRY(cut_config(teacher.config(), layers));
  const torch::NoGradGuard no_gradient;
  LayerChoice choice;
  choice.method = LayerMethod::kExplicit;
  if (!sequences.empty()) {
    RETORT_ASSIGN(const TokenBatch batch, pack(sequences, teacher.config(), max_tokens));
    choice.measured_tokens = batch.ids.numel();
    choice.scores = block_influence(teacher, batch);
  } else {
    for (std::int64_t layer = 0; layer < teacher.config().layers; ++layer) choice.scores.push_back({.layer = layer});
  }
  for (auto& score : choice.scores) {
    score.kept = std::find(layers.begin(), layers.end(), score.layer) != layers.end();
  }
  collect_kept(choice);
  return choice;
}

Json to_json(const LayerChoice& choice) {
  Json scores = Json::array();
  for (const auto& score : choice.scores) {
    Json item = {{"layer", score.layer}, {"kept", score.kept}};
    if (choice.measured_tokens > 0) item["block_influence"] = score.block_influence;
    if (score.removed_at >= 0) {
      item["removed_at"] = score.removed_at;
      item["kl_after_removal"] = score.kl_after_removal;
    }
    scores.push_back(std::move(item));
  }
  return {{"method", name_of(choice.method)},
          {"kept", choice.kept},
          {"measured_tokens", choice.measured_tokens},
          {"scores", std::move(scores)}};
}

}  // namespace retort::model
