#include "api/json_reader.h"

#include <algorithm>

#include "api/json_dom.h"

namespace retort::api {
namespace {

// A parser that has read more than this begins anew with the next smaller text.
constexpr std::size_t kKeptBytes = 1U << 20U;

}  // namespace

JsonReader::JsonReader() : inside_(std::make_unique<Inside>()) {}
JsonReader::~JsonReader() = default;
JsonReader::JsonReader(JsonReader&&) noexcept = default;
JsonReader& JsonReader::operator=(JsonReader&&) noexcept = default;

simdjson::error_code JsonReader::Inside::read(std::string_view text, Element& root) {
  if (parser && parser->capacity() > kKeptBytes && text.size() <= kKeptBytes) parser.reset();
  if (!parser) {
    parser.emplace();
    // The depth is kept when the parser grows.
    const simdjson::error_code error = parser->allocate(std::max<std::size_t>(text.size(), 1024), kMostDepth);
    if (error != simdjson::SUCCESS) return error;
  }
  return parser->parse(text.data(), text.size()).get(root);
}

}  // namespace retort::api
