#include "gguf/file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/text.h"

static_assert(std::endian::native == std::endian::little, "GGUF files are read by copying little-endian numbers.");

namespace retort::gguf {
namespace {

constexpr std::uint64_t kMaxKeyBytes = 65535;   // the format's own limit
constexpr std::uint64_t kMaxNameBytes = 63;     // ggml's tensor names end with a NUL in 64 bytes
constexpr std::uint64_t kMaxAlignment = 65536;  // the format asks for a multiple of 8; real files use 32
constexpr std::uint64_t kMinKeyEntryBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kMinTensorEntryBytes = 8 + 1 + 4 + 8 + 4 + 8;

// Type numbers of metadata values (GGUF specification, gguf_metadata_value_type).
enum ValueType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kFloat = 6,
  kBoolean = 7,
  kText = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kDouble = 12,
};

// Reads forward through the mapped bytes; every read is checked against the end.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint64_t place() const { return place_; }
  std::uint64_t left() const { return bytes_.size() - place_; }

  template <class T>
  Result<T> number(std::string_view what) {
    if (left() < sizeof(T)) return truncated(what);
    T value;
    std::memcpy(&value, bytes_.data() + place_, sizeof(T));
    place_ += sizeof(T);
    return value;
  }

  Result<std::string> text(std::string_view what) {
    RETORT_ASSIGN(const std::uint64_t length, number<std::uint64_t>(what));
    if (length > left()) {
      return caller_error("The file is truncated or corrupt: " + std::string(what) + " at byte " +
                          std::to_string(place_) + " claims " + std::to_string(length) + " bytes, but only " +
                          std::to_string(left()) + " are left in the file.");
    }
    std::string value(reinterpret_cast<const char*>(bytes_.data() + place_), length);
    place_ += length;
    return value;
  }

  Failure truncated(std::string_view what) const {
    return caller_error("The file is truncated: it ends at byte " + std::to_string(bytes_.size()) + " inside " +
                        std::string(what) + ". Fetch or copy it again.");
  }

 private:
  std::span<const std::byte> bytes_;
  std::uint64_t place_ = 0;
};

Result<bool> read_bool(Cursor& cursor, std::string_view what) {
  RETORT_ASSIGN(const std::uint8_t byte, cursor.number<std::uint8_t>(what));
  if (byte > 1) return caller_error("The file is corrupt: " + std::string(what) + " is neither true nor false.");
  return byte == 1;
}

template <class T>
Result<Value> read_scalar(Cursor& cursor, std::string_view what) {
  if constexpr (std::is_same_v<T, std::string>) {
    RETORT_ASSIGN(T value, cursor.text(what));
    return Value(std::move(value));
  } else if constexpr (std::is_same_v<T, bool>) {
    RETORT_ASSIGN(const bool value, read_bool(cursor, what));
    return Value(value);
  } else {
    RETORT_ASSIGN(const T value, cursor.number<T>(what));
    return Value(value);
  }
}

template <class T>
Result<Value> read_array(Cursor& cursor, std::uint64_t count, std::string_view what) {
  constexpr std::uint64_t kMinBytes = std::is_same_v<T, std::string> ? 8 : sizeof(T);
  if (count > cursor.left() / kMinBytes) {
    return caller_error("The file is truncated or corrupt: " + std::string(what) + " claims " + std::to_string(count) +
                        " elements, more than the rest of the file can hold.");
  }
  std::vector<T> values;
  values.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, std::string>) {
      RETORT_ASSIGN(T value, cursor.text(what));
      values.push_back(std::move(value));
    } else if constexpr (std::is_same_v<T, bool>) {
      RETORT_ASSIGN(const bool value, read_bool(cursor, what));
      values.push_back(value);
    } else {
      RETORT_ASSIGN(const T value, cursor.number<T>(what));
      values.push_back(value);
    }
  }
  return Value(std::move(values));
}

// Calls `read` with the C++ type of a value type number.
template <class Read>
Result<Value> with_type(std::uint32_t type, std::string_view what, Read read) {
  switch (type) {
    case kU8: return read.template operator()<std::uint8_t>();
    case kI8: return read.template operator()<std::int8_t>();
    case kU16: return read.template operator()<std::uint16_t>();
    case kI16: return read.template operator()<std::int16_t>();
    case kU32: return read.template operator()<std::uint32_t>();
    case kI32: return read.template operator()<std::int32_t>();
    case kFloat: return read.template operator()<float>();
    case kBoolean: return read.template operator()<bool>();
    case kText: return read.template operator()<std::string>();
    case kU64: return read.template operator()<std::uint64_t>();
    case kI64: return read.template operator()<std::int64_t>();
    case kDouble: return read.template operator()<double>();
    default:
      return caller_error("The file is corrupt: " + std::string(what) + " has the unknown type number " +
                          std::to_string(type) + ".");
  }
}

Result<Value> read_value(Cursor& cursor, std::string_view what) {
  RETORT_ASSIGN(const std::uint32_t type, cursor.number<std::uint32_t>(what));
  if (type != kArray) {
    return with_type(type, what, [&]<class T>() { return read_scalar<T>(cursor, what); });
  }
  RETORT_ASSIGN(const std::uint32_t element, cursor.number<std::uint32_t>(what));
  RETORT_ASSIGN(const std::uint64_t count, cursor.number<std::uint64_t>(what));
  if (element == kArray) {
    return caller_error("The file can't be used: " + std::string(what) +
                        " is an array of arrays, which isn't supported.");
  }
  return with_type(element, what, [&]<class T>() { return read_array<T>(cursor, count, what); });
}

// For sentences: a name from the file, made safe to print.
std::string shown(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, 80)) text += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return "'" + (is_valid_utf8(text) ? text : std::string("(not UTF-8)")) + "'";
}

Result<void> read_metadata(Cursor& cursor, std::uint64_t count, Metadata& metadata) {
  if (count > cursor.left() / kMinKeyEntryBytes) {
    return caller_error("The file is truncated or corrupt: it claims " + std::to_string(count) +
                        " metadata keys, more than its bytes can hold.");
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    RETORT_ASSIGN(std::string key, cursor.text("metadata key " + std::to_string(i + 1)));
    if (key.empty() || key.size() > kMaxKeyBytes || !is_valid_utf8(key) || key.find('\0') != std::string::npos) {
      return caller_error("The file is corrupt: metadata key " + std::to_string(i + 1) + " of " +
                          std::to_string(count) + " is empty, too long or not text.");
    }
    if (metadata.contains(key))
      return caller_error("The file is corrupt: the metadata key " + shown(key) + " stands twice.");
    const std::string what = "the value of metadata key " + shown(key);
    RETORT_ASSIGN(Value value, read_value(cursor, what));
    metadata.set(std::move(key), std::move(value));
  }
  return {};
}

Result<std::uint64_t> read_alignment(const Metadata& metadata) {
  if (!metadata.contains("general.alignment")) return std::uint64_t{32};
  RETORT_ASSIGN(const auto alignment, metadata.get<std::uint64_t>("general.alignment"));
  // llama.cpp insists on this very type.
  if (!std::holds_alternative<std::uint32_t>(*metadata.find_value("general.alignment")) || alignment < 8 ||
      alignment > kMaxAlignment || !std::has_single_bit(alignment)) {
    return caller_error("The file is corrupt: general.alignment is " + std::to_string(alignment) +
                        "; expected a power of two of type u32, from 8 to 65536.");
  }
  return alignment;
}

Result<TensorInfo> read_tensor_info(Cursor& cursor, std::uint64_t number) {
  const std::string ordinal = "tensor " + std::to_string(number);
  TensorInfo tensor;
  RETORT_ASSIGN(tensor.name, cursor.text("the name of " + ordinal));
  if (tensor.name.empty() || tensor.name.size() > kMaxNameBytes || !is_valid_utf8(tensor.name) ||
      tensor.name.find('\0') != std::string::npos) {
    return caller_error("The file is corrupt: the name of " + ordinal + " is empty, longer than 63 bytes or not text.");
  }
  const std::string what = "tensor " + shown(tensor.name);
  RETORT_ASSIGN(const std::uint32_t dimensions, cursor.number<std::uint32_t>(what));
  if (dimensions < 1 || dimensions > 4) {
    return caller_error("The file is corrupt: " + what + " has " + std::to_string(dimensions) +
                        " dimensions; expected 1 to 4.");
  }
  std::int64_t elements = 1;
  for (std::uint32_t d = 0; d < dimensions; ++d) {
    RETORT_ASSIGN(const std::uint64_t length, cursor.number<std::uint64_t>(what));
    if (length < 1 || length > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max() / 64 / elements)) {
      return caller_error("The file is corrupt: " + what + " has a dimension of " + std::to_string(length) +
                          ", which no file can hold.");
    }
    tensor.shape.push_back(static_cast<std::int64_t>(length));
    elements *= static_cast<std::int64_t>(length);
  }
  RETORT_ASSIGN(const std::uint32_t type, cursor.number<std::uint32_t>(what));
  auto known = tensor_type_from_number(type);
  if (!known) return with_context(known.error(), what);
  tensor.type = *known;
  if (tensor.row_length() % block_length(tensor.type) != 0) {
    return caller_error("The file is corrupt: " + what + " has rows of " + std::to_string(tensor.row_length()) +
                        " values, which don't divide into the blocks of " + std::to_string(block_length(tensor.type)) +
                        " of its type " + std::string(name_of(tensor.type)) + ".");
  }
  tensor.size_bytes = row_bytes(tensor.type, tensor.row_length()) * static_cast<std::uint64_t>(tensor.rows());
  RETORT_ASSIGN(tensor.offset, cursor.number<std::uint64_t>(what));
  return tensor;
}

std::uint64_t padded(std::uint64_t size, std::uint64_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

bool all_finite(std::span<const float> values) {
  std::uint32_t bad = 0;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    bad |= static_cast<std::uint32_t>((bits & 0x7F800000U) == 0x7F800000U);
  }
  return bad == 0;
}

}  // namespace

std::int64_t TensorInfo::elements() const {
  std::int64_t count = shape.empty() ? 0 : 1;
  for (const std::int64_t length : shape) count *= length;
  return count;
}

std::int64_t TensorInfo::rows() const { return shape.empty() ? 0 : elements() / shape.front(); }

Result<File> File::open(const std::filesystem::path& path) {
  const auto fail = [&](const Error& error) { return with_context(error, path.string()); };
  auto map = MappedFile::open(path);
  if (!map) return Failure(map.error());
  File file(std::move(*map));
  file.path_ = path;
  const auto checked = [&]() -> Result<void> {
    const auto bytes = file.map_.bytes();
    constexpr std::array<char, 4> kMagic = {'G', 'G', 'U', 'F'};
    if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
      return caller_error(bytes.empty() ? "The file is empty; expected a GGUF model file."
                                        : "This isn't a GGUF file (it doesn't start with the letters GGUF). Expected a "
                                          "model file in GGUF format, version 2 or 3.");
    }
    Cursor cursor(bytes);
    RETORT_TRY(cursor.number<std::uint32_t>("the header"));
    RETORT_ASSIGN(file.version_, cursor.number<std::uint32_t>("the header"));
    if (file.version_ != 2 && file.version_ != 3) {
      const bool big_endian = (file.version_ & 0xFFFFU) == 0 && file.version_ != 0;
      return caller_error(big_endian
                              ? "The file is a big-endian GGUF, which isn't supported. Convert it to little-endian."
                              : "The file is GGUF version " + std::to_string(file.version_) +
                                    "; expected version 2 or 3. Convert the model again with a current tool.");
    }
    RETORT_ASSIGN(const std::uint64_t tensor_count, cursor.number<std::uint64_t>("the header"));
    RETORT_ASSIGN(const std::uint64_t key_count, cursor.number<std::uint64_t>("the header"));
    RETORT_TRY(read_metadata(cursor, key_count, file.metadata_));
    RETORT_ASSIGN(file.alignment_, read_alignment(file.metadata_));
    if (tensor_count > cursor.left() / kMinTensorEntryBytes) {
      return caller_error("The file is truncated or corrupt: it claims " + std::to_string(tensor_count) +
                          " tensors, more than its bytes can hold.");
    }
    file.tensors_.reserve(tensor_count);
    for (std::uint64_t i = 0; i < tensor_count; ++i) {
      RETORT_ASSIGN(TensorInfo tensor, read_tensor_info(cursor, i + 1));
      if (!file.index_.emplace(tensor.name, file.tensors_.size()).second) {
        return caller_error("The file is corrupt: the tensor " + shown(tensor.name) + " stands twice.");
      }
      file.tensors_.push_back(std::move(tensor));
    }
    // Tensors lie one behind the other, each at the next multiple of the alignment (llama.cpp insists on it too).
    const std::uint64_t start = padded(cursor.place(), file.alignment_);
    std::uint64_t expected = 0;
    for (TensorInfo& tensor : file.tensors_) {
      const std::string what = "tensor " + shown(tensor.name);
      if (tensor.offset != expected) {
        return caller_error("The file is corrupt: " + what + " lies at offset " + std::to_string(tensor.offset) +
                            "; expected " + std::to_string(expected) + ".");
      }
      if (start > bytes.size() || tensor.size_bytes > bytes.size() ||
          tensor.offset > bytes.size() - tensor.size_bytes ||
          start + tensor.offset + tensor.size_bytes > bytes.size()) {
        return caller_error("The file is truncated: " + what + " needs bytes up to " +
                            std::to_string(start + tensor.offset + tensor.size_bytes) + ", but the file ends at " +
                            std::to_string(bytes.size()) + ". Fetch or copy it again.");
      }
      expected += padded(tensor.size_bytes, file.alignment_);
      tensor.offset += start;
    }
    return {};
  }();
  if (!checked) return fail(checked.error());
  return file;
}

const TensorInfo* File::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::span<const std::byte> File::bytes(const TensorInfo& tensor) const {
  RETORT_CHECK(tensor.offset + tensor.size_bytes <= map_.bytes().size());
  return map_.bytes().subspan(tensor.offset, tensor.size_bytes);
}

Result<std::vector<float>> File::floats(const TensorInfo& tensor) const { return floats(tensor, 0, tensor.rows()); }

Result<std::vector<float>> File::floats(const TensorInfo& tensor, std::int64_t first_row, std::int64_t rows) const {
  RETORT_CHECK(first_row >= 0 && rows >= 0 && first_row + rows <= tensor.rows());
  const std::size_t row = row_bytes(tensor.type, tensor.row_length());
  auto values =
      dequantise(bytes(tensor).subspan(static_cast<std::size_t>(first_row) * row, static_cast<std::size_t>(rows) * row),
                 tensor.row_length(), tensor.type);
  if (!values) return with_context(values.error(), "tensor " + shown(tensor.name));
  return values;
}

std::string File::file_type_name() const {
  std::map<TensorType, std::uint64_t> sizes;
  for (const TensorInfo& tensor : tensors_) sizes[tensor.type] += tensor.size_bytes;
  if (sizes.empty()) return "vocabulary";
  const auto largest =
      std::max_element(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return std::string(name_of(largest->first));
}

Result<void> File::check_finite() const {
  constexpr std::int64_t kChunkElements = 1 << 18;
  for (const TensorInfo& tensor : tensors_) {
    if (tensor.type == TensorType::kI8 || tensor.type == TensorType::kI16 || tensor.type == TensorType::kI32 ||
        tensor.type == TensorType::kI64) {
      continue;
    }
    const std::int64_t chunk = std::max<std::int64_t>(1, kChunkElements / tensor.row_length());
    for (std::int64_t row = 0; row < tensor.rows(); row += chunk) {
      RETORT_ASSIGN(const std::vector<float> values, floats(tensor, row, std::min(chunk, tensor.rows() - row)));
      if (all_finite(values)) continue;
      const auto bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
      const std::int64_t place = bad - values.begin();
      return caller_error(path_.string() + ": the tensor " + shown(tensor.name) + " holds " +
                          (std::isnan(*bad) ? "NaN" : "an infinity") + " in row " +
                          std::to_string(row + place / tensor.row_length()) + ", column " +
                          std::to_string(place % tensor.row_length()) +
                          ". The weights are damaged; fetch or convert the model again.");
    }
  }
  return {};
}

}  // namespace retort::gguf
