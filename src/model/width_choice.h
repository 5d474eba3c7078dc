// Which feed-forward channels and which key-value heads of a model a narrower student keeps.
//
// Importance as Minitron measures it (arXiv 2407.14679, section 2.2): of a channel, the mean over tokens of the
// magnitude of its activation (what goes into ffn_down); of a key-value head with the query heads that share it, the
// mean over tokens of the length of what they give. Every layer keeps its own. Deterministic.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "model/decoder.h"
#include "model/layer_choice.h"

namespace retort::model {

struct WidthOptions {
  std::int64_t intermediate = 0;  // channels to keep; 0: all
  std::int64_t kv_heads = 0;      // key-value heads to keep, each with its query heads; 0: all
  std::int64_t max_tokens = 2048;
};

// The config of the narrower model. Error (kCaller): more than there are.
Result<DecoderConfig> narrow_config(const DecoderConfig& config, const WidthOptions& options);

struct LayerWidth {
  std::vector<double> channel_importance, head_importance;
  std::vector<std::int64_t> channels, kv_heads;  // kept, ascending
};

struct WidthChoice {
  std::vector<LayerWidth> layers;
  std::int64_t measured_tokens = 0;
};

// Error (kCaller): see narrow_config(); no sequences.
Result<WidthChoice> choose_widths(const Decoder& decoder, std::span<const MeasuredSequence> sequences,
                                  const WidthOptions& options, std::stop_token stop);

// The model with only these; own copies, in the same type.
Result<Decoder> narrowed(const Decoder& decoder, const WidthOptions& options, const WidthChoice& choice);

// What was kept and how important it was, without the importance of every channel.
Json to_json(const WidthChoice& choice);

}  // namespace retort::model
