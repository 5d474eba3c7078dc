#include "pipeline/teacher.h"

#include <utility>

#include "base/files.h"
#include "catalogue/catalogue.h"
#include "collect/teacher_terms.h"
#include "gguf/writer.h"
#include "pipeline/run_options.h"
#include "train/train_options.h"

namespace retort::pipeline {
Result<Teacher> open_teacher(const std::string& path_or_name, terms::Query query,
                             const std::filesystem::path& cache_folder) {
  RETORT_ASSIGN(const std::filesystem::path path, catalogue::find_model(path_or_name, cache_folder));
  RETORT_ASSIGN(gguf::File file, gguf::File::open(path));
  RETORT_ASSIGN(model::DecoderConfig config, model::decoder_config(file));
  RETORT_TRY(file.check_finite());
  RETORT_ASSIGN(tokens::ChatFormat format, tokens::ChatFormat::load(file));
  RETORT_ASSIGN(const terms::Declared declared, collect::declared_by(file));
  std::string name = declared.model_name.empty() ? path.stem().string() : declared.model_name;
  if (query.model.empty()) query.model = name;
  query.declared = declared;
  RETORT_ASSIGN(terms::Decision decision, terms::admit(query));
  RETORT_ASSIGN(const Digest digest, sha256_file(path));
  return Teacher{std::move(file), digest, std::move(config), std::move(format), std::move(decision), std::move(name)};
}

terms::Query teacher_query(const recipe::Recipe& recipe, const Clock& clock) {
  const auto teacher = recipe.get(run_option_set()).teacher;
  terms::Query query = collect::terms_query(teacher, recipe.get(collect::terms_option_set()), clock.unix_ms());
  const auto student = recipe.get(student_option_set());
  // A student cut from the teacher is made of its weights; any other learns from its text and its probabilities.
  const bool cut = !teacher.file.empty() && student.from.empty() && !student.fresh.any();
  const bool text_alone = teacher.file.empty() || recipe.get(train::train_option_set()).signal == "text";
  query.relation = cut          ? terms::Relation::kWeights
                   : text_alone ? terms::Relation::kOutputs
                                : terms::Relation::kLogprobs;
  return query;
}

std::filesystem::path converted_folder(const std::filesystem::path& cache_folder) { return cache_folder / "converted"; }

Result<std::filesystem::path> converted_copy(const gguf::File& file, const Digest& digest, gguf::TensorType type,
                                             const std::filesystem::path& cache_folder) {
  const std::filesystem::path folder = converted_folder(cache_folder);
  const std::filesystem::path path =
      folder / (digest.hex().substr(0, 32) + "." + std::string(gguf::name_of(type)) + ".gguf");
  if (std::error_code error; std::filesystem::is_regular_file(path, error)) return path;
  RETORT_TRY(make_folder(folder));
  RETORT_TRY(gguf::convert(file, type, path));
  return path;
}

std::uint64_t size_in_type(const gguf::File& file, gguf::TensorType type) {
  std::uint64_t bytes = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    const gguf::TensorType stored = gguf::stored_type(tensor.name, tensor.shape, type);
    bytes += gguf::row_bytes(stored, tensor.row_length()) * static_cast<std::uint64_t>(tensor.rows());
  }
  return bytes;
}

}  // namespace retort::pipeline
