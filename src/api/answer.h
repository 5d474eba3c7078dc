// An answer on its way through: metered, and changed where policy says so, otherwise byte for byte as it came.
//
// Streams go event by event, whole JSON answers at once. What is changed: opaque reasoning is sealed, reasoning and
// log-probabilities are taken out where the caller may not have them, the usage event that the gateway asked for itself
// is kept back. Everything else, unknown events too, passes unchanged. One object per answer; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "api/request_facts.h"
#include "api/route.h"
#include "base/json.h"

namespace retort::api {

struct Usage {
  std::int64_t input = 0;      // tokens, cached ones included
  std::int64_t output = 0;     // tokens, reasoning included
  std::int64_t reasoning = 0;  // tokens, as far as the API tells
  bool reported = false;       // by the upstream; else estimated from bytes (four a token), rounded up
};

struct AnswerFacts {
  Usage usage;
  std::string finish;   // "stop", "length", "tool_calls", "end_turn", …; the first choice's
  bool ended = false;   // its own end came: [DONE], response.completed/incomplete/failed, message_stop, or whole JSON
  bool failed = false;  // an error object or event came from upstream
  bool reasoning_seen = false;
  std::string text;  // kept only when asked for: of the first choice
  std::string reasoning;
  Json tool_calls;  // an array, as the dialect has them; null when there are none
  std::int64_t text_bytes = 0;
  std::int64_t reasoning_bytes = 0;
};

struct AnswerEdits {
  bool keep_text = false;  // fill AnswerFacts.text, reasoning and tool_calls
  bool hide_usage =
      false;  // chat and completions: drop the chunk that include_usage added, and `usage: null` elsewhere
  bool strip_reasoning = false;  // texts of reasoning; signatures and blobs stay (sealed)
  bool strip_logprobs = false;   // should any come unasked
  // A blob as upstream sent it -> what the client gets. Empty function: blobs pass as they are.
  std::function<std::string(std::string_view blob)> seal;
};

class AnswerStream {
 public:
  AnswerStream(Operation operation, std::int64_t prompt_bytes, AnswerEdits edits);
  ~AnswerStream();
  AnswerStream(AnswerStream&&) noexcept;

  // What to send on for a piece of an event stream: whole events only. Error (kWorld): an event without end.
  Result<std::string> feed(std::string_view piece);
  // What to send on for a whole JSON answer. A body that isn't JSON passes unchanged and is metered by its bytes.
  std::string whole(std::string_view body);
  // The end of upstream's bytes: what is left to send on (an event that no empty line ended is dropped: it is cut).
  void end();
  // So far; usage is estimated until it is reported.
  AnswerFacts facts() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace retort::api
