// Writes GGUF version 3 files: atomically, one tensor in memory at a time.
//
// The Writer owns its metadata and the functions that give the values; what those functions refer to must live until
// write() returns. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "gguf/file.h"
#include "gguf/metadata.h"
#include "gguf/tensor_type.h"

namespace retort::gguf {

class Writer {
 public:
  using Values = std::function<Result<std::vector<float>>()>;
  using Bytes = std::function<Result<std::span<const std::byte>>()>;

  explicit Writer(Metadata metadata) : metadata_(std::move(metadata)) {}

  // A tensor that is quantised to `type` while it is written. `shape` is in ggml's order; the values are rows of
  // shape[0]. A type that doesn't fit shape[0] is an error of write(): ask fitting_type() first.
  void add(std::string name, std::vector<std::int64_t> shape, TensorType type, Values values);
  // A tensor that is copied as it is; the span must hold exactly the bytes of shape and type.
  void add_bytes(std::string name, std::vector<std::int64_t> shape, TensorType type, Bytes bytes);

  // Error: kCaller for duplicate or over-long (63 bytes) names, shapes that don't fit, values of another count, NaN or
  // infinity among the values; kWorld for the disk. Nothing is left behind on error.
  Result<void> write(const std::filesystem::path& target) const;

 private:
  struct Tensor {
    std::string name;
    std::vector<std::int64_t> shape;
    TensorType type;
    Values values;
    Bytes bytes;
  };
  Metadata metadata_;
  std::vector<Tensor> tensors_;
};

// The number llama.cpp's tools give to "mostly this type" in general.file_type (llama.h, enum llama_ftype).
std::uint32_t file_type_number(TensorType type);

// The type in which a model's tensor is stored when a file of type `wanted` is asked for: F32 for vectors (as llama.cpp
// needs them), Q8_0 for embedding and head when `wanted` has fewer than 8 bits (they decide most of the error, and
// llama.cpp's own tool keeps them finer too), else fitting_type().
TensorType stored_type(std::string_view name, std::span<const std::int64_t> shape, TensorType wanted);

// Writes `file` again, each tensor in its stored_type(). Metadata is kept; general.file_type and
// general.quantization_version are set. From a quantised file this doesn't bring back what quantisation lost.
Result<void> convert(const File& file, TensorType type, const std::filesystem::path& target);

}  // namespace retort::gguf
