#include "model/hugging_face.h"

#include <algorithm>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "base/files.h"

namespace retort::model {

namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kWeightsFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";

Result<Json> read_json_file(const std::filesystem::path& path) {
  RETORT_ASSIGN(const std::string text, read_file(path));
  return parse_json(text, path.string());
}

// Buffers that old files keep although they follow from config.json.
bool is_derived(std::string_view name) { return name.ends_with(".rotary_emb.inv_freq"); }

std::string shape_text(const std::vector<std::int64_t>& shape) { return Json(shape).dump(); }

}  // namespace

std::string hugging_face_name(const std::string& name) {
  static const std::map<std::string_view, std::string_view> kParts = {
      {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
      {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
      {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
      {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
      {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"}};
  if (name == "token_embd.weight") return kEmbedding;
  if (name == "output_norm.weight") return "model.norm.weight";
  if (name == "output.weight") return kHead;
  // blk.N.PART.KIND
  const std::size_t layer_end = name.find('.', 4);
  const std::size_t part_end = name.find('.', layer_end + 1);
  const auto part = kParts.find(std::string_view(name).substr(layer_end + 1, part_end - layer_end - 1));
  RETORT_CHECK(name.starts_with("blk.") && part != kParts.end());
  return "model.layers." + name.substr(4, layer_end - 4) + "." + std::string(part->second) + name.substr(part_end);
}

bool is_hugging_face_folder(const std::filesystem::path& path) { return is_there(path / kConfigFile); }

Result<HuggingFaceFolder> HuggingFaceFolder::open(const std::filesystem::path& folder) {
  HuggingFaceFolder result;
  result.path_ = folder;
  const std::filesystem::path config = folder / kConfigFile;
  if (!is_there(config)) {
    return caller_error("'" + folder.string() +
                        "' has no config.json; expected a Hugging Face folder with config.json " +
                        "and model.safetensors.");
  }
  RETORT_ASSIGN(const Json json, read_json_file(config));
  RETORT_ASSIGN(result.config_, config_from_hugging_face(json, config.string()));
  if (json.contains("retort") && json.at("retort").is_object()) result.note_ = json.at("retort");
  RETORT_TRY(result.open_weights());
  RETORT_TRY(result.check_tensors());
  return result;
}

Result<void> HuggingFaceFolder::open_weights() {
  if (is_there(path_ / kWeightsFile)) return add_shard(kWeightsFile, nullptr);
  const std::filesystem::path index = path_ / kIndexFile;
  if (!is_there(index)) {
    return caller_error("'" + path_.string() + "' has neither " + kWeightsFile + " nor " + kIndexFile +
                        "; expected weights as safetensors.");
  }
  RETORT_ASSIGN(const Json json, read_json_file(index));
  using Map = std::map<std::string, std::string>;
  RETORT_ASSIGN(const Map listed, member<Map>(json, "weight_map", index.string()));
  std::set<std::string> files;
  for (const auto& [name, file] : listed) files.insert(file);
  for (const std::string& file : files) {
    if (std::filesystem::path(file).filename() != file || file == "..") {
      return caller_error(index.string() + ": the shard '" + file + "' isn't the name of a file in the folder.");
    }
    RETORT_TRY(add_shard(file, &listed));
  }
  for (const auto& [name, file] : listed) {
    if (!places_.contains(name)) {
      return caller_error(index.string() + ": the tensor '" + name + "' isn't in '" + file + "', where it should be.");
    }
  }
  return {};
}

Result<void> HuggingFaceFolder::add_shard(const std::string& file, const std::map<std::string, std::string>* listed) {
  RETORT_ASSIGN(SafetensorsReader opened, SafetensorsReader::open(path_ / file));
  const auto reader = std::make_shared<const SafetensorsReader>(std::move(opened));
  for (const StoredTensor& tensor : reader->tensors()) {
    if (listed != nullptr) {
      const auto found = listed->find(tensor.name);
      if (found == listed->end() || found->second != file) {
        return caller_error("'" + (path_ / file).string() + "' holds a tensor '" + tensor.name +
                            "' that the index doesn't place there. Fetch the folder again.");
      }
    }
    places_[tensor.name] = {reader, &tensor};
  }
  return {};
}

Result<void> HuggingFaceFolder::check_tensors() {
  std::set<std::string> expected;
  for (const std::string& name : tensor_names(config_)) {
    const std::string own = hugging_face_name(name);
    const auto found = places_.find(own);
    if (found == places_.end()) {
      return caller_error("'" + path_.string() + "': the tensor '" + own + "' is missing.");
    }
    const auto shape = tensor_shape(config_, name);
    if (found->second.tensor->shape != shape) {
      return caller_error("'" + path_.string() + "': the tensor '" + own + "' has the shape " +
                          shape_text(found->second.tensor->shape) + "; expected " + shape_text(shape) +
                          " from config.json.");
    }
    expected.insert(own);
  }
  for (const auto& [name, place] : places_) {
    if (expected.contains(name) || is_derived(name)) continue;
    if (name == kHead && config_.tied_head) {
      const Place& embedding = places_.at(kEmbedding);
      const auto own = place.file->bytes(*place.tensor);
      const auto other = embedding.file->bytes(*embedding.tensor);
      if (std::equal(own.begin(), own.end(), other.begin(), other.end())) continue;
      return caller_error("'" + path_.string() + "': config.json ties the head to the embedding, but '" + name +
                          "' is another matrix. Remove it, or set tie_word_embeddings to false.");
    }
    return caller_error("'" + path_.string() + "': the tensor '" + name + "' isn't part of a plain " +
                        config_.architecture + " decoder, so it can't be left out of the computation.");
  }
  return {};
}

Result<std::vector<float>> HuggingFaceFolder::values(const std::string& name) const {
  const auto found = places_.find(hugging_face_name(name));
  RETORT_CHECK(found != places_.end());  // open() has looked
  return found->second.file->floats(*found->second.tensor);
}

Result<void> write_hugging_face(const std::filesystem::path& folder, const DecoderConfig& config, const Json& more,
                                const std::function<Result<std::vector<float>>(const std::string& name)>& values) {
  RETORT_ASSIGN(Json json, config_to_hugging_face(config));
  json.update(more);
  RETORT_TRY(make_folder(folder));
  // transformers asks for this entry.
  SafetensorsWriter writer(std::map<std::string, std::string>{{"format", "pt"}});
  std::vector<float> held;  // of the tensor that is being written
  for (const std::string& name : tensor_names(config)) {
    writer.add(hugging_face_name(name), StoredType::kF32, tensor_shape(config, name),
               [&values, &held, name]() -> Result<std::span<const std::byte>> {
                 RETORT_ASSIGN(held, values(name));
                 return std::as_bytes(std::span<const float>(held));
               });
  }
  RETORT_TRY(writer.write(folder / kWeightsFile));
  return write_file(folder / kConfigFile, json.dump(2) + "\n");
}

}  // namespace retort::model
