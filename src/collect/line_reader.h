// A file or a text, line by line or in pieces, in memory that holds the longest line and no more. Internal to the
// module.
//
// A byte order mark at the beginning is skipped. One thread at a time.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort::collect {

inline constexpr std::size_t kLongestRow = 64'000'000;  // bytes

class LineReader {
 public:
  // Error: kCaller when there is no such file or it is a folder, kWorld when it can't be read.
  static Result<LineReader> open(const std::filesystem::path& file);
  // `text` must live as long as the reader.
  static LineReader of(std::string_view text);

  struct Line {
    std::size_t number = 0;  // from 1
    std::string_view text;   // without its line feed; valid until the next call
    bool too_long = false;   // more than kLongestRow: `text` is empty and the line is passed over
  };
  // The next line, blank ones too; nothing at the end. Error: kWorld, the file can't be read on.
  Result<std::optional<Line>> next();

  // Whatever is read next, line breaks included; empty at the end, valid until the next call. Not together with next().
  Result<std::string_view> piece();

  // The first character that isn't white space within what one read gives; 0: there is none. Before next().
  Result<char> first_character();

 private:
  LineReader() = default;
  // Appends the next piece to the buffer, dropping what was handed out. False at the end.
  Result<bool> fill();
  Result<void> skip_mark();

  std::string name_;
  std::ifstream file_;
  std::string_view rest_;  // of a text, what is not in the buffer yet
  bool from_file_ = false;
  bool started_ = false;
  bool ended_ = false;
  std::string buffer_;
  std::size_t begin_ = 0;  // of what wasn't handed out
  std::size_t line_ = 0;
};

}  // namespace retort::collect
