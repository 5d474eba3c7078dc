// A GGUF file, mapped and wholly checked.
//
// File::open() is the only door: magic, version (2 or 3), counts, lengths, key names, types, alignment, duplicate names
// and the place of every tensor inside the file are checked before anything is used, so a hostile or damaged file is
// refused with a sentence and nothing of it reaches llama.cpp, which would abort. Values of weights are checked by
// check_finite(), which reads the whole file.
//
// The File owns the map; spans and pointers it hands out live as long as it does (moving it keeps them valid). Const
// functions may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "gguf/metadata.h"
#include "gguf/tensor_type.h"

namespace retort::gguf {

struct TensorInfo {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<std::int64_t> shape;  // ggml's order: shape[0] is the row length, the fastest; 1 to 4 numbers
  std::uint64_t offset = 0;         // from the start of the file
  std::uint64_t size_bytes = 0;

  std::int64_t elements() const;
  std::int64_t row_length() const { return shape.empty() ? 0 : shape.front(); }
  std::int64_t rows() const;
};

class File {
 public:
  // Error: kCaller when the file is missing, isn't GGUF, is truncated or broken; kWorld when it can't be read.
  static Result<File> open(const std::filesystem::path& path);

  const Metadata& metadata() const { return metadata_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  // nullptr when absent.
  const TensorInfo* find(std::string_view name) const;
  // The tensor as stored. `tensor` must be one of this file's.
  std::span<const std::byte> bytes(const TensorInfo& tensor) const;
  // Dequantised, rows * row_length values. Error: an integer tensor.
  Result<std::vector<float>> floats(const TensorInfo& tensor) const;
  // Some of its rows only. first_row + rows must be <= tensor.rows().
  Result<std::vector<float>> floats(const TensorInfo& tensor, std::int64_t first_row, std::int64_t rows) const;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size_bytes() const { return map_.bytes().size(); }
  std::uint32_t version() const { return version_; }
  std::uint64_t alignment() const { return alignment_; }
  // "Q4_1", "F16", …: the type that holds most of the weights' bytes; "vocabulary" for a file without tensors.
  std::string file_type_name() const;
  // general.architecture. Error: the key is missing.
  Result<std::string> architecture() const { return metadata_.get<std::string>("general.architecture"); }
  // Error (kCaller): names the first tensor that holds a NaN or an infinity, and where. Reads every weight.
  Result<void> check_finite() const;

 private:
  explicit File(MappedFile map) : map_(std::move(map)) {}

  std::filesystem::path path_;
  MappedFile map_;
  std::uint32_t version_ = 0;
  std::uint64_t alignment_ = 32;
  Metadata metadata_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

}  // namespace retort::gguf
