#include "model/peft_adapter.h"

#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "model/hugging_face.h"
#include "model/safetensors.h"

namespace retort::model {
namespace {

// "blk.0.attn_q.weight.lora_a" -> "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
std::string peft_name(const std::string& name) {
  const std::size_t dot = name.rfind('.');
  std::string matrix = hugging_face_name(name.substr(0, dot));
  matrix.resize(matrix.rfind(".weight"));
  return "base_model.model." + matrix + (name.substr(dot) == ".lora_a" ? ".lora_A.weight" : ".lora_B.weight");
}

std::vector<std::string> target_modules(const AdapterConfig& adapters) {
  std::vector<std::string> modules;
  if (adapters.attention) modules = {"q_proj", "k_proj", "v_proj", "o_proj"};
  if (adapters.feed_forward) modules.insert(modules.end(), {"gate_proj", "up_proj", "down_proj"});
  return modules;
}

}  // namespace

Result<void> write_peft_adapter(const std::filesystem::path& folder, const AdapterConfig& adapters,
                                std::span<const NamedTensor> tensors) {
  RETORT_TRY(make_folder(folder));
  SafetensorsWriter writer(std::map<std::string, std::string>{{"format", "pt"}});
  for (const auto& [name, tensor] : tensors) {
    RETORT_CHECK(tensor.scalar_type() == torch::kFloat32 && tensor.is_contiguous());
    writer.add(peft_name(name), StoredType::kF32, tensor.sizes().vec(), [tensor = tensor.cpu()] {
      return std::as_bytes(
          std::span<const float>(tensor.const_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())));
    });
  }
  RETORT_TRY(writer.write(folder / "adapter_model.safetensors"));
  const Json config = {{"peft_type", "LORA"},
                       {"task_type", "CAUSAL_LM"},
                       {"base_model_name_or_path", nullptr},  // a cut student has no name elsewhere
                       {"r", adapters.rank},
                       {"lora_alpha", adapters.lora_alpha},
                       {"lora_dropout", 0.0},
                       {"target_modules", target_modules(adapters)},
                       {"bias", "none"},
                       {"fan_in_fan_out", false},
                       {"inference_mode", true}};
  return write_file(folder / "adapter_config.json", config.dump(2) + "\n");
}

}  // namespace retort::model
