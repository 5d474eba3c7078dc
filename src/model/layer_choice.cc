#include "model/layer_choice.h"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "base/json.h"
#include "model/kl_judge.h"

namespace retort::model {

namespace {

// Greedy KL: of all tokens at most so many are judged, an eighth of the tokens ranks the candidates, and the best of
// those are judged on all.
constexpr std::int64_t kSketchShare = 8;
constexpr std::int64_t kShortestSketch = 256;
constexpr std::size_t kShortlist = 6;

std::int64_t sketch_tokens(const LayerChoiceOptions& options) {
  return std::max(options.max_tokens / kSketchShare, kShortestSketch);
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

// A cut that loses layer after layer, judged on one text.
class Cut {
 public:
  Cut(const Decoder& teacher, const PackedText& text, std::int64_t judged_rows)
      : teacher_(teacher), judge_(teacher, text, judged_rows), layout_(teacher.layout(text.batch)) {
    inputs_.push_back(teacher.embed(text.batch.ids.reshape({-1})));
    left_.resize(static_cast<std::size_t>(teacher.config().layers));
    std::iota(left_.begin(), left_.end(), 0);
    refresh(0);
  }
  std::size_t size() const { return left_.size(); }
  std::int64_t layer(std::size_t index) const { return left_[index]; }
  // Of the cut without the layer at `index` as well.
  double kl_without(std::size_t index) const {
    torch::Tensor state = inputs_[index];
    for (std::size_t j = index + 1; j < left_.size(); ++j) state = teacher_.apply_block(left_[j], state, layout_);
    return judge_.of_state(state);
  }
  void remove(std::size_t index) {
    left_.erase(left_.begin() + static_cast<std::ptrdiff_t>(index));
    refresh(index);
  }

 private:
  // Works out what goes into the layers behind `index`.
  void refresh(std::size_t index) {
    inputs_.resize(index + 1);
    for (std::size_t i = index; i + 1 < left_.size(); ++i) {
      inputs_.push_back(teacher_.apply_block(left_[i], inputs_[i], layout_));
    }
  }

  const Decoder& teacher_;
  KlJudge judge_;
  Decoder::Layout layout_;
  std::vector<std::int64_t> left_;
  std::vector<torch::Tensor> inputs_;  // of each layer that is left
};

Result<void> remove_greedily(const Decoder& teacher, const PackedText& text, const PackedText& sketch,
                             LayerChoice& choice, std::int64_t keep, Progress& progress, std::stop_token stop) {
  Cut whole(teacher, text, KlJudge::kMostRows);
  Cut rough(teacher, sketch, KlJudge::kMostRows / kSketchShare);
  const auto removals = static_cast<std::int64_t>(whole.size()) - keep;
  progress.begin("choose layers", static_cast<double>(removals), "layers");
  for (std::int64_t removal = 0; removal < removals; ++removal) {
    std::vector<std::pair<double, std::size_t>> candidates;
    for (std::size_t i = 0; i < rough.size(); ++i) {
      if (stop.stop_requested()) return interrupted("The choice of layers was stopped.");
      candidates.emplace_back(rough.size() > kShortlist ? rough.kl_without(i) : 0, i);
    }
    std::sort(candidates.begin(), candidates.end());
    candidates.resize(std::min(candidates.size(), kShortlist));
    for (auto& [kl, index] : candidates) {
      if (stop.stop_requested()) return interrupted("The choice of layers was stopped.");
      kl = whole.kl_without(index);
    }
    const auto [kl, index] = *std::min_element(candidates.begin(), candidates.end());
    auto& score = choice.scores[static_cast<std::size_t>(whole.layer(index))];
    score.kept = false;
    score.removed_at = removal;
    score.kl_after_removal = kl;
    whole.remove(index);
    rough.remove(index);
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

Result<LayerChoice> choose_layers(const Decoder& teacher, std::span<const MeasuredSequence> sequences,
                                  const LayerChoiceOptions& options, Progress& progress, std::stop_token stop) {
  const std::int64_t layers = teacher.config().layers;
  if (options.keep < 1 || options.keep > layers) {
    return caller_error("The student cannot have " + std::to_string(options.keep) + " layers; expected 1 to " +
                        std::to_string(layers) + ", the teacher's.");
  }
  RETORT_CHECK(options.method != LayerMethod::kExplicit);
  const torch::NoGradGuard no_gradient;
  RETORT_ASSIGN(const PackedText text, pack_text(sequences, teacher.config(), options.max_tokens));
  LayerChoice choice;
  choice.method = options.method;
  choice.measured_tokens = text.batch.ids.numel();
  choice.scores = block_influence(teacher, text.batch);
  if (options.method == LayerMethod::kBlockInfluence) {
    keep_most_influential(choice, options.keep);
  } else {
    // The beginnings of many sequences rather than a few whole ones; a short text is its own sketch.
    const std::int64_t most = sketch_tokens(options);
    RETORT_ASSIGN(const PackedText sketch, pack_text(sequences, teacher.config(), most, most / 4));
    RETORT_TRY(remove_greedily(teacher, text, sketch, choice, options.keep, progress, stop));
  }
  collect_kept(choice);
  return choice;
}

double layer_choice_flops(const DecoderConfig& teacher, const LayerChoiceOptions& options) {
  const double head = static_cast<double>(teacher.vocabulary * teacher.hidden);
  const double layer =
      (static_cast<double>(matmul_parameter_count(teacher)) - head) / static_cast<double>(teacher.layers);
  const auto text = static_cast<double>(options.max_tokens);
  if (options.method != LayerMethod::kGreedyKl) return 2 * layer * text * static_cast<double>(teacher.layers);
  const auto sketch = static_cast<double>(sketch_tokens(options));
  const double judged = KlJudge::kMostRows;
  double products = 0;  // parameters times tokens
  for (std::int64_t left = teacher.layers; left > options.keep; --left) {
    const auto candidates = static_cast<double>(left);
    const double shortlist = std::min(candidates, static_cast<double>(kShortlist));
    // On average half of the layers come after a candidate, and half are worked out anew after a removal.
    products += layer * candidates / 2 * ((candidates + 1) * sketch + (shortlist + 1) * text);
    products += head * (candidates * judged / kSketchShare + shortlist * judged);
  }
  return 2 * products;
}

std::int64_t layer_choice_bytes(const DecoderConfig& teacher, const LayerChoiceOptions& options, ComputeType compute) {
  const std::int64_t width = compute == ComputeType::kFloat32 ? 4 : 2;
  const std::int64_t text = options.max_tokens;
  // A block's rows, without a record.
  const std::int64_t projections = (teacher.heads + 2 * teacher.kv_heads) * teacher.head_dim;
  const std::int64_t rows =
      width * (3 * teacher.hidden + projections + teacher.heads * teacher.head_dim + 3 * teacher.intermediate);
  if (options.method != LayerMethod::kGreedyKl) return text * (rows + 2 * 8 * teacher.hidden);
  // What goes into each layer, of the text and of the sketch; the judges' probabilities, and while one judges the
  // logits in the compute type and in FP32, with a table of the same size for their sum.
  const std::int64_t states = (text + sketch_tokens(options)) * teacher.layers * teacher.hidden * width;
  const std::int64_t judged = std::min(KlJudge::kMostRows, text);
  const std::int64_t tables = teacher.vocabulary * (judged * (3 * 4 + width) + judged / kSketchShare * 4);
  return states + text * rows + tables;
}

Result<LayerChoice> given_layers(const Decoder& teacher, std::span<const MeasuredSequence> sequences,
                                 std::span<const std::int64_t> layers, std::int64_t max_tokens) {
  RETORT_TRY(cut_config(teacher.config(), layers));
  const torch::NoGradGuard no_gradient;
  LayerChoice choice;
  choice.method = LayerMethod::kExplicit;
  if (!sequences.empty()) {
    RETORT_ASSIGN(const PackedText text, pack_text(sequences, teacher.config(), max_tokens));
    choice.measured_tokens = text.batch.ids.numel();
    choice.scores = block_influence(teacher, text.batch);
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
