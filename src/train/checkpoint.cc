#include "train/checkpoint.h"

#include <bit>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "model/safetensors.h"

namespace retort::train {
namespace {

constexpr const char* kFormat = "retort-training";
constexpr const char* kVersion = "1";

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

model::StoredType stored_type(at::ScalarType type) {
  return type == at::kByte ? model::StoredType::kU8 : model::StoredType::kF32;
}

class Checksum {
 public:
  void add(const std::string& name, std::span<const std::byte> bytes) {
    text_ += name + " " + std::to_string(checksum64(bytes)) + "\n";
  }
  std::string value() const { return sha256(std::string_view(text_)).hex(); }

 private:
  std::string text_;
};

Result<TrainPosition> position_from(const std::map<std::string, std::string>& metadata, const std::string& path) {
  const auto text = [&](const char* key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  if (text("format") != kFormat) {
    return caller_error(path + " is not a training checkpoint: its metadata says the format '" + text("format") +
                        "'; expected '" + kFormat + "'. Remove it to start the training anew.");
  }
  if (text("version") != kVersion) {
    return caller_error(path + " is a checkpoint of version " + text("version") + "; this program reads version " +
                        kVersion + ". Continue with the program that wrote it, or remove it to start anew.");
  }
  RETORT_ASSIGN(const Json json, parse_json(text("position"), path));
  return position_from_json(json, path);
}

}  // namespace

Result<TrainPosition> position_from_json(const Json& json, const std::string& what) {
  TrainPosition position;
  RETORT_ASSIGN(position.step, member<std::int64_t>(json, "step", what));
  RETORT_ASSIGN(position.tokens, member<std::int64_t>(json, "tokens", what));
  RETORT_ASSIGN(position.supervised_tokens, member<std::int64_t>(json, "supervised_tokens", what));
  RETORT_ASSIGN(position.seconds, member<double>(json, "seconds", what));
  RETORT_ASSIGN(position.step_seconds, member<double>(json, "step_seconds", what));
  RETORT_ASSIGN(position.first_loss, member<double>(json, "first_loss", what));
  RETORT_ASSIGN(position.held_out_kl_before, member<double>(json, "held_out_kl_before", what));
  RETORT_ASSIGN(position.fingerprint, member<std::string>(json, "fingerprint", what));
  return position;
}

Json to_json(const TrainPosition& position) {
  return {{"step", position.step},
          {"tokens", position.tokens},
          {"supervised_tokens", position.supervised_tokens},
          {"seconds", position.seconds},
          {"step_seconds", position.step_seconds},
          {"first_loss", position.first_loss},
          {"held_out_kl_before", position.held_out_kl_before},
          {"fingerprint", position.fingerprint}};
}

Result<void> save_checkpoint(const std::filesystem::path& path, const std::vector<StateTensor>& states,
                             const TrainPosition& position) {
  Checksum checksum;
  for (const StateTensor& state : states) checksum.add(state.name, bytes_of(state.part.read().cpu()));
  model::SafetensorsWriter writer({{"format", kFormat},
                                   {"version", kVersion},
                                   {"position", canonical_json(to_json(position))},
                                   {"checksum", checksum.value()}});
  const auto here = std::make_shared<at::Tensor>();  // one at a time
  for (const StateTensor& state : states) {
    writer.add(state.name, stored_type(state.part.type()), state.shape, [values = state.part, here]() {
      *here = at::Tensor();
      *here = values.read().cpu();
      return bytes_of(*here);
    });
  }
  return writer.write(path);
}

Result<TrainPosition> read_position(const std::filesystem::path& path) {
  RETORT_ASSIGN(const model::SafetensorsReader reader, model::SafetensorsReader::open(path));
  return position_from(reader.metadata(), path.string());
}

Result<TrainPosition> load_checkpoint(const std::filesystem::path& path,
                                      const std::vector<model::NamedTensor>& states) {
  RETORT_ASSIGN(const model::SafetensorsReader reader, model::SafetensorsReader::open(path));
  RETORT_ASSIGN(TrainPosition position, position_from(reader.metadata(), path.string()));
  if (reader.tensors().size() != states.size()) {
    return caller_error(path.string() + " holds " + std::to_string(reader.tensors().size()) +
                        " tensors; this student needs " + std::to_string(states.size()) +
                        ". It belongs to another training: remove it to start anew.");
  }
  Checksum checksum;
  for (const model::NamedTensor& state : states) {
    const model::StoredTensor* stored = reader.find(state.name);
    const auto sizes = state.tensor.sizes();
    if (stored == nullptr || stored->type != stored_type(state.tensor.scalar_type()) ||
        stored->shape != std::vector<std::int64_t>(sizes.begin(), sizes.end())) {
      return caller_error(path.string() + " has no tensor '" + state.name +
                          "' of this student's shape. It belongs to another training: remove it to start anew.");
    }
    const std::span<const std::byte> bytes = reader.bytes(*stored);
    checksum.add(state.name, bytes);
    at::Tensor here = state.tensor.is_cpu() ? state.tensor : at::empty_like(state.tensor, at::kCPU);
    std::memcpy(here.mutable_data_ptr(), bytes.data(), bytes.size());
    if (!state.tensor.is_cpu()) state.tensor.copy_(here);
  }
  const auto expected = reader.metadata().find("checksum");
  if (expected == reader.metadata().end() || expected->second != checksum.value()) {
    return caller_error(path.string() +
                        " is damaged: its tensors do not have the checksum that was written with them. "
                        "Remove it to start the training anew.");
  }
  return position;
}

}  // namespace retort::train
