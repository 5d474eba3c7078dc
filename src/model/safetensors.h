// Safetensors files: a JSON header and aligned raw tensors (docs/formats/weights.md). No libtorch here, so that
// export and inspect can read checkpoints without it.
//
// The format (https://huggingface.co/docs/safetensors, "Format"): 8 bytes little-endian header length, the JSON header
// {"__metadata__": {string: string}, NAME: {"dtype", "shape", "data_offsets"}}, then the tensors. A reader maps the
// file, checks it whole on opening (lengths, overlaps, gaps, types, shapes) and refuses damage by a sentence; spans
// stay valid as long as the reader lives. A writer appears whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace retort::model {

// The types of this project's checkpoints; others are refused by name.
enum class StoredType { kF32, kBF16, kF16, kI64, kU8 };
std::string_view name_of(StoredType type);  // "F32", …
std::size_t size_bytes(StoredType type);

struct StoredTensor {
  std::string name;
  StoredType type = StoredType::kF32;
  std::vector<std::int64_t> shape;  // slowest dimension first
  std::uint64_t begin = 0;          // within the data part
  std::uint64_t end = 0;
};

class SafetensorsReader {
 public:
  // Error: kCaller for a file that is missing, truncated, damaged or of unsupported types.
  static Result<SafetensorsReader> open(const std::filesystem::path& path);

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // in file order
  const StoredTensor* find(std::string_view name) const;
  std::span<const std::byte> bytes(const StoredTensor& tensor) const;
  // The values as floats (F32, BF16, F16 only; else kCaller).
  Result<std::vector<float>> floats(const StoredTensor& tensor) const;

 private:
  explicit SafetensorsReader(MappedFile file) : file_(std::move(file)) {}
  MappedFile file_;
  std::uint64_t data_begin_ = 0;
  std::map<std::string, std::string> metadata_;
  std::vector<StoredTensor> tensors_;
};

class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(std::map<std::string, std::string> metadata) : metadata_(std::move(metadata)) {}
  // `bytes` are asked for while writing, one tensor after the other, and must have the size that type and shape say
  // until the next are asked for. An error ends the writing.
  using Bytes = std::function<Result<std::span<const std::byte>>()>;
  void add(std::string name, StoredType type, std::vector<std::int64_t> shape, Bytes bytes);
  // Error: what `bytes` say; kWorld (disk full, permission). The old file, if any, is untouched.
  Result<void> write(const std::filesystem::path& path) const;

 private:
  struct Item {
    StoredTensor tensor;
    Bytes bytes;
  };
  std::map<std::string, std::string> metadata_;
  std::vector<Item> items_;
};

}  // namespace retort::model
