#include "pipeline/student_base.h"

#include <map>
#include <string>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "catalogue/catalogue.h"
#include "exporter/student_file.h"
#include "model/hugging_face.h"
#include "pipeline/student_start.h"
#include "tokens/tokenizer.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

// Of what the made file depends on.
Result<std::string> key_of(const fs::path& folder, const fs::path& vocabulary) {
  Json files = Json::object();
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".safetensors") && !name.ends_with(".json")) continue;
    RETORT_ASSIGN(const Digest digest, sha256_file(entry.path()));
    files[name] = digest.hex();
  }
  if (error) return caller_error("'" + folder.string() + "' (student.from) can't be listed (" + error.message() + ").");
  RETORT_ASSIGN(const Digest digest, sha256_file(vocabulary));
  return sha256(canonical_json({{"version", 1}, {"folder", files}, {"vocabulary", digest.hex()}})).hex().substr(0, 32);
}

// "SmolLM2-135M" of "models/SmolLM2-135M/".
std::string name_of(const fs::path& folder) {
  const fs::path whole = fs::absolute(folder).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

}  // namespace

Result<LocalModel> open_student_base(const StudentOptions& options, const fs::path& cache_folder) {
  const fs::path folder = options.from;
  if (std::error_code error; !fs::is_directory(folder, error)) {
    if (options.vocabulary.empty()) return open_local_model(options.from, cache_folder);
    return caller_error("student.vocabulary is '" + options.vocabulary + "', but '" + options.from +
                        "' (student.from) isn't a folder and has its own tokenizer; expected it to be left out.");
  }
  if (options.vocabulary.empty()) {
    return caller_error("'" + options.from +
                        "' (student.from) is a folder, and of a student whose teacher gives its text alone tokenizer "
                        "and chat template are read from a GGUF file. Name one of the same family as "
                        "student.vocabulary, or give that model as a GGUF file; llama.cpp's convert_hf_to_gguf.py "
                        "makes one of a folder.");
  }
  RETORT_ASSIGN(const fs::path vocabulary, catalogue::find_model(options.vocabulary, cache_folder));
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(vocabulary));
  RETORT_ASSIGN(const model::HuggingFaceFolder opened, model::HuggingFaceFolder::open(folder));
  RETORT_ASSIGN(const tokens::Tokenizer tokenizer, tokens::Tokenizer::load(file));
  RETORT_TRY(check_same_tokenizer(opened, file, tokenizer));
  RETORT_ASSIGN(const std::string key, key_of(folder, vocabulary));
  const std::string name = name_of(folder);
  const fs::path made = converted_folder(cache_folder) / (name + "." + key + ".gguf");
  if (!is_there(made)) {
    RETORT_TRY(make_folder(made.parent_path()));
    RETORT_ASSIGN(const exporter::Student weights, exporter::student_from_hugging_face(folder));
    RETORT_TRY(exporter::write_with_vocabulary(file, weights, name, made));
  }
  return open_local_model(made.string(), cache_folder);
}

}  // namespace retort::pipeline
