// The keys and values of a GGUF file, in the file's order.
//
// Values keep the type the file gave them, so that what is written equals what was read. get<T>() converts between
// widths of integers (with a range check) and between float and double, and nothing else.
// A plain value: any thread may read, one may write.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace retort::gguf {

// One value. GGUF's arrays hold one scalar type; arrays of arrays are refused when read.
using Value =
    std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t, float, bool,
                 std::string, std::uint64_t, std::int64_t, double, std::vector<std::uint8_t>, std::vector<std::int8_t>,
                 std::vector<std::uint16_t>, std::vector<std::int16_t>, std::vector<std::uint32_t>,
                 std::vector<std::int32_t>, std::vector<float>, std::vector<bool>, std::vector<std::string>,
                 std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>>;

// "u32", "string", "string[49152]".
std::string type_text(const Value& value);
// The value for people: strings shortened to `limit` bytes (0: whole), arrays to their first few members.
std::string value_text(const Value& value, std::size_t limit = 80);

class Metadata {
 public:
  struct Entry {
    std::string key;
    Value value;
  };

  const std::vector<Entry>& entries() const { return entries_; }
  std::vector<std::string> keys() const;
  bool contains(std::string_view key) const { return find_value(key) != nullptr; }
  // nullptr when absent.
  const Value* find_value(std::string_view key) const;

  // T: bool, an integer, float, double, std::string, or a std::vector of bool, int32, int64, uint32, float or string.
  // Error (kCaller): the key is missing, or has another type, or the number doesn't fit.
  template <class T>
  Result<T> get(std::string_view key) const;
  // Absent is not an error; a wrong type is.
  template <class T>
  Result<std::optional<T>> find(std::string_view key) const;
  template <class T>
  Result<T> get_or(std::string_view key, T fallback) const;

  // Replaces the value in its place, or appends.
  void set(std::string key, Value value);
  // True when there was one.
  bool remove(std::string_view key);

 private:
  static Failure missing(std::string_view key);
  static Failure wrong_type(std::string_view key, const Value& value, std::string_view expected);
  static Failure out_of_range(std::string_view key);
  // Every integer type widened; uint64 beyond int64 is out of range.
  static Result<std::int64_t> integer(std::string_view key, const Value& value);
  static Result<double> real(std::string_view key, const Value& value);
  static Result<std::vector<std::int64_t>> integers(std::string_view key, const Value& value);
  static Result<std::vector<float>> reals(std::string_view key, const Value& value);
  template <class T>
  static Result<T> as(std::string_view key, const Value& value);

  std::vector<Entry> entries_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// ---- implementation of the templates ----

template <class T>
Result<T> Metadata::as(std::string_view key, const Value& value) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::string> ||
                std::is_same_v<T, std::vector<std::string>> || std::is_same_v<T, std::vector<bool>>) {
    if (const auto* held = std::get_if<T>(&value)) return *held;
    return wrong_type(key, value,
                      std::is_same_v<T, bool>                       ? "a bool"
                      : std::is_same_v<T, std::string>              ? "a string"
                      : std::is_same_v<T, std::vector<std::string>> ? "an array of strings"
                                                                    : "an array of bools");
  } else if constexpr (std::integral<T>) {
    RETORT_ASSIGN(const std::int64_t wide, integer(key, value));
    if (!std::in_range<T>(wide)) return out_of_range(key);
    return static_cast<T>(wide);
  } else if constexpr (std::floating_point<T>) {
    RETORT_ASSIGN(const double wide, real(key, value));
    return static_cast<T>(wide);
  } else if constexpr (std::is_same_v<T, std::vector<float>>) {
    return reals(key, value);
  } else {
    using Element = typename T::value_type;
    static_assert(std::integral<Element>);
    RETORT_ASSIGN(const std::vector<std::int64_t> wide, integers(key, value));
    T narrow;
    narrow.reserve(wide.size());
    for (const std::int64_t element : wide) {
      if (!std::in_range<Element>(element)) return out_of_range(key);
      narrow.push_back(static_cast<Element>(element));
    }
    return narrow;
  }
}

template <class T>
Result<T> Metadata::get(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return missing(key);
  return as<T>(key, *value);
}

template <class T>
Result<std::optional<T>> Metadata::find(std::string_view key) const {
  const Value* value = find_value(key);
  if (value == nullptr) return std::optional<T>();
  RETORT_ASSIGN(T held, as<T>(key, *value));
  return std::optional<T>(std::move(held));
}

template <class T>
Result<T> Metadata::get_or(std::string_view key, T fallback) const {
  const Value* value = find_value(key);
  if (value == nullptr) return fallback;
  return as<T>(key, *value);
}

}  // namespace retort::gguf
