// The element types of GGUF tensors: ggml's numbers and names, block sizes, conversion from and to float.
//
// A quantised type stores a row in blocks of block_length() values; a row whose length isn't a multiple of it can't be
// stored in that type. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace retort::gguf {

// The numbers are the file format's (ggml.h, enum ggml_type). Numbers that were withdrawn are not here: a file that
// uses them is refused.
// NOLINTBEGIN(readability-identifier-naming): the format's own names
enum class TensorType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
};
// NOLINTEND(readability-identifier-naming)

// "F32", "Q4_1", "Q4_K": as people write them.
std::string_view name_of(TensorType type);
// Upper or lower case. Error: lists the names known.
Result<TensorType> tensor_type_from_name(std::string_view name);
// Error: the number isn't one of the above.
Result<TensorType> tensor_type_from_number(std::uint32_t number);

// Values per block (1 for plain types), and the bytes one block takes.
std::int64_t block_length(TensorType type);
std::size_t block_bytes(TensorType type);
bool is_quantised(TensorType type);
// Bytes of a row. `row_length` must be a multiple of block_length().
std::size_t row_bytes(TensorType type, std::int64_t row_length);

// Whether floats can be turned into this type here: F32, F16, BF16 and the quantised types that need no importance
// matrix.
bool can_quantise_to(TensorType type);

// The type in which a row of this length is stored when `wanted` is asked for: `wanted` itself when the row divides by
// its block; else Q8_0 (blocks of 32) for the types with blocks of 256; else F16.
TensorType fitting_type(TensorType wanted, std::int64_t row_length);

// Rows of `row_length` floats to bytes. Error (kCaller): the row doesn't divide by the block, the type can't be made
// here, or the values aren't whole rows.
Result<std::vector<std::byte>> quantise(std::span<const float> values, std::int64_t row_length, TensorType type);

// Bytes to floats: the bytes are whole rows of `row_length`. Error: integer types, or the size doesn't fit.
Result<std::vector<float>> dequantise(std::span<const std::byte> bytes, std::int64_t row_length, TensorType type);

}  // namespace retort::gguf
