// Hugging Face folders: config.json beside *.safetensors, read and written (docs/formats/huggingface.md).
//
// The families are those of model/decoder_config.h: model_type llama, mistral, qwen2 and qwen3. Reading is as strict as
// with GGUF files: every key of config.json and every tensor is consumed, known to say nothing about the computation,
// or refused by name. Rows of queries and keys lie half-split there, as the decoder computes: nothing is permuted. No
// libtorch. Const functions may be called from any thread.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "model/decoder_config.h"
#include "model/safetensors.h"

namespace retort::model {

class HuggingFaceFolder {
 public:
  // One model.safetensors, or the shards that model.safetensors.index.json names. Error (kCaller): a file that is
  // missing or damaged; a key, a value or a tensor that isn't supported, by name; a tensor of another shape.
  static Result<HuggingFaceFolder> open(const std::filesystem::path& folder);

  const DecoderConfig& config() const { return config_; }
  const std::filesystem::path& path() const { return path_; }
  // What Retort noted in config.json when it wrote the folder (its member "retort"); empty for other folders.
  const Json& note() const { return note_; }
  // One tensor of tensor_names(config()), by GGUF's name, row by row.
  Result<std::vector<float>> values(const std::string& name) const;

 private:
  struct Place {
    std::shared_ptr<const SafetensorsReader> file;
    const StoredTensor* tensor = nullptr;
  };
  HuggingFaceFolder() = default;
  Result<void> open_weights();
  Result<void> add_shard(const std::string& file, const std::map<std::string, std::string>* listed);
  Result<void> check_tensors();

  std::filesystem::path path_;
  DecoderConfig config_;
  Json note_ = Json::object();
  std::map<std::string, Place> places_;  // by the folder's own names
};

// Is there a folder with a config.json?
bool is_hugging_face_folder(const std::filesystem::path& path);

// Writes config.json and model.safetensors (F32) into `folder`, which is made. `values` gives one tensor of
// tensor_names(config); `more` is merged into config.json. Error: kCaller for a shape that config.json can't say, what
// `values` says, kWorld for the disk.
Result<void> write_hugging_face(const std::filesystem::path& folder, const DecoderConfig& config, const Json& more,
                                const std::function<Result<std::vector<float>>(const std::string& name)>& values);

// The pieces of it.
// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight".
std::string hugging_face_name(const std::string& name);
Result<DecoderConfig> config_from_hugging_face(const Json& json, const std::string& what);
Result<Json> config_to_hugging_face(const DecoderConfig& config);

}  // namespace retort::model
