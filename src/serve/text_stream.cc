#include "serve/text_stream.h"

#include <algorithm>

#include "base/text.h"

namespace retort::serve {
namespace {

// How much of the end of `text` could be the beginning of `stop`.
std::size_t possible_beginning(std::string_view text, std::string_view stop) {
  for (std::size_t size = std::min(text.size(), stop.size() - 1); size > 0; --size) {
    if (text.ends_with(stop.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

bool TextStream::push(std::string_view bytes) {
  if (stopped_) return true;
  held_ += bytes;
  pushed_ += bytes.size();
  std::size_t first = std::string::npos;
  for (const std::string& stop : stop_) first = std::min(first, held_.find(stop));
  if (first == std::string::npos) return false;
  pushed_ -= held_.size() - first;
  held_.resize(first);
  stopped_ = true;
  return true;
}

std::string TextStream::take_until(std::size_t end) {
  std::string text = held_.substr(0, end);
  held_.erase(0, end);
  taken_ += end;
  return text;
}

std::string TextStream::take() {
  if (stopped_) return finish();
  std::size_t back = 0;
  for (const std::string& stop : stop_) back = std::max(back, possible_beginning(held_, stop));
  const std::size_t end = held_.size() - back;
  return take_until(end - unfinished_utf8_suffix(std::string_view(held_).substr(0, end)));
}

std::string TextStream::finish() { return take_until(held_.size() - unfinished_utf8_suffix(held_)); }

}  // namespace retort::serve
