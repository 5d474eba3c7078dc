// The bytes of sampled tokens as text that may be shown: whole UTF-8 characters, and never any part of a stop string.
//
// What a stop string might begin with, and a character that isn't whole, is held back until the next bytes decide. One
// thread.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace retort::serve {

class TextStream {
 public:
  // None of the stop strings is empty; they are borrowed for the stream's life.
  explicit TextStream(std::span<const std::string> stop = {}) : stop_(stop) {}

  // The next bytes. True: a stop string is complete; its text and what follows will never be shown, and the stream has
  // ended.
  bool push(std::string_view bytes);
  // What may be shown now and wasn't yet.
  std::string take();
  // No more bytes come: what was held back as the beginning of a stop string is text after all; a character that isn't
  // whole is dropped.
  std::string finish();

  // Bytes taken so far, and pushed so far. A token whose bytes end at or before taken() has been shown.
  std::size_t taken() const { return taken_; }
  std::size_t pushed() const { return pushed_; }
  bool stopped() const { return stopped_; }

 private:
  std::string take_until(std::size_t end);

  std::span<const std::string> stop_;
  std::string held_;        // pushed and not taken; cut where a stop string begins
  std::size_t taken_ = 0;   // bytes before held_
  std::size_t pushed_ = 0;  // without what a stop string cut off
  bool stopped_ = false;
};

}  // namespace retort::serve
