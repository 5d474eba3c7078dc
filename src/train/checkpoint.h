// The state of a training between two steps (docs/formats/checkpoint.md): masters, both moments of AdamW
// and the position. One safetensors file, replaced atomically, with a checksum over every tensor.
//
// Reading fills the tensors that are given, which decide names, shapes and types. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "model/decoder.h"
#include "train/state_values.h"

namespace retort::train {

struct TrainPosition {
  std::int64_t step = 0;  // steps done
  std::int64_t tokens = 0;
  std::int64_t supervised_tokens = 0;
  double seconds = 0;       // of everything
  double step_seconds = 0;  // of training steps alone
  double first_loss = 0;
  double held_out_kl_before = -1;  // HeldOutFigures::loss before any step
  std::string fingerprint;         // digest of options, data and models: only the same training may go on from here
};

Json to_json(const TrainPosition& position);
Result<TrainPosition> position_from_json(const Json& json, const std::string& what);

// Whole states, FP32 and uint8; what is in halves is joined one after the other.
Result<void> save_checkpoint(const std::filesystem::path& path, const std::vector<StateTensor>& states,
                             const TrainPosition& position);

// Only the position: cheap. Error (kCaller): not a checkpoint of ours, a newer version, damaged.
Result<TrainPosition> read_position(const std::filesystem::path& path);

// Error (kCaller): also when a tensor is missing, of another shape, or its checksum differs; then what the tensors hold
// is undefined.
Result<TrainPosition> load_checkpoint(const std::filesystem::path& path, const std::vector<model::NamedTensor>& states);

}  // namespace retort::train
