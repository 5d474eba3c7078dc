// The state of a training between two steps (docs/formats/checkpoint.md): masters, both moments of AdamW
// and the position. One safetensors file, replaced atomically, with a checksum over every tensor.
//
// Reading fills the optimiser that is given, whose parameters decide names and shapes. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "train/adamw.h"

namespace retort::train {

struct TrainPosition {
  std::int64_t step = 0;  // steps done
  std::int64_t tokens = 0;
  std::int64_t supervised_tokens = 0;
  double seconds = 0;       // of everything
  double step_seconds = 0;  // of training steps alone
  double first_loss = 0;
  double held_out_kl_before = -1;
  std::string fingerprint;  // digest of options, data and models: only the same training may go on from here
};

Result<void> save_checkpoint(const std::filesystem::path& path, const AdamW& optimiser, const TrainPosition& position);

// Only the position: cheap. Error (kCaller): not a checkpoint of ours, a newer version, damaged.
Result<TrainPosition> read_position(const std::filesystem::path& path);

// Error (kCaller): also when a tensor is missing, of another shape, or its checksum differs; then the optimiser's state
// is undefined.
Result<TrainPosition> load_checkpoint(const std::filesystem::path& path, AdamW& optimiser);

}  // namespace retort::train
