// The elements of one JSON array that fills a file, read as a stream. Internal to the module.
//
// Elements are found by their brackets and strings alone, so that a broken one needn't end the reading; each is parsed
// by whoever asked. One thread at a time.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "collect/line_reader.h"

namespace retort::collect {

class ArrayReader {
 public:
  // `lines`: at the beginning; its first character is '['.
  explicit ArrayReader(LineReader& lines) : lines_(lines) {}

  struct Element {
    std::size_t line = 0;  // where it begins
    std::string text;      // not yet parsed
  };
  // Nothing at the end. Error: kWorld as of LineReader; kCaller when the array's own form is broken (`line N: …`,
  // without the file).
  Result<std::optional<Element>> next();

 private:
  LineReader& lines_;
  std::string_view text_;  // of the piece, what isn't read yet
  std::size_t line_ = 1;
  bool opened_ = false;
  bool closed_ = false;
  bool comma_ = true;  // one may begin here
};

// How deep values are nested in each other, by brackets outside strings; counts no further than `most` + 1. For text
// that may be no JSON at all, before anything recursive sees it.
std::size_t json_depth(std::string_view text, std::size_t most);

}  // namespace retort::collect
