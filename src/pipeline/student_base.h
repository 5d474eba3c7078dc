// The model that a student begins from where the teacher gives its text alone: a GGUF file, or a Hugging Face folder
// with the tokenizer and chat template of a GGUF file of its family (student.vocabulary).
//
// Of a folder a GGUF file is made in the cache, once for each content, in F32. One thread.
#pragma once

#include <filesystem>

#include "base/error.h"
#include "pipeline/local_model.h"
#include "pipeline/run_options.h"

namespace retort::pipeline {

// Errors (kCaller): as open_local_model() and model::HuggingFaceFolder::open(); a folder without a vocabulary, or of
// another one; a vocabulary for what isn't a folder.
Result<LocalModel> open_student_base(const StudentOptions& options, const std::filesystem::path& cache_folder);

}  // namespace retort::pipeline
