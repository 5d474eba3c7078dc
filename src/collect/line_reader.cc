#include "collect/line_reader.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace retort::collect {
namespace {

constexpr std::size_t kPiece = 256 * 1024;

}  // namespace

Result<LineReader> LineReader::open(const std::filesystem::path& file) {
  std::error_code code;
  const auto status = std::filesystem::status(file, code);
  if (!std::filesystem::exists(status)) return caller_error("'" + file.string() + "' does not exist.");
  if (std::filesystem::is_directory(status)) {
    return caller_error("'" + file.string() + "' is a folder; expected a file.");
  }
  LineReader reader;
  reader.from_file_ = true;
  reader.name_ = file.string();
  reader.file_.open(file, std::ios::binary);
  if (!reader.file_) return world_error("'" + file.string() + "' cannot be read. Check its permissions.");
  return reader;
}

LineReader LineReader::of(std::string_view text) {
  LineReader reader;
  reader.rest_ = text;
  return reader;
}

Result<bool> LineReader::fill() {
  if (ended_) return false;
  buffer_.erase(0, begin_);
  begin_ = 0;
  if (!from_file_) {
    const std::size_t size = std::min(kPiece, rest_.size());
    buffer_.append(rest_.substr(0, size));
    rest_.remove_prefix(size);
    ended_ = rest_.empty();
    return size > 0;
  }
  const std::size_t held = buffer_.size();
  buffer_.resize(held + kPiece);
  file_.read(buffer_.data() + held, static_cast<std::streamsize>(kPiece));
  const auto size = static_cast<std::size_t>(file_.gcount());
  buffer_.resize(held + size);
  if (file_.bad()) return world_error("'" + name_ + "' cannot be read to its end; the disk reports an error.");
  ended_ = size < kPiece;
  return size > 0;
}

Result<void> LineReader::skip_mark() {
  if (started_) return {};
  started_ = true;
  RETORT_TRY(fill());
  if (std::string_view(buffer_).starts_with("\xEF\xBB\xBF")) begin_ = 3;
  return {};
}

Result<char> LineReader::first_character() {
  RETORT_TRY(skip_mark());
  const std::string_view text = trim(std::string_view(buffer_).substr(begin_));
  return text.empty() ? '\0' : text.front();
}

Result<std::string_view> LineReader::piece() {
  RETORT_TRY(skip_mark());
  if (begin_ == buffer_.size()) RETORT_TRY(fill());
  const std::string_view text = std::string_view(buffer_).substr(begin_);
  begin_ = buffer_.size();
  return text;
}

Result<std::optional<LineReader::Line>> LineReader::next() {
  RETORT_TRY(skip_mark());
  Line line;
  std::size_t searched = 0;  // of what begins at begin_
  while (true) {
    const std::size_t end = buffer_.find('\n', begin_ + searched);
    const bool found = end != std::string::npos;
    if (found || ended_) {
      if (!found && begin_ == buffer_.size() && !line.too_long) return std::optional<Line>();
      line.number = ++line_;
      const std::size_t stop = found ? end : buffer_.size();
      if (stop - begin_ > kLongestRow) line.too_long = true;
      if (!line.too_long) line.text = std::string_view(buffer_).substr(begin_, stop - begin_);
      begin_ = found ? end + 1 : stop;
      return std::optional<Line>(line);
    }
    searched = buffer_.size() - begin_;
    if (searched > kLongestRow) {  // read over it without keeping it
      line.too_long = true;
      begin_ = buffer_.size();
      searched = 0;
    }
    RETORT_TRY(fill());
  }
}

}  // namespace retort::collect
