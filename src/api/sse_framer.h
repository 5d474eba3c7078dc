// Server-sent events as they come, in any pieces: each is given on with its own bytes, unchanged.
//
// CR LF, LF and CR end lines (WHATWG HTML, "Server-sent events"). A CR at the end of a piece waits for what follows. An
// event larger than `most_bytes` is an error, so a stream without ends can't fill the memory. Nothing is copied that a
// piece holds whole. One thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort::api {

struct FramedEvent {
  std::string_view raw;   // with the empty line that ends it; views are valid during the call
  std::string_view type;  // "" where none is named
  std::string_view data;  // its lines joined by '\n'; "" for a comment. Of one line: a view into `raw`
  int data_lines = 0;
};

class SseFramer {
 public:
  explicit SseFramer(std::size_t most_bytes = 16 << 20) : most_bytes_(most_bytes) {}
  // Error (kWorld): an event larger than allowed, from here on at every call. Events that `piece` completes are given
  // to `take` in order. An empty line without anything before it is an event without data.
  Result<void> feed(std::string_view piece, const std::function<void(const FramedEvent&)>& take);
  // The end of the stream: gives the event that only waited for a LF after its CR.
  void end(const std::function<void(const FramedEvent&)>& take);
  // What came without being ended.
  std::string_view rest() const { return pending_; }

 private:
  // Gives the whole events of `text` from its beginning; returns how many bytes they are.
  std::size_t take_events(std::string_view text, bool last, const std::function<void(const FramedEvent&)>& take);
  void give(std::string_view raw, const std::function<void(const FramedEvent&)>& take);
  bool too_large(std::size_t bytes);

  std::size_t most_bytes_;
  bool failed_ = false;
  bool first_ = true;        // no event has been given: a byte order mark may stand here
  std::size_t scanned_ = 0;  // of pending_: no end of an event before it
  std::size_t line_ = 0;     // of pending_: where its unfinished line begins
  std::string pending_;
  std::string data_;  // of an event with several data lines
};

}  // namespace retort::api
