#include "gguf/tensor_type.h"

#include <ggml.h>

#include <array>
#include <cstring>

#include "base/text.h"

namespace retort::gguf {
namespace {

struct Named {
  TensorType type;
  std::string_view name;
};

constexpr std::array kTypes = {
    Named{TensorType::kF32, "F32"},         Named{TensorType::kF16, "F16"},
    Named{TensorType::kQ4_0, "Q4_0"},       Named{TensorType::kQ4_1, "Q4_1"},
    Named{TensorType::kQ5_0, "Q5_0"},       Named{TensorType::kQ5_1, "Q5_1"},
    Named{TensorType::kQ8_0, "Q8_0"},       Named{TensorType::kQ2_K, "Q2_K"},
    Named{TensorType::kQ3_K, "Q3_K"},       Named{TensorType::kQ4_K, "Q4_K"},
    Named{TensorType::kQ5_K, "Q5_K"},       Named{TensorType::kQ6_K, "Q6_K"},
    Named{TensorType::kIQ2_XXS, "IQ2_XXS"}, Named{TensorType::kIQ2_XS, "IQ2_XS"},
    Named{TensorType::kIQ3_XXS, "IQ3_XXS"}, Named{TensorType::kIQ1_S, "IQ1_S"},
    Named{TensorType::kIQ4_NL, "IQ4_NL"},   Named{TensorType::kIQ3_S, "IQ3_S"},
    Named{TensorType::kIQ2_S, "IQ2_S"},     Named{TensorType::kIQ4_XS, "IQ4_XS"},
    Named{TensorType::kI8, "I8"},           Named{TensorType::kI16, "I16"},
    Named{TensorType::kI32, "I32"},         Named{TensorType::kI64, "I64"},
    Named{TensorType::kF64, "F64"},         Named{TensorType::kIQ1_M, "IQ1_M"},
    Named{TensorType::kBF16, "BF16"},       Named{TensorType::kTQ1_0, "TQ1_0"},
    Named{TensorType::kTQ2_0, "TQ2_0"},     Named{TensorType::kMXFP4, "MXFP4"},
};

const ggml_type_traits& traits(TensorType type) { return *ggml_get_type_traits(static_cast<ggml_type>(type)); }

}  // namespace

std::string_view name_of(TensorType type) {
  for (const Named& named : kTypes) {
    if (named.type == type) return named.name;
  }
  return "unknown";
}

Result<TensorType> tensor_type_from_name(std::string_view name) {
  const std::string wanted = to_lower_ascii(name);
  std::string known;
  for (const Named& named : kTypes) {
    if (to_lower_ascii(named.name) == wanted) return named.type;
    if (can_quantise_to(named.type)) known += (known.empty() ? "" : ", ") + std::string(named.name);
  }
  return caller_error("The tensor type '" + std::string(name) + "' isn't known. Types that can be written: " + known +
                      ".");
}

Result<TensorType> tensor_type_from_number(std::uint32_t number) {
  for (const Named& named : kTypes) {
    if (static_cast<std::uint32_t>(named.type) == number) return named.type;
  }
  return caller_error("The tensor type number " + std::to_string(number) +
                      " isn't known to this version: it was withdrawn, or is newer. Convert the file to F16 or Q8_0 "
                      "with the tool that made it.");
}

std::int64_t block_length(TensorType type) { return traits(type).blck_size; }
std::size_t block_bytes(TensorType type) { return traits(type).type_size; }
bool is_quantised(TensorType type) { return traits(type).is_quantized; }

std::size_t row_bytes(TensorType type, std::int64_t row_length) {
  RETORT_CHECK(row_length >= 0 && row_length % block_length(type) == 0);
  return static_cast<std::size_t>(row_length / block_length(type)) * block_bytes(type);
}

bool can_quantise_to(TensorType type) {
  switch (type) {
    case TensorType::kF32:
    case TensorType::kF16:
    case TensorType::kBF16: return true;
    default:
      // MXFP4 and the ternary types are for models trained that way.
      return is_quantised(type) && traits(type).from_float_ref != nullptr && type != TensorType::kMXFP4 &&
             type != TensorType::kTQ1_0 && type != TensorType::kTQ2_0 &&
             !ggml_quantize_requires_imatrix(static_cast<ggml_type>(type));
  }
}

TensorType fitting_type(TensorType wanted, std::int64_t row_length) {
  if (row_length % block_length(wanted) == 0) return wanted;
  if (block_length(wanted) > block_length(TensorType::kQ8_0) && row_length % block_length(TensorType::kQ8_0) == 0) {
    return TensorType::kQ8_0;
  }
  return TensorType::kF16;
}

Result<std::vector<std::byte>> quantise(std::span<const float> values, std::int64_t row_length, TensorType type) {
  if (!can_quantise_to(type)) {
    return caller_error("Weights can't be written as " + std::string(name_of(type)) +
                        " here: the type needs an importance matrix or isn't for weights. Use Q8_0, Q4_0 or F16.");
  }
  if (row_length <= 0 || row_length % block_length(type) != 0) {
    return caller_error("Rows of " + std::to_string(row_length) + " values can't be stored as " +
                        std::string(name_of(type)) + ", whose blocks hold " + std::to_string(block_length(type)) +
                        ". Use Q8_0 or F16.");
  }
  if (values.size() % static_cast<std::size_t>(row_length) != 0) {
    return caller_error(std::to_string(values.size()) + " values aren't whole rows of " + std::to_string(row_length) +
                        ".");
  }
  const auto rows = static_cast<std::int64_t>(values.size()) / row_length;
  std::vector<std::byte> bytes(row_bytes(type, row_length) * static_cast<std::size_t>(rows));
  if (bytes.empty()) return bytes;
  const std::size_t written =
      ggml_quantize_chunk(static_cast<ggml_type>(type), values.data(), bytes.data(), 0, rows, row_length, nullptr);
  RETORT_CHECK(written == bytes.size());
  return bytes;
}

Result<std::vector<float>> dequantise(std::span<const std::byte> bytes, std::int64_t row_length, TensorType type) {
  if (row_length <= 0 || row_length % block_length(type) != 0 || bytes.size() % row_bytes(type, row_length) != 0) {
    return caller_error(std::to_string(bytes.size()) + " bytes aren't whole rows of " + std::to_string(row_length) +
                        " values of type " + std::string(name_of(type)) + ".");
  }
  const std::size_t rows = bytes.size() / row_bytes(type, row_length);
  std::vector<float> values(rows * static_cast<std::size_t>(row_length));
  if (values.empty()) return values;
  if (type == TensorType::kF32) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  if (type == TensorType::kF64) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      double wide = 0;
      std::memcpy(&wide, bytes.data() + i * sizeof(wide), sizeof(wide));
      values[i] = static_cast<float>(wide);
    }
    return values;
  }
  const auto to_float = traits(type).to_float;
  if (to_float == nullptr) {
    return caller_error("A tensor of type " + std::string(name_of(type)) + " holds no floating-point weights.");
  }
  to_float(bytes.data(), values.data(), static_cast<std::int64_t>(values.size()));
  return values;
}

}  // namespace retort::gguf
