#include "pipeline/local_model.h"

#include <utility>

#include "base/files.h"
#include "catalogue/catalogue.h"
#include "gguf/writer.h"

namespace retort::pipeline {

Result<LocalModel> open_local_model(const std::string& path_or_name, const std::filesystem::path& cache_folder) {
  RETORT_ASSIGN(const std::filesystem::path path, catalogue::find_model(path_or_name, cache_folder));
  RETORT_ASSIGN(gguf::File file, gguf::File::open(path));
  RETORT_ASSIGN(model::DecoderConfig config, model::decoder_config(file));
  RETORT_TRY(file.check_finite());
  RETORT_ASSIGN(tokens::ChatFormat format, tokens::ChatFormat::load(file));
  RETORT_ASSIGN(const Digest digest, sha256_file(path));
  RETORT_ASSIGN(std::string name, file.metadata().get_or<std::string>("general.name", ""));
  if (name.empty()) name = path.stem().string();
  return LocalModel{std::move(file), digest, std::move(config), std::move(format), std::move(name)};
}

std::filesystem::path converted_folder(const std::filesystem::path& cache_folder) { return cache_folder / "converted"; }

bool is_its_own_reference(const LocalModel& model) {
  const std::string type = model.file.file_type_name();
  return type == "F32" || type == "F16" || type == "BF16";
}

Result<std::filesystem::path> converted_copy(const LocalModel& model, gguf::TensorType type,
                                             const std::filesystem::path& cache_folder) {
  const std::filesystem::path folder = converted_folder(cache_folder);
  const std::filesystem::path path =
      folder / (model.digest.hex().substr(0, 32) + "." + std::string(gguf::name_of(type)) + ".gguf");
  if (std::error_code error; std::filesystem::is_regular_file(path, error)) return path;
  RETORT_TRY(make_folder(folder));
  RETORT_TRY(gguf::convert(model.file, type, path));
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
