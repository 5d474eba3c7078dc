#include "model/width_choice.h"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>

#include "base/json.h"

namespace retort::model {

namespace {

// The most important, ascending; of equals the first.
std::vector<std::int64_t> most_important(const std::vector<double>& importance, std::int64_t keep) {
  std::vector<std::int64_t> order(importance.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return importance[static_cast<std::size_t>(a)] > importance[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(keep));
  std::sort(order.begin(), order.end());
  return order;
}

void add_to(std::vector<double>& sums, const torch::Tensor& values) {
  const torch::Tensor own = values.to(torch::kFloat64).contiguous();
  const auto* value = own.const_data_ptr<double>();
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += value[i];
}

torch::Tensor index_of(const std::vector<std::int64_t>& rows) { return torch::tensor(rows, torch::kInt64); }

// Rows of heads of head_dim values: of every kept key-value head, `share` heads.
torch::Tensor rows_of_heads(const std::vector<std::int64_t>& kv_heads, std::int64_t share, std::int64_t head_dim) {
  std::vector<std::int64_t> rows;
  for (const std::int64_t head : kv_heads) {
    for (std::int64_t i = 0; i < share * head_dim; ++i) rows.push_back(head * share * head_dim + i);
  }
  return index_of(rows);
}

}  // namespace

Result<DecoderConfig> narrow_config(const DecoderConfig& config, const WidthOptions& options) {
  if (options.intermediate > config.intermediate || options.intermediate < 0) {
    return caller_error(std::to_string(options.intermediate) +
                        " feed-forward channels are to be kept (student.intermediate), but the model has " +
                        std::to_string(config.intermediate) + ". Ask for at most that many.");
  }
  if (options.kv_heads > config.kv_heads || options.kv_heads < 0) {
    return caller_error(std::to_string(options.kv_heads) +
                        " key-value heads are to be kept (student.kv_heads), but the model has " +
                        std::to_string(config.kv_heads) + ". Ask for at most that many.");
  }
  DecoderConfig narrow = config;
  if (options.intermediate > 0) narrow.intermediate = options.intermediate;
  if (options.kv_heads > 0) {
    narrow.kv_heads = options.kv_heads;
    narrow.heads = config.heads / config.kv_heads * options.kv_heads;
  }
  return narrow;
}

Result<WidthChoice> choose_widths(const Decoder& decoder, std::span<const MeasuredSequence> sequences,
                                  const WidthOptions& options, std::stop_token stop) {
  const DecoderConfig& config = decoder.config();
  RETORT_ASSIGN(const DecoderConfig narrow, narrow_config(config, options));
  WidthChoice choice;
  choice.layers.resize(static_cast<std::size_t>(config.layers));
  for (auto& layer : choice.layers) {
    layer.channel_importance.resize(static_cast<std::size_t>(config.intermediate));
    layer.head_importance.resize(static_cast<std::size_t>(config.kv_heads));
  }
  for (const MeasuredSequence& sequence : sequences) {
    if (stop.stop_requested()) return interrupted("The choice of what a narrower student keeps was stopped.");
    const std::int64_t left = options.max_tokens - choice.measured_tokens;
    const auto count = std::min(left, static_cast<std::int64_t>(sequence.ids.size()));
    if (count <= 0) continue;
    const auto ids = std::span(sequence.ids).first(static_cast<std::size_t>(count));
    decoder.look_inside(single_document(ids), [&](std::int64_t number, const auto& attended, const auto& activated) {
      auto& layer = choice.layers[static_cast<std::size_t>(number)];
      add_to(layer.channel_importance, activated.abs().sum(0, false, torch::kFloat32));
      const torch::Tensor groups = attended.to(torch::kFloat32).view({count, config.kv_heads, -1});
      add_to(layer.head_importance, groups.norm(2, {2}).sum(0));
    });
    choice.measured_tokens += count;
  }
  if (choice.measured_tokens == 0) {
    return caller_error("There are no exchanges to measure importance on. Collect some first.");
  }
  for (auto& layer : choice.layers) {
    for (auto* importance : {&layer.channel_importance, &layer.head_importance}) {
      for (double& value : *importance) value /= static_cast<double>(choice.measured_tokens);
    }
    layer.channels = most_important(layer.channel_importance, narrow.intermediate);
    layer.kv_heads = most_important(layer.head_importance, narrow.kv_heads);
  }
  return choice;
}

Result<Decoder> narrowed(const Decoder& decoder, const WidthOptions& options, const WidthChoice& choice) {
  const torch::NoGradGuard no_gradient;
  const DecoderConfig& config = decoder.config();
  RETORT_ASSIGN(const DecoderConfig narrow, narrow_config(config, options));
  RETORT_CHECK(static_cast<std::int64_t>(choice.layers.size()) == config.layers);
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : decoder.named_parameters()) {
    torch::Tensor kept = tensor.detach();
    if (name.starts_with("blk.")) {
      const auto& layer = choice.layers[static_cast<std::size_t>(std::stoll(name.substr(4, name.find('.', 4) - 4)))];
      const std::string part = name.substr(name.find('.', 4) + 1);
      const auto queries = [&] {
        return rows_of_heads(layer.kv_heads, config.heads / config.kv_heads, config.head_dim);
      };
      if (part == "attn_q.weight" || part == "attn_q.bias") kept = kept.index_select(0, queries());
      if (part == "attn_output.weight") kept = kept.index_select(1, queries());
      if (part == "attn_k.weight" || part == "attn_v.weight" || part == "attn_k.bias" || part == "attn_v.bias") {
        kept = kept.index_select(0, rows_of_heads(layer.kv_heads, 1, config.head_dim));
      }
      if (part == "ffn_gate.weight" || part == "ffn_up.weight") kept = kept.index_select(0, index_of(layer.channels));
      if (part == "ffn_down.weight") kept = kept.index_select(1, index_of(layer.channels));
    }
    tensors.push_back({name, kept});
  }
  return Decoder::from_tensors(narrow, tensors, decoder.compute_type());
}

Json to_json(const WidthChoice& choice) {
  Json layers = Json::array();
  for (const auto& layer : choice.layers) {
    const double all = std::accumulate(layer.channel_importance.begin(), layer.channel_importance.end(), 0.0);
    double kept = 0;
    for (const std::int64_t channel : layer.channels)
      kept += layer.channel_importance[static_cast<std::size_t>(channel)];
    layers.push_back({{"channels", layer.channels},
                      {"share_of_channel_importance", all > 0 ? kept / all : 1.0},
                      {"kv_heads", layer.kv_heads},
                      {"head_importance", layer.head_importance}});
  }
  return {{"measured_tokens", choice.measured_tokens}, {"layers", layers}};
}

}  // namespace retort::model
