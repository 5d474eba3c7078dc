#include "pipeline/measured_models.h"

#include <algorithm>
#include <cstdlib>

#include "pipeline/run_files.h"

namespace retort::pipeline {
namespace {

// Types a teacher is commonly shipped in, largest first.
constexpr gguf::TensorType kRivalTypes[] = {gguf::TensorType::kQ8_0, gguf::TensorType::kQ5_1, gguf::TensorType::kQ5_0,
                                            gguf::TensorType::kQ4_1, gguf::TensorType::kQ4_0};

std::uint64_t distance(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : b - a; }

}  // namespace

Result<std::vector<ExportedFile>> read_exported_files(const RunFolder& folder) {
  RETORT_ASSIGN(const Json json, read_json(folder, kExportFile));
  RETORT_ASSIGN(const Json models, member<Json>(json, "models", kExportFile));
  std::vector<ExportedFile> files;
  for (const Json& entry : models) {
    ExportedFile file;
    RETORT_ASSIGN(file.role, member<std::string>(entry, "role", kExportFile));
    RETORT_ASSIGN(file.type, member<std::string>(entry, "type", kExportFile));
    RETORT_ASSIGN(file.path, member<std::string>(entry, "file", kExportFile));
    RETORT_ASSIGN(file.shipped, member<bool>(entry, "shipped", kExportFile));
    files.push_back(std::move(file));
  }
  return files;
}

Result<MeasuredModels> measured_models(const StageContext& context, bool rival) {
  const Teacher& teacher = context.teacher;
  const std::int64_t teacher_layers = teacher.config.layers;
  const std::string own_type = teacher.file.file_type_name();
  const auto teacher_in = [&](gguf::TensorType type) -> Result<MeasuredModel> {
    const std::string type_name(gguf::name_of(type));
    if (type_name == own_type)
      return MeasuredModel{"teacher " + type_name, teacher.file.path(), type_name, teacher_layers};
    RETORT_ASSIGN(const std::filesystem::path path,
                  converted_copy(teacher.file, teacher.digest, type, context.cache_folder));
    return MeasuredModel{"teacher " + type_name, path, type_name, teacher_layers};
  };

  MeasuredModels models;
  models.teacher = {"teacher", teacher.file.path(), own_type, teacher_layers};
  // A file of full precision is its own reference.
  if (own_type == "F32" || own_type == "F16" || own_type == "BF16") {
    models.reference = models.teacher;
  } else {
    RETORT_ASSIGN(models.reference, teacher_in(gguf::TensorType::kF16));
  }

  RETORT_ASSIGN(const std::vector<ExportedFile> files, read_exported_files(context.folder));
  RETORT_ASSIGN(const std::vector<std::int64_t> layers, read_kept_layers(context.folder));
  const auto student_layers = static_cast<std::int64_t>(layers.size());
  std::vector<std::string> types;
  for (const ExportedFile& file : files) {
    MeasuredModel model{file.role, context.folder.of(file.path), file.type, student_layers};
    if (file.role == "before") {
      models.before = std::move(model);
    } else if (file.shipped) {
      models.student = std::move(model);
      types.push_back(file.type);
    } else {
      model.name = "student " + file.type;
      models.others.push_back(std::move(model));
      types.push_back(file.type);
    }
  }
  if (models.student.path.empty() || models.before.path.empty()) {
    return caller_error("export/files.json names no shipped student and untrained cut. Run the same command again.");
  }
  for (const std::string& type_name : types) {
    if (type_name == own_type) continue;
    RETORT_ASSIGN(const gguf::TensorType type, gguf::tensor_type_from_name(type_name));
    RETORT_ASSIGN(MeasuredModel model, teacher_in(type));
    models.others.push_back(std::move(model));
  }
  if (rival) {
    std::error_code error;
    const std::uint64_t size = std::filesystem::file_size(models.student.path, error);
    if (error)
      return world_error("The size of '" + models.student.path.string() + "' can't be read: " + error.message());
    // The file as given, run as it is: quantised activations cost it something too. Else the type nearest in size; one
    // larger than the file as given would hold nothing more.
    std::string nearest = own_type;
    std::uint64_t nearest_size = teacher.file.size_bytes();
    for (const gguf::TensorType type : kRivalTypes) {
      const std::uint64_t type_size = size_in_type(teacher.file, type);
      if (type_size >= teacher.file.size_bytes() || distance(type_size, size) >= distance(nearest_size, size)) continue;
      nearest = gguf::name_of(type);
      nearest_size = type_size;
    }
    const bool as_given = nearest == own_type;
    const bool there = as_given ? models.reference.path == models.teacher.path
                                : std::find(types.begin(), types.end(), nearest) != types.end();
    if (!there) {
      RETORT_ASSIGN(const gguf::TensorType type, gguf::tensor_type_from_name(nearest));
      RETORT_ASSIGN(MeasuredModel model, teacher_in(type));
      if (as_given) model.name = "teacher " + own_type + ", as given";
      models.others.push_back(std::move(model));
    }
  }
  return models;
}

}  // namespace retort::pipeline
