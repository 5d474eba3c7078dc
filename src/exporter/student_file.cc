#include "exporter/student_file.h"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <string_view>

#include "base/json.h"
#include "base/version.h"
#include "gguf/architecture.h"
#include "gguf/writer.h"
#include "model/hugging_face.h"
#include "model/rotary_layout.h"
#include "model/safetensors.h"

namespace retort::exporter {
namespace {

constexpr const char* kRopeFactors = "rope_freqs.weight";

// Keys that say what the teacher is, and would be wrong of the student.
bool is_teachers_own(std::string_view key) {
  static constexpr std::array<std::string_view, 12> kKeys = {
      "general.name",       "general.author",   "general.version",     "general.organization",
      "general.finetune",   "general.basename", "general.description", "general.quantized_by",
      "general.size_label", "general.url",      "general.uuid",        "general.doi"};
  static constexpr std::array<std::string_view, 6> kFamilies = {
      "general.base_model.", "general.source.", "general.repo_", "retort.", "quantize.", "mradermacher."};
  return std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end() ||
         std::any_of(kFamilies.begin(), kFamilies.end(), [&](std::string_view f) { return key.starts_with(f); });
}

// "99M", "1.2B": as general.size_label is written.
std::string size_label(std::int64_t parameters) {
  if (parameters < 1'000'000) return std::to_string((parameters + 500) / 1000) + "K";
  if (parameters < 1'000'000'000) return std::to_string((parameters + 500'000) / 1'000'000) + "M";
  const std::int64_t tenths = (parameters + 50'000'000) / 100'000'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + "B";
}

// The vocabulary comes from the teacher's file, everything else from the student.
Result<void> check_fits(const model::DecoderConfig& student, const model::DecoderConfig& teacher) {
  if (student.vocabulary == teacher.vocabulary) return {};
  return caller_error("The student's vocabulary has " + std::to_string(student.vocabulary) +
                      " tokens and the teacher's " + std::to_string(teacher.vocabulary) +
                      ", so it can't be written with this teacher's tokenizer. Give the teacher it learnt from.");
}

gguf::Metadata student_metadata(const gguf::File& teacher, const Student& student, const StudentMetadata& input,
                                gguf::TensorType type) {
  const Lineage& lineage = input.lineage;
  gguf::Metadata metadata;
  metadata.set("general.architecture", student.config.architecture);
  metadata.set("general.type", std::string("model"));
  metadata.set("general.name", lineage.name);
  metadata.set("general.size_label", size_label(model::parameter_count(student.config)));
  metadata.set("general.description", "Distilled by Retort " + lineage.code_version + " from " + lineage.teacher.name +
                                          ": " + start_text(lineage) + ".");
  metadata.set("general.base_model.count", std::uint32_t{1});
  const TeacherOrigin& origin = lineage.origin();
  metadata.set("general.base_model.0.name", origin.name);
  if (!origin.repository.empty()) {
    const bool address = origin.repository.find("://") != std::string::npos;
    metadata.set("general.base_model.0.repo_url", (address ? "" : "https://huggingface.co/") + origin.repository);
  }
  for (const auto& [key, value] : teacher.metadata().entries()) {
    if (!metadata.contains(key) && !is_teachers_own(key)) metadata.set(key, value);
  }
  if (!origin.licence.empty()) metadata.set("general.license", origin.licence);
  metadata.set("general.tags", std::vector<std::string>{"distillation", "retort", "text-generation"});
  metadata.set("general.file_type", gguf::file_type_number(type));
  metadata.set("general.quantization_version", std::uint32_t{2});
  model::set_hyperparameters(student.config, metadata);
  metadata.set("retort.format", std::uint32_t{1});
  metadata.set("retort.version", std::string(kVersion));
  metadata.set("retort.layers", std::vector<std::int32_t>(lineage.layers.begin(), lineage.layers.end()));
  metadata.set("retort.lineage", canonical_json(to_json(lineage)));
  metadata.set("retort.recipe", input.recipe_yaml);
  return metadata;
}

}  // namespace

Result<Student> student_from_checkpoint(const std::filesystem::path& path) {
  auto opened = model::SafetensorsReader::open(path);
  if (!opened) return Failure(opened.error());
  const auto reader = std::make_shared<const model::SafetensorsReader>(std::move(*opened));
  const std::string what = path.string();
  const auto config = reader->metadata().find("config");
  if (config == reader->metadata().end()) {
    return caller_error(what + ": this safetensors file isn't a checkpoint of Retort (its metadata has no 'config'). " +
                        "Expected the student.safetensors that training writes.");
  }
  RETORT_ASSIGN(const Json json, parse_json(config->second, what + ", config"));
  Student student;
  RETORT_ASSIGN(student.config, model::decoder_config_from_json(json, what));
  student.values = [reader, what, shape_of = student.config](const std::string& name) -> Result<std::vector<float>> {
    const model::StoredTensor* tensor = reader->find(name);
    if (tensor == nullptr) return caller_error(what + ": the tensor '" + name + "' is missing from the checkpoint.");
    if (tensor->shape != model::tensor_shape(shape_of, name)) {
      return caller_error(what + ": the tensor '" + name + "' of the checkpoint has an unexpected shape.");
    }
    return reader->floats(*tensor);
  };
  return student;
}

Result<Student> student_from_teacher(const gguf::File& teacher, const std::vector<std::int64_t>& layers) {
  RETORT_ASSIGN(const model::DecoderConfig whole, model::decoder_config(teacher));
  Student student;
  RETORT_ASSIGN(student.config, model::cut_config(whole, layers));
  student.values = [&teacher, layers, whole](const std::string& name) -> Result<std::vector<float>> {
    const std::string source = model::name_before_cut(name, layers);
    const gguf::TensorInfo* tensor = teacher.find(source);
    if (tensor == nullptr) return caller_error("The teacher's file has no tensor '" + source + "'.");
    RETORT_ASSIGN(std::vector<float> values, teacher.floats(*tensor));
    const std::int64_t heads = model::interleaved_heads(whole, source);
    return heads > 0 ? model::interleaved_to_half_split(values, heads, whole.head_dim) : std::move(values);
  };
  return student;
}

Result<Student> student_from_hugging_face(const std::filesystem::path& folder) {
  RETORT_ASSIGN(model::HuggingFaceFolder opened, model::HuggingFaceFolder::open(folder));
  const auto shared = std::make_shared<const model::HuggingFaceFolder>(std::move(opened));
  return Student{shared->config(), [shared](const std::string& name) { return shared->values(name); }};
}

Result<void> write_hugging_face_folder(const Student& student, const Lineage& lineage,
                                       const std::filesystem::path& folder) {
  const Json note = {{"retort", {{"tokenizer", lineage.tokenizer_fingerprint.hex()}, {"lineage", to_json(lineage)}}}};
  return model::write_hugging_face(folder, student.config, note, student.values);
}

namespace {

Result<void> add_tensors(const Student& student, gguf::TensorType type, gguf::Writer& writer) {
  const model::DecoderConfig& config = student.config;
  if (!config.rope_factors.empty()) {
    writer.add(kRopeFactors, {config.head_dim / 2}, gguf::TensorType::kF32,
               [&config]() -> Result<std::vector<float>> { return config.rope_factors; });
  }
  for (const std::string& name : model::tensor_names(config)) {
    // Rows first here, row length first in the file.
    std::vector<std::int64_t> shape = model::tensor_shape(config, name);
    std::reverse(shape.begin(), shape.end());
    const auto stored = gguf::stored_type(name, shape, type);
    writer.add(name, shape, stored, [&student, &config, name]() -> Result<std::vector<float>> {
      RETORT_ASSIGN(std::vector<float> values, student.values(name));
      const auto expected = model::tensor_shape(config, name);
      const auto count = std::accumulate(expected.begin(), expected.end(), std::int64_t{1}, std::multiplies<>());
      if (static_cast<std::int64_t>(values.size()) != count) {
        return caller_error("It has " + std::to_string(values.size()) + " values; expected " + std::to_string(count) +
                            ".");
      }
      const std::int64_t heads = model::interleaved_heads(config, name);
      return heads > 0 ? model::half_split_to_interleaved(values, heads, config.head_dim) : std::move(values);
    });
  }
  return {};
}

}  // namespace

Result<void> write_student(const gguf::File& teacher, const Student& student, const StudentMetadata& metadata,
                           gguf::TensorType type, const std::filesystem::path& target) {
  RETORT_TRY(gguf::check_model(teacher));
  RETORT_ASSIGN(const model::DecoderConfig whole, model::decoder_config(teacher));
  RETORT_TRY(check_fits(student.config, whole));
  if (!gguf::can_quantise_to(type)) {
    return caller_error("A student can't be written as " + std::string(gguf::name_of(type)) +
                        ": the type needs an importance matrix. Use Q8_0, Q4_0 or F16.");
  }
  gguf::Writer writer(student_metadata(teacher, student, metadata, type));
  RETORT_TRY(add_tensors(student, type, writer));
  return writer.write(target);
}

Result<void> write_with_vocabulary(const gguf::File& vocabulary, const Student& weights, const std::string& name,
                                   const std::filesystem::path& target) {
  RETORT_ASSIGN(const auto tokens, vocabulary.metadata().get<std::vector<std::string>>("tokenizer.ggml.tokens"));
  if (static_cast<std::int64_t>(tokens.size()) != weights.config.vocabulary) {
    return caller_error("The weights have " + std::to_string(weights.config.vocabulary) +
                        " rows of embeddings and the vocabulary " + std::to_string(tokens.size()) +
                        " tokens; expected as many.");
  }
  gguf::Metadata metadata;
  metadata.set("general.architecture", weights.config.architecture);
  metadata.set("general.type", std::string("model"));
  metadata.set("general.name", name);
  for (const auto& [key, value] : vocabulary.metadata().entries()) {
    if (key.starts_with("tokenizer.")) metadata.set(key, value);
  }
  metadata.set("general.file_type", gguf::file_type_number(gguf::TensorType::kF32));
  model::set_hyperparameters(weights.config, metadata);
  gguf::Writer writer(std::move(metadata));
  RETORT_TRY(add_tensors(weights, gguf::TensorType::kF32, writer));
  return writer.write(target);
}

}  // namespace retort::exporter
