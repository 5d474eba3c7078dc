#include "gguf/metadata.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace retort::gguf {
namespace {

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

template <class T>
constexpr std::string_view scalar_name() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return "u8";
  if constexpr (std::is_same_v<T, std::int8_t>) return "i8";
  if constexpr (std::is_same_v<T, std::uint16_t>) return "u16";
  if constexpr (std::is_same_v<T, std::int16_t>) return "i16";
  if constexpr (std::is_same_v<T, std::uint32_t>) return "u32";
  if constexpr (std::is_same_v<T, std::int32_t>) return "i32";
  if constexpr (std::is_same_v<T, float>) return "f32";
  if constexpr (std::is_same_v<T, bool>) return "bool";
  if constexpr (std::is_same_v<T, std::string>) return "string";
  if constexpr (std::is_same_v<T, std::uint64_t>) return "u64";
  if constexpr (std::is_same_v<T, std::int64_t>) return "i64";
  if constexpr (std::is_same_v<T, double>) return "f64";
}

template <class T>
std::string scalar_text(const T& value, std::size_t limit) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_same_v<T, std::string>) {
    std::string text = value;
    if (limit != 0 && text.size() > limit) {
      text.resize(limit);
      while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0U) == 0x80U) text.pop_back();
      if (!text.empty() && (static_cast<unsigned char>(text.back()) & 0x80U) != 0) text.pop_back();
      text += "…";
    }
    return text;
  } else if constexpr (std::is_floating_point_v<T>) {
    std::array<char, 40> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.9g", static_cast<double>(value));
    return buffer.data();
  } else {
    return std::to_string(value);
  }
}

}  // namespace

std::string type_text(const Value& value) {
  return std::visit(
      [](const auto& held) {
        using T = std::decay_t<decltype(held)>;
        if constexpr (kIsVector<T>) {
          return std::string(scalar_name<typename T::value_type>()) + "[" + std::to_string(held.size()) + "]";
        } else {
          return std::string(scalar_name<T>());
        }
      },
      value);
}

std::string value_text(const Value& value, std::size_t limit) {
  return std::visit(
      [&](const auto& held) {
        using T = std::decay_t<decltype(held)>;
        if constexpr (kIsVector<T>) {
          constexpr std::size_t kShown = 6;
          std::string text = "[";
          for (std::size_t i = 0; i < held.size() && i < kShown; ++i) {
            if (i != 0) text += ", ";
            text += scalar_text<typename T::value_type>(held[i], limit);
          }
          if (held.size() > kShown) text += ", …";
          return text + "]";
        } else {
          return scalar_text(held, limit);
        }
      },
      value);
}

std::vector<std::string> Metadata::keys() const {
  std::vector<std::string> keys;
  keys.reserve(entries_.size());
  for (const Entry& entry : entries_) keys.push_back(entry.key);
  return keys;
}

const Value* Metadata::find_value(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &entries_[found->second].value;
}

void Metadata::set(std::string key, Value value) {
  const auto found = index_.find(key);
  if (found != index_.end()) {
    entries_[found->second].value = std::move(value);
    return;
  }
  index_.emplace(key, entries_.size());
  entries_.push_back({std::move(key), std::move(value)});
}

bool Metadata::remove(std::string_view key) {
  const auto found = index_.find(key);
  if (found == index_.end()) return false;
  const std::size_t place = found->second;
  index_.erase(found);
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(place));
  for (auto& [name, index] : index_) {
    if (index > place) --index;
  }
  return true;
}

Failure Metadata::missing(std::string_view key) {
  return caller_error("The file's metadata has no key '" + std::string(key) +
                      "'. It is needed here; use a file that was converted with its whole metadata.");
}

Failure Metadata::wrong_type(std::string_view key, const Value& value, std::string_view expected) {
  return caller_error("The metadata key '" + std::string(key) + "' is of type " + type_text(value) + "; expected " +
                      std::string(expected) + ".");
}

Failure Metadata::out_of_range(std::string_view key) {
  return caller_error("The metadata key '" + std::string(key) + "' holds a number that is out of range.");
}

Result<std::int64_t> Metadata::integer(std::string_view key, const Value& value) {
  return std::visit(
      [&](const auto& held) -> Result<std::int64_t> {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
          if (!std::in_range<std::int64_t>(held)) return out_of_range(key);
          return static_cast<std::int64_t>(held);
        } else {
          return wrong_type(key, value, "an integer");
        }
      },
      value);
}

Result<double> Metadata::real(std::string_view key, const Value& value) {
  if (const auto* single = std::get_if<float>(&value)) return static_cast<double>(*single);
  if (const auto* wide = std::get_if<double>(&value)) return *wide;
  return wrong_type(key, value, "a floating-point number");
}

Result<std::vector<std::int64_t>> Metadata::integers(std::string_view key, const Value& value) {
  return std::visit(
      [&](const auto& held) -> Result<std::vector<std::int64_t>> {
        using T = std::decay_t<decltype(held)>;
        if constexpr (kIsVector<T>) {
          using Element = typename T::value_type;
          if constexpr (std::is_integral_v<Element> && !std::is_same_v<Element, bool>) {
            std::vector<std::int64_t> wide;
            wide.reserve(held.size());
            for (const Element element : held) {
              if (!std::in_range<std::int64_t>(element)) return out_of_range(key);
              wide.push_back(static_cast<std::int64_t>(element));
            }
            return wide;
          }
        }
        return wrong_type(key, value, "an array of integers");
      },
      value);
}

Result<std::vector<float>> Metadata::reals(std::string_view key, const Value& value) {
  if (const auto* single = std::get_if<std::vector<float>>(&value)) return *single;
  if (const auto* wide = std::get_if<std::vector<double>>(&value))
    return std::vector<float>(wide->begin(), wide->end());
  return wrong_type(key, value, "an array of floating-point numbers");
}

}  // namespace retort::gguf
