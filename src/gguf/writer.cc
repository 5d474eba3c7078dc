#include "gguf/writer.h"

#include <llama.h>

#include <cmath>
#include <cstring>
#include <set>
#include <span>
#include <utility>

#include "base/files.h"

namespace retort::gguf {
namespace {

constexpr std::uint64_t kAlignment = 32;

template <class T>
constexpr std::uint32_t type_number() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return 0;
  if constexpr (std::is_same_v<T, std::int8_t>) return 1;
  if constexpr (std::is_same_v<T, std::uint16_t>) return 2;
  if constexpr (std::is_same_v<T, std::int16_t>) return 3;
  if constexpr (std::is_same_v<T, std::uint32_t>) return 4;
  if constexpr (std::is_same_v<T, std::int32_t>) return 5;
  if constexpr (std::is_same_v<T, float>) return 6;
  if constexpr (std::is_same_v<T, bool>) return 7;
  if constexpr (std::is_same_v<T, std::string>) return 8;
  if constexpr (std::is_same_v<T, std::uint64_t>) return 10;
  if constexpr (std::is_same_v<T, std::int64_t>) return 11;
  if constexpr (std::is_same_v<T, double>) return 12;
}

template <class T>
void append(std::string& out, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    append<std::uint64_t>(out, value.size());
    out += value;
  } else if constexpr (std::is_same_v<T, bool>) {
    out += static_cast<char>(value ? 1 : 0);
  } else {
    out.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
}

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

void append_value(std::string& out, const Value& value) {
  std::visit(
      [&](const auto& held) {
        using T = std::decay_t<decltype(held)>;
        if constexpr (kIsVector<T>) {
          using Element = typename T::value_type;
          append<std::uint32_t>(out, 9);
          append<std::uint32_t>(out, type_number<Element>());
          append<std::uint64_t>(out, held.size());
          for (const Element& element : held) append<Element>(out, element);
        } else {
          append<std::uint32_t>(out, type_number<T>());
          append<T>(out, held);
        }
      },
      value);
}

Result<void> check_values(std::span<const float> values, std::int64_t elements, TensorType type) {
  if (static_cast<std::int64_t>(values.size()) != elements) {
    return caller_error("Its values are " + std::to_string(values.size()) + "; its shape needs " +
                        std::to_string(elements) + ".");
  }
  // F16 ends at 65504; so do the block scales of the quantised types.
  const float limit = type == TensorType::kF32 || type == TensorType::kBF16 ? INFINITY : 65504.0F;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i]) && std::fabs(values[i]) <= limit) continue;
    return caller_error("Its value " + std::to_string(i) + " is " + std::to_string(values[i]) +
                        ", which can't be stored as " + std::string(name_of(type)) +
                        ". The weights are damaged, or training diverged.");
  }
  return {};
}

}  // namespace

void Writer::add(std::string name, std::vector<std::int64_t> shape, TensorType type, Values values) {
  tensors_.push_back({std::move(name), std::move(shape), type, std::move(values), nullptr});
}

void Writer::add_bytes(std::string name, std::vector<std::int64_t> shape, TensorType type, Bytes bytes) {
  tensors_.push_back({std::move(name), std::move(shape), type, nullptr, std::move(bytes)});
}

Result<void> Writer::write(const std::filesystem::path& target) const {
  const std::string where = target.string();
  Metadata metadata = metadata_;
  metadata.remove("general.alignment");  // the default, 32, is what is written
  std::string header = "GGUF";
  append<std::uint32_t>(header, 3);
  append<std::uint64_t>(header, tensors_.size());
  append<std::uint64_t>(header, metadata.entries().size());
  for (const auto& [key, value] : metadata.entries()) {
    append<std::string>(header, key);
    append_value(header, value);
  }
  std::set<std::string_view> names;
  std::uint64_t offset = 0;
  std::vector<TensorInfo> infos;
  for (const Tensor& tensor : tensors_) {
    TensorInfo info{tensor.name, tensor.type, tensor.shape, offset, 0};
    if (tensor.name.empty() || tensor.name.size() > 63 || !names.insert(tensor.name).second) {
      return caller_error(where + ": the tensor name '" + tensor.name +
                          "' is empty, longer than 63 bytes or used twice.");
    }
    bool shape_ok = !tensor.shape.empty() && tensor.shape.size() <= 4;
    for (const std::int64_t length : tensor.shape) shape_ok = shape_ok && length > 0;
    if (!shape_ok || info.row_length() % block_length(tensor.type) != 0) {
      return caller_error(where + ": the tensor '" + tensor.name + "' has a shape that can't be stored as " +
                          std::string(name_of(tensor.type)) + " (rows must divide by " +
                          std::to_string(block_length(tensor.type)) + ").");
    }
    info.size_bytes = row_bytes(tensor.type, info.row_length()) * static_cast<std::uint64_t>(info.rows());
    append<std::string>(header, info.name);
    append<std::uint32_t>(header, static_cast<std::uint32_t>(info.shape.size()));
    for (const std::int64_t length : info.shape) append<std::uint64_t>(header, static_cast<std::uint64_t>(length));
    append<std::uint32_t>(header, static_cast<std::uint32_t>(info.type));
    append<std::uint64_t>(header, info.offset);
    offset += (info.size_bytes + kAlignment - 1) / kAlignment * kAlignment;
    infos.push_back(std::move(info));
  }

  RETORT_ASSIGN(AtomicFile file, AtomicFile::create(target));
  RETORT_TRY(file.write(header));
  const std::string zeros(kAlignment, '\0');
  const auto pad = [&]() -> Result<void> {
    const std::uint64_t over = file.size() % kAlignment;
    if (over == 0) return {};
    return file.write(std::string_view(zeros).substr(over));
  };
  RETORT_TRY(pad());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = tensors_[i];
    const std::string what = where + ": tensor '" + tensor.name + "'";
    if (tensor.bytes) {
      auto bytes = tensor.bytes();
      if (!bytes) return with_context(bytes.error(), what);
      if (bytes->size() != infos[i].size_bytes) {
        return caller_error(what + ": its bytes are " + std::to_string(bytes->size()) + "; its shape and type need " +
                            std::to_string(infos[i].size_bytes) + ".");
      }
      RETORT_TRY(file.write(*bytes));
    } else {
      auto values = tensor.values();
      if (!values) return with_context(values.error(), what);
      const auto checked = check_values(*values, infos[i].elements(), tensor.type);
      if (!checked) return with_context(checked.error(), what);
      auto bytes = quantise(*values, infos[i].row_length(), tensor.type);
      if (!bytes) return with_context(bytes.error(), what);
      RETORT_TRY(file.write(std::span<const std::byte>(*bytes)));
    }
    RETORT_TRY(pad());
  }
  return file.commit();
}

std::uint32_t file_type_number(TensorType type) {
  switch (type) {
    case TensorType::kF32: return LLAMA_FTYPE_ALL_F32;
    case TensorType::kF16: return LLAMA_FTYPE_MOSTLY_F16;
    case TensorType::kBF16: return LLAMA_FTYPE_MOSTLY_BF16;
    case TensorType::kQ4_0: return LLAMA_FTYPE_MOSTLY_Q4_0;
    case TensorType::kQ4_1: return LLAMA_FTYPE_MOSTLY_Q4_1;
    case TensorType::kQ5_0: return LLAMA_FTYPE_MOSTLY_Q5_0;
    case TensorType::kQ5_1: return LLAMA_FTYPE_MOSTLY_Q5_1;
    case TensorType::kQ8_0: return LLAMA_FTYPE_MOSTLY_Q8_0;
    case TensorType::kQ2_K: return LLAMA_FTYPE_MOSTLY_Q2_K;
    case TensorType::kQ3_K: return LLAMA_FTYPE_MOSTLY_Q3_K_M;
    case TensorType::kQ4_K: return LLAMA_FTYPE_MOSTLY_Q4_K_M;
    case TensorType::kQ5_K: return LLAMA_FTYPE_MOSTLY_Q5_K_M;
    case TensorType::kQ6_K: return LLAMA_FTYPE_MOSTLY_Q6_K;
    case TensorType::kIQ4_NL: return LLAMA_FTYPE_MOSTLY_IQ4_NL;
    case TensorType::kIQ4_XS: return LLAMA_FTYPE_MOSTLY_IQ4_XS;
    case TensorType::kIQ3_S: return LLAMA_FTYPE_MOSTLY_IQ3_S;
    case TensorType::kIQ3_XXS: return LLAMA_FTYPE_MOSTLY_IQ3_XXS;
    case TensorType::kIQ2_S: return LLAMA_FTYPE_MOSTLY_IQ2_S;
    default: return LLAMA_FTYPE_GUESSED;
  }
}

TensorType stored_type(std::string_view name, std::span<const std::int64_t> shape, TensorType wanted) {
  if (shape.size() < 2) return TensorType::kF32;
  const bool coarse = block_bytes(wanted) < static_cast<std::size_t>(block_length(wanted));
  const bool outer = name == "token_embd.weight" || name == "output.weight";
  return fitting_type(coarse && outer ? TensorType::kQ8_0 : wanted, shape.front());
}

Result<void> convert(const File& file, TensorType type, const std::filesystem::path& target) {
  if (!can_quantise_to(type)) {
    return caller_error("A model can't be written as " + std::string(name_of(type)) +
                        " here: the type needs an importance matrix or isn't for weights. Use F16, Q8_0 or Q4_0.");
  }
  Metadata metadata = file.metadata();
  metadata.set("general.file_type", file_type_number(type));
  metadata.set("general.quantization_version", std::uint32_t{GGML_QNT_VERSION});
  Writer writer(std::move(metadata));
  for (const TensorInfo& tensor : file.tensors()) {
    const TensorType stored = stored_type(tensor.name, tensor.shape, type);
    if (stored == tensor.type) {
      writer.add_bytes(tensor.name, tensor.shape, stored,
                       [&file, &tensor]() -> Result<std::span<const std::byte>> { return file.bytes(tensor); });
    } else {
      writer.add(tensor.name, tensor.shape, stored, [&file, &tensor] { return file.floats(tensor); });
    }
  }
  return writer.write(target);
}

}  // namespace retort::gguf
