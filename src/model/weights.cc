#include "model/weights.h"

#include <torch/torch.h>

#include <cstring>

#include "base/json.h"
#include "model/safetensors.h"

namespace retort::model {

namespace {
constexpr const char* kFormat = "retort-weights";
constexpr const char* kVersion = "1";
}  // namespace

Result<void> save_weights(const std::filesystem::path& path, const DecoderConfig& config,
                          std::span<const NamedTensor> tensors, const std::map<std::string, std::string>& more) {
  std::map<std::string, std::string> metadata = more;
  for (const char* own : {"format", "version", "config"}) RETORT_CHECK(!more.contains(own));
  metadata["format"] = kFormat;
  metadata["version"] = kVersion;
  metadata["config"] = canonical_json(to_json(config));
  SafetensorsWriter writer(std::move(metadata));
  for (const auto& [name, tensor] : tensors) {
    RETORT_CHECK(tensor.sizes() == c10::IntArrayRef(tensor_shape(config, name)));
    writer.add(name, StoredType::kF32, tensor.sizes().vec(), [tensor = tensor, kept = torch::Tensor()]() mutable {
      const torch::NoGradGuard no_gradient;
      kept = tensor.detach().cpu().to(torch::kFloat32).contiguous();  // lives as long as the writer's item
      return std::as_bytes(
          std::span<const float>(kept.const_data_ptr<float>(), static_cast<std::size_t>(kept.numel())));
    });
  }
  return writer.write(path);
}

Result<LoadedWeights> load_weights(const std::filesystem::path& path) {
  RETORT_ASSIGN(const SafetensorsReader reader, SafetensorsReader::open(path));
  LoadedWeights loaded;
  loaded.more = reader.metadata();
  const auto take = [&](const std::string& key) {
    const auto found = loaded.more.find(key);
    if (found == loaded.more.end()) return std::string();
    std::string value = found->second;
    loaded.more.erase(found);
    return value;
  };
  const std::string what = "'" + path.string() + "'";
  if (take("format") != kFormat) {
    return caller_error(what + " is a safetensors file, but not weights of a Retort checkpoint; expected one that " +
                        "training wrote.");
  }
  const std::string version = take("version");
  if (version != kVersion) {
    return caller_error(what + " was written in version '" + version + "' of the weights' format; this program reads " +
                        kVersion + ". Use the program that wrote it, or a newer one.");
  }
  RETORT_ASSIGN(const Json config, parse_json(take("config"), what + ", config"));
  RETORT_ASSIGN(loaded.config, decoder_config_from_json(config, what));
  const auto names = tensor_names(loaded.config);
  for (const auto& name : names) {
    const auto* stored = reader.find(name);
    if (stored == nullptr) return caller_error(what + ": the tensor '" + name + "' is missing.");
    if (stored->shape != tensor_shape(loaded.config, name) || stored->type != StoredType::kF32) {
      return caller_error(what + ": the tensor '" + name + "' does not have the shape and type the config says.");
    }
    torch::Tensor tensor = torch::empty(stored->shape, torch::kFloat32);
    const auto bytes = reader.bytes(*stored);
    std::memcpy(tensor.data_ptr<float>(), bytes.data(), bytes.size());
    loaded.tensors.push_back({name, std::move(tensor)});
  }
  if (reader.tensors().size() != names.size()) {
    return caller_error(what + " holds tensors that its config does not describe.");
  }
  return loaded;
}

}  // namespace retort::model
