// The checkpoints of one training in its folder: the newest, and as many before it as are to be kept.
//
//   checkpoint.safetensors          the newest
//   checkpoint-STEP.safetensors     the ones before, by the steps they had done (eight digits)
//
// A checkpoint is written beside and renamed, so that at every moment the newest complete one is there. One thread; on
// the rank that leads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "model/decoder.h"
#include "train/checkpoint.h"

namespace retort::train {

class Checkpoints {
 public:
  // `keep`: at least 1.
  Checkpoints(std::filesystem::path folder, std::int64_t keep) : folder_(std::move(folder)), keep_(keep) {}

  Result<void> save(const std::vector<StateTensor>& states, const TrainPosition& position) const;
  // Fills the states from the newest checkpoint that is whole, saying which ones are not; nothing when there is none at
  // all. Errors (kCaller): they belong to another training than `fingerprint`, or every one is damaged.
  Result<std::optional<TrainPosition>> load(const std::vector<model::NamedTensor>& states,
                                            const std::string& fingerprint, Progress& progress) const;
  void remove_all() const;

 private:
  std::filesystem::path newest() const { return folder_ / "checkpoint.safetensors"; }
  std::vector<std::filesystem::path> earlier() const;  // the latest first

  std::filesystem::path folder_;
  std::int64_t keep_;
};

// The refusal of a file that another training has left.
Failure another_training(const std::filesystem::path& path);

}  // namespace retort::train
