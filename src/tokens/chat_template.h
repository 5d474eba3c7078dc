// A model file's Jinja template, rendered by llama.cpp's engine, knowing which bytes are a message's own.
//
// Hostile templates are refused when parsed: size, nesting and recursion are bounded, because the engine recurses on
// the stack. Const functions may be called from any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "exchange/exchange.h"

namespace retort::tokens {

// Bytes [begin, end) of a rendered text that came from message number `message`.
struct InputRange {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t message = 0;
};

struct RenderedText {
  std::string text;
  std::vector<InputRange> inputs;  // ascending, not overlapping; one per message whose text was written
};

class ChatTemplate {
 public:
  // Error (kCaller): it doesn't parse, or is beyond the bounds.
  static Result<ChatTemplate> parse(std::string text, std::string bos_token, std::string eos_token);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  const std::string& text() const;
  // Error (kCaller): the template raised an exception, or wrote a message's text in several places.
  Result<RenderedText> render(std::span<const Message> messages, bool add_generation_prompt) const;
  // The text alone: one pass instead of one for each message.
  Result<std::string> render_text(std::span<const Message> messages, bool add_generation_prompt) const;

 private:
  struct State;
  explicit ChatTemplate(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

}  // namespace retort::tokens
