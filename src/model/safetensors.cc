#include "model/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <tuple>

#include "base/json.h"

namespace retort::model {

namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMostHeaderBytes = 100'000'000;  // the format's own limit
constexpr std::uint64_t kAlignment = 8;

struct TypeName {
  StoredType type;
  std::string_view name;
  std::size_t size;
};
constexpr std::array<TypeName, 5> kTypes = {{{StoredType::kF32, "F32", 4},
                                             {StoredType::kBF16, "BF16", 2},
                                             {StoredType::kF16, "F16", 2},
                                             {StoredType::kI64, "I64", 8},
                                             {StoredType::kU8, "U8", 1}}};

const TypeName& entry(StoredType type) {
  return *std::find_if(kTypes.begin(), kTypes.end(), [type](const TypeName& t) { return t.type == type; });
}

// Bytes of a tensor, or nothing when the product overflows or a dimension is negative.
std::optional<std::uint64_t> byte_count(StoredType type, const std::vector<std::int64_t>& shape) {
  std::uint64_t count = size_bytes(type);
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    const auto factor = static_cast<std::uint64_t>(dimension);
    if (factor != 0 && count > std::numeric_limits<std::uint64_t>::max() / 2 / factor) return std::nullopt;
    count *= factor;
  }
  return count;
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16U;
  const std::uint32_t exponent = (half >> 10U) & 0x1FU;
  const std::uint32_t mantissa = half & 0x3FFU;
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  const std::uint32_t bits = exponent == 0x1FU ? 0x7F800000U : (exponent + 112U) << 23U;
  return std::bit_cast<float>(sign | bits | (mantissa << 13U));
}

}  // namespace

std::string_view name_of(StoredType type) { return entry(type).name; }
std::size_t size_bytes(StoredType type) { return entry(type).size; }

Result<SafetensorsReader> SafetensorsReader::open(const std::filesystem::path& path) {
  RETORT_ASSIGN(MappedFile file, MappedFile::open(path));
  const auto bytes = file.bytes();
  const auto damaged = [&path](const std::string& what) {
    return caller_error("'" + path.string() + "' is not a whole safetensors file: " + what +
                        ". Use another checkpoint, or make it again.");
  };
  if (bytes.size() < kLengthBytes) return damaged("it has only " + std::to_string(bytes.size()) + " bytes");
  std::uint64_t header_bytes = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) header_bytes |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  if (header_bytes > kMostHeaderBytes || header_bytes > bytes.size() - kLengthBytes) {
    return damaged("its header claims " + std::to_string(header_bytes) + " bytes, the file has " +
                   std::to_string(bytes.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes);
  if (text.empty() || text.front() != '{') return damaged("its header is not a JSON object");
  const auto header = parse_json(text, "header");
  if (!header) return damaged(header.error().message);

  SafetensorsReader reader(std::move(file));
  reader.data_begin_ = kLengthBytes + header_bytes;
  const std::uint64_t data_bytes = bytes.size() - reader.data_begin_;
  for (const auto& [name, value] : header->items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) return damaged("__metadata__ is not an object");
      for (const auto& [key, entry_value] : value.items()) {
        if (!entry_value.is_string()) return damaged("the metadata '" + key + "' is not a string");
        reader.metadata_[key] = entry_value.get<std::string>();
      }
      continue;
    }
    const std::string what = "tensor '" + name + "'";
    if (!value.is_object()) return damaged(what + " is not an object");
    StoredTensor tensor;
    tensor.name = name;
    const auto type_name = member<std::string>(value, "dtype", what);
    if (!type_name) return damaged(type_name.error().message);
    const auto type =
        std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& t) { return t.name == *type_name; });
    if (type == kTypes.end()) {
      return caller_error("'" + path.string() + "': " + what + " has the type '" + *type_name +
                          "', which is not supported; expected F32, BF16, F16, I64 or U8.");
    }
    tensor.type = type->type;
    // nlohmann converts between numbers silently: only whole ones may pass.
    const auto whole_numbers = [](const Json& array) {
      return array.is_array() && std::all_of(array.begin(), array.end(), [](const Json& item) {
               return item.is_number_unsigned() && item.get<std::uint64_t>() <= std::uint64_t{1} << 62U;
             });
    };
    const auto shape = value.find("shape");
    const auto offsets = value.find("data_offsets");
    if (shape == value.end() || !whole_numbers(*shape)) return damaged(what + " has no proper shape");
    if (offsets == value.end() || !whole_numbers(*offsets) || offsets->size() != 2) {
      return damaged(what + " has no proper data_offsets");
    }
    tensor.shape = shape->get<std::vector<std::int64_t>>();
    tensor.begin = (*offsets)[0].get<std::uint64_t>();
    tensor.end = (*offsets)[1].get<std::uint64_t>();
    const auto expected = byte_count(tensor.type, tensor.shape);
    if (!expected || tensor.begin > tensor.end || tensor.end - tensor.begin != *expected) {
      return damaged(what + " does not have the size its type and shape say");
    }
    if (tensor.end > data_bytes) {
      return damaged(what + " ends at byte " + std::to_string(tensor.end) + " of the data, which has only " +
                     std::to_string(data_bytes));
    }
    reader.tensors_.push_back(std::move(tensor));
  }
  std::sort(reader.tensors_.begin(), reader.tensors_.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t position = 0;
  for (const auto& tensor : reader.tensors_) {
    if (tensor.begin != position) return damaged("tensor '" + tensor.name + "' overlaps another or leaves a gap");
    position = tensor.end;
  }
  if (position != data_bytes) {
    return damaged("its tensors end at byte " + std::to_string(position) + " of " + std::to_string(data_bytes));
  }
  return reader;
}

const StoredTensor* SafetensorsReader::find(std::string_view name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [name](const StoredTensor& tensor) { return tensor.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

std::span<const std::byte> SafetensorsReader::bytes(const StoredTensor& tensor) const {
  return file_.bytes().subspan(data_begin_ + tensor.begin, tensor.end - tensor.begin);
}

Result<std::vector<float>> SafetensorsReader::floats(const StoredTensor& tensor) const {
  const auto raw = bytes(tensor);
  std::vector<float> values(raw.size() / size_bytes(tensor.type));
  switch (tensor.type) {
    case StoredType::kF32: std::memcpy(values.data(), raw.data(), raw.size()); return values;
    case StoredType::kBF16:
    case StoredType::kF16:
      for (std::size_t i = 0; i < values.size(); ++i) {
        std::uint16_t half = 0;
        std::memcpy(&half, raw.data() + 2 * i, 2);
        values[i] = tensor.type == StoredType::kF16 ? half_to_float(half)
                                                    : std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16U);
      }
      return values;
    case StoredType::kI64:
    case StoredType::kU8: break;
  }
  return caller_error("The tensor '" + tensor.name + "' holds " + std::string(name_of(tensor.type)) +
                      " values; expected floating-point ones.");
}

void SafetensorsWriter::add(std::string name, StoredType type, std::vector<std::int64_t> shape, Bytes bytes) {
  const auto count = byte_count(type, shape);
  RETORT_CHECK(count.has_value());
  Item item{{std::move(name), type, std::move(shape), 0, 0}, std::move(bytes)};
  item.tensor.begin = items_.empty() ? 0 : items_.back().tensor.end;
  item.tensor.end = item.tensor.begin + *count;
  items_.push_back(std::move(item));
}

Result<void> SafetensorsWriter::write(const std::filesystem::path& path) const {
  Json header = Json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  std::set<std::string> names;
  for (const auto& item : items_) {
    RETORT_CHECK(names.insert(item.tensor.name).second && item.tensor.name != "__metadata__");
    header[item.tensor.name] = {{"dtype", name_of(item.tensor.type)},
                                {"shape", item.tensor.shape},
                                {"data_offsets", {item.tensor.begin, item.tensor.end}}};
  }
  std::string text = canonical_json(header);
  // The data part begins aligned; the format allows spaces after the header.
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  std::string length(kLengthBytes, '\0');
  for (std::size_t i = 0; i < kLengthBytes; ++i) length[i] = static_cast<char>((text.size() >> (8 * i)) & 0xFFU);

  RETORT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  RETORT_TRY(file.write(length));
  RETORT_TRY(file.write(text));
  for (const auto& item : items_) {
    RETORT_ASSIGN(const auto bytes, item.bytes());
    RETORT_CHECK(bytes.size() == item.tensor.end - item.tensor.begin);
    RETORT_TRY(file.write(bytes));
  }
  return file.commit();
}

}  // namespace retort::model
