#include "guard/result_lines.h"

#include <algorithm>

#include "api/batch.h"
#include "base/text.h"

namespace retort::guard {
namespace {

constexpr std::size_t kMostLine = 64 << 20;

}  // namespace

Result<std::string> ResultLines::feed(std::string_view piece) {
  std::string shown;
  while (!piece.empty()) {
    const std::size_t end = piece.find('\n');
    const bool whole = end != std::string_view::npos;
    const std::string_view part = piece.substr(0, whole ? end : piece.size());
    piece.remove_prefix(whole ? end + 1 : piece.size());
    if (passing_) {
      shown += part;
    } else {
      line_ += part;
      const std::size_t first = line_.find_first_not_of(" \t\r");
      // Nothing but an object has an answer in it.
      passing_ = first != std::string::npos && line_[first] != '{';
      if (passing_ || whole) {
        shown += passing_ ? line_ : api::edited_result(line_, edits_, reader_);
        line_.clear();
      }
      if (line_.size() > kMostLine)
        return world_error("a line of its results is larger than " + human_bytes(kMostLine));
    }
    if (whole) {
      shown += '\n';
      passing_ = false;
    }
  }
  return shown;
}

std::string ResultLines::end() { return api::edited_result(std::exchange(line_, {}), edits_, reader_); }

}  // namespace retort::guard
