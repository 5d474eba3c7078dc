#include "train/checkpoints.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <system_error>
#include <utility>

#include "base/files.h"

namespace retort::train {
namespace {

constexpr const char* kPrefix = "checkpoint-";
constexpr const char* kSuffix = ".safetensors";

}  // namespace

std::vector<std::filesystem::path> Checkpoints::earlier() const {
  std::vector<std::filesystem::path> all;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) all.push_back(entry.path());
  }
  std::sort(all.begin(), all.end(), std::greater<>());  // digits of one length: by step
  return all;
}

Result<void> Checkpoints::save(const std::vector<StateTensor>& states, const TrainPosition& position) const {
  std::error_code error;
  // Out of the way, under its own number; a damaged one is written over.
  if (keep_ > 1 && is_there(newest())) {
    if (const auto before = read_position(newest()); before && before->step < position.step) {
      char name[64];
      std::snprintf(name, sizeof(name), "%s%08lld%s", kPrefix, static_cast<long long>(before->step), kSuffix);
      std::filesystem::rename(newest(), folder_ / name, error);
    }
  }
  RETORT_TRY(save_checkpoint(newest(), states, position));
  const std::vector<std::filesystem::path> old = earlier();
  for (auto i = static_cast<std::size_t>(keep_ - 1); i < old.size(); ++i) std::filesystem::remove(old[i], error);
  return {};
}

Result<std::optional<TrainPosition>> Checkpoints::load(const std::vector<model::NamedTensor>& states,
                                                       const std::string& fingerprint, Progress& progress) const {
  std::vector<std::filesystem::path> candidates = earlier();
  if (is_there(newest())) candidates.insert(candidates.begin(), newest());
  std::optional<Error> damage;
  for (const std::filesystem::path& path : candidates) {
    Result<TrainPosition> position = read_position(path);
    if (position && position->fingerprint != fingerprint) return another_training(path);
    if (position) position = load_checkpoint(path, states);
    if (position) {
      if (damage) {
        progress.note(damage->message + " Training goes on from the one before, of step " +
                      std::to_string(position->step) + ".");
      }
      return std::optional(std::move(*position));
    }
    if (!damage) damage = position.error();
  }
  if (damage) return Failure(std::move(*damage));
  return std::optional<TrainPosition>();
}

void Checkpoints::remove_all() const {
  std::error_code error;
  std::filesystem::remove(newest(), error);
  for (const std::filesystem::path& path : earlier()) std::filesystem::remove(path, error);
}

Failure another_training(const std::filesystem::path& path) {
  return caller_error(path.string() +
                      " belongs to a training with other options, data or models. Train in another folder, or remove "
                      "the file to start anew.");
}

}  // namespace retort::train
