// The student as a GGUF file: FP32 masters in, F16 or quantised out, with the teacher's tokenizer and template, the
// student's hyper-parameters, and with licence, base model, lineage and recipe in its metadata
// (docs/formats/gguf-metadata.md).
//
// No libtorch is needed. One thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "exporter/lineage.h"
#include "gguf/file.h"
#include "gguf/tensor_type.h"
#include "model/decoder_config.h"

namespace retort::exporter {

// A student's weights: tensors in GGUF's names with rows half-split, as model::Decoder and checkpoints have them.
struct Student {
  model::DecoderConfig config;
  // The values of one tensor of model::tensor_names(config), row by row.
  std::function<Result<std::vector<float>>(const std::string& name)> values;
};

// The weights of a checkpoint (docs/formats/checkpoint.md), read as they are asked for.
// Error (kCaller): missing, damaged, or not weights of ours.
Result<Student> student_from_checkpoint(const std::filesystem::path& path);

// The untrained cut: the teacher's own weights, only `layers` (ascending). `teacher` must outlive it.
Result<Student> student_from_teacher(const gguf::File& teacher, const std::vector<std::int64_t>& layers);

// A Hugging Face folder (docs/formats/huggingface.md). Error (kCaller): see model::HuggingFaceFolder.
Result<Student> student_from_hugging_face(const std::filesystem::path& folder);

// The student's masters as a Hugging Face folder, with the fingerprint of its tokenizer and the lineage noted in
// config.json. Error: kCaller for a shape or rotation that config.json can't say, kWorld for the disk.
Result<void> write_hugging_face_folder(const Student& student, const Lineage& lineage,
                                       const std::filesystem::path& folder);

// What beside the weights goes into the file.
struct StudentMetadata {
  Lineage lineage;
  std::string recipe_yaml;  // effective
};

// Every tensor in its gguf::stored_type(); query and key rows
// permuted back for llama.cpp's interleaved rotation; no output.weight when the head is tied; rope_freqs kept.
// Atomic. Error: kCaller when the student's vocabulary isn't as large as the teacher's or a weight isn't finite, kWorld
// for the disk.
Result<void> write_student(const gguf::File& teacher, const Student& student, const StudentMetadata& metadata,
                           gguf::TensorType type, const std::filesystem::path& target);

// A model's file made of weights and another file's vocabulary and chat template: every tensor F32, nothing said of
// licence or lineage. Atomic. Errors as write_student().
Result<void> write_with_vocabulary(const gguf::File& vocabulary, const Student& weights, const std::string& name,
                                   const std::filesystem::path& target);

}  // namespace retort::exporter
