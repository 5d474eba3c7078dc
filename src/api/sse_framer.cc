#include "api/sse_framer.h"

#include <algorithm>

namespace retort::api {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// The next line's end, or the text's.
std::size_t line_end(std::string_view text, std::size_t at) {
  while (at < text.size() && text[at] != '\n' && text[at] != '\r') ++at;
  return at;
}

}  // namespace

bool SseFramer::too_large(std::size_t bytes) {
  failed_ = failed_ || bytes > most_bytes_;
  return failed_;
}

Result<void> SseFramer::feed(std::string_view piece, const std::function<void(const FramedEvent&)>& take) {
  if (!failed_ && !piece.empty()) {
    if (pending_.empty()) {
      const std::size_t taken = take_events(piece, false, take);
      pending_.assign(piece.substr(taken));
      scanned_ -= taken;
      line_ -= taken;
    } else {
      pending_.append(piece);
      const std::size_t taken = take_events(pending_, false, take);
      pending_.erase(0, taken);
      scanned_ -= taken;
      line_ -= taken;
    }
    if (pending_.empty() && pending_.capacity() > 4096) std::string().swap(pending_);
  }
  if (!too_large(pending_.size())) return {};
  std::string().swap(pending_);
  return world_error("An event of the stream is larger than " + std::to_string(most_bytes_) +
                     " bytes; expected an empty line before.");
}

void SseFramer::end(const std::function<void(const FramedEvent&)>& take) {
  if (failed_ || pending_.empty()) return;
  const std::size_t taken = take_events(pending_, true, take);
  pending_.erase(0, taken);
  scanned_ = line_ = 0;
}

std::size_t SseFramer::take_events(std::string_view text, bool last,
                                   const std::function<void(const FramedEvent&)>& take) {
  std::size_t taken = 0;
  while (true) {
    const std::size_t end = line_end(text, scanned_);
    scanned_ = end;
    if (end == text.size()) break;
    if (text[end] == '\r' && end + 1 == text.size() && !last) break;  // a LF may follow
    const std::size_t next = end + (text[end] == '\r' && end + 1 < text.size() && text[end + 1] == '\n' ? 2 : 1);
    // A byte order mark doesn't fill a line.
    const bool empty = end == line_ || (first_ && line_ == 0 && text.substr(0, end) == kByteOrderMark);
    scanned_ = line_ = next;
    if (!empty) continue;
    if (too_large(next - taken)) break;
    give(text.substr(taken, next - taken), take);
    taken = next;
  }
  return taken;
}

void SseFramer::give(std::string_view raw, const std::function<void(const FramedEvent&)>& take) {
  FramedEvent event{.raw = raw, .type = {}, .data = {}};
  std::size_t at = first_ && raw.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  first_ = false;
  while (at < raw.size()) {
    const std::size_t end = line_end(raw, at);
    const std::string_view line = raw.substr(at, end - at);
    at = end + (end + 1 < raw.size() && raw[end] == '\r' && raw[end + 1] == '\n' ? 2 : 1);
    const bool is_data = line.starts_with("data") && (line.size() == 4 || line[4] == ':');
    const bool is_type = line.starts_with("event") && (line.size() == 5 || line[5] == ':');
    if (!is_data && !is_type) continue;
    std::string_view value = line.substr(std::min<std::size_t>(line.size(), is_data ? 5 : 6));
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (is_type) {
      event.type = value;
    } else if (++event.data_lines == 1) {
      event.data = value;
    } else {
      if (event.data_lines == 2) data_.assign(event.data);
      data_ += '\n';
      data_ += value;
    }
  }
  if (event.data_lines > 1) event.data = data_;
  take(event);
}

}  // namespace retort::api
