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

// The teacher's file in its types, where it is at hand.
class TeacherFiles {
 public:
  explicit TeacherFiles(const StageContext& context)
      : context_(context), local_(context.local), own_type_(local_.file.file_type_name()) {}

  // The file as given, and what everything is compared with.
  Result<void> add_itself(MeasuredModels& models) const {
    models.teacher = MeasuredModel{"teacher", local_.file.path(), own_type_, local_.config.layers};
    if (is_its_own_reference(local_)) {
      models.reference = models.teacher;
    } else {
      RETORT_ASSIGN(models.reference, in(gguf::TensorType::kF16));
    }
    return {};
  }

  Result<void> add_in_types(const std::vector<std::string>& types, MeasuredModels& models) const {
    for (const std::string& type_name : types) {
      if (type_name == own_type_) continue;
      RETORT_ASSIGN(const gguf::TensorType type, gguf::tensor_type_from_name(type_name));
      RETORT_ASSIGN(MeasuredModel model, in(type));
      models.others.push_back(std::move(model));
    }
    return {};
  }

  // The teacher quantised to about the student's size. `types`: those that are there already.
  Result<void> add_rival(const std::vector<std::string>& types, MeasuredModels& models) const {
    std::error_code error;
    const std::uint64_t size = std::filesystem::file_size(models.student.path, error);
    if (error) {
      return world_error("The size of '" + models.student.path.string() + "' can't be read: " + error.message());
    }
    // The file as given, run as it is: quantised activations cost it something too. Else the type nearest in size; one
    // larger than the file as given would hold nothing more.
    std::string nearest = own_type_;
    std::uint64_t nearest_size = local_.file.size_bytes();
    for (const gguf::TensorType type : kRivalTypes) {
      const std::uint64_t type_size = size_in_type(local_.file, type);
      if (type_size >= local_.file.size_bytes() || distance(type_size, size) >= distance(nearest_size, size)) continue;
      nearest = gguf::name_of(type);
      nearest_size = type_size;
    }
    const bool as_given = nearest == own_type_;
    const bool there = as_given ? models.reference->path == models.teacher->path
                                : std::find(types.begin(), types.end(), nearest) != types.end();
    if (there) return {};
    RETORT_ASSIGN(const gguf::TensorType type, gguf::tensor_type_from_name(nearest));
    RETORT_ASSIGN(MeasuredModel model, in(type));
    if (as_given) model.name = "teacher " + own_type_ + ", as given";
    models.others.push_back(std::move(model));
    return {};
  }

 private:
  Result<MeasuredModel> in(gguf::TensorType type) const {
    const std::string type_name(gguf::name_of(type));
    std::filesystem::path path = local_.file.path();
    if (type_name != own_type_) {
      RETORT_ASSIGN(path, converted_copy(local_, type, context_.cache_folder));
    }
    return MeasuredModel{"teacher " + type_name, path, type_name, local_.config.layers};
  }

  const StageContext& context_;
  const LocalModel& local_;
  std::string own_type_;
};

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
  const TeacherFiles teacher(context);
  MeasuredModels models;
  if (context.teacher.at_hand) RETORT_TRY(teacher.add_itself(models));

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
  if (!context.teacher.at_hand) return models;
  RETORT_TRY(teacher.add_in_types(types, models));
  if (rival) RETORT_TRY(teacher.add_rival(types, models));
  return models;
}

}  // namespace retort::pipeline
