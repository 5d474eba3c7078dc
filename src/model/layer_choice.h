// Which layers of a teacher a cut student keeps.
//
// Two measurements on token sequences that are typical for the purpose:
//   - block influence: 1 - mean cosine of a layer's input and output (ShortGPT, arXiv 2403.03853, equation 1). Cheap.
//     The last layer is never judged by it, because its output is of another scale: it is kept. The first layer is
//     judged as any other.
//   - greedy KL: layers are taken out one by one, each time the one whose absence leaves the smallest
//     KL(teacher || cut) of next-token distributions (greedy backward elimination, in the manner of SLEB, arXiv
//     2402.09025, which uses perplexity). It sees what block influence can't: how cuts add up.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "base/progress.h"
#include "model/decoder.h"
#include "model/packed_text.h"

namespace retort::model {

enum class LayerMethod { kBlockInfluence, kGreedyKl, kExplicit };
std::string_view name_of(LayerMethod method);  // "block_influence", "greedy_kl", "explicit"
Result<LayerMethod> layer_method_from_name(std::string_view name);

struct LayerScore {
  std::int64_t layer = 0;
  double block_influence = 0;  // 0: leaves its input as it is
  bool kept = true;
  // Greedy KL only: when it was taken out (0 first; -1: kept), and the KL in nats per token after that.
  std::int64_t removed_at = -1;
  double kl_after_removal = 0;
};

struct LayerChoice {
  LayerMethod method = LayerMethod::kBlockInfluence;
  std::vector<std::int64_t> kept;  // ascending
  std::vector<LayerScore> scores;  // one a layer
  std::int64_t measured_tokens = 0;
};

struct LayerChoiceOptions {
  LayerMethod method = LayerMethod::kGreedyKl;
  std::int64_t keep = 20;
  std::int64_t max_tokens = 2048;  // of the sequences, at most; longer ones are cut
};

// Error (kCaller): keep not in 1..layers, no sequences, an id beyond the vocabulary; kInterrupted when stopped.
// Sequences start at position 0. Deterministic.
Result<LayerChoice> choose_layers(const Decoder& teacher, std::span<const MeasuredSequence> sequences,
                                  const LayerChoiceOptions& options, Progress& progress, std::stop_token stop);

// Floating-point operations of choose_layers(), for those who plan: about, the attention's and norms' left out.
double layer_choice_flops(const DecoderConfig& teacher, const LayerChoiceOptions& options);
// Bytes it holds at its peak, besides the teacher.
std::int64_t layer_choice_bytes(const DecoderConfig& teacher, const LayerChoiceOptions& options, ComputeType compute);

// A list given by hand; scored by block influence for the report when there are sequences.
Result<LayerChoice> given_layers(const Decoder& teacher, std::span<const MeasuredSequence> sequences,
                                 std::span<const std::int64_t> layers, std::int64_t max_tokens);

Json to_json(const LayerChoice& choice);

}  // namespace retort::model
