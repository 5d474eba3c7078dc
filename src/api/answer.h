// An answer on its way through: metered, and changed where policy says so, otherwise byte for byte as it came.
//
// Streams go event by event, whole JSON answers at once. What is changed: opaque reasoning is sealed, reasoning and
// log-probabilities are taken out where the caller may not have them, the usage event that the gateway asked for itself
// is kept back. Everything else, unknown events too, passes unchanged, and a change touches no byte beside the value
// that it changes. One object per answer; one thread.
//
// Of an answer to kStored the form is told by its body. Answers that don't generate pass; usage in them is read.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "api/json_reader.h"
#include "api/request_facts.h"
#include "api/route.h"
#include "base/json.h"

namespace retort::api {

struct Usage {
  std::int64_t input = 0;          // tokens, those of a cache included
  std::int64_t cached = 0;         // of input: read from the provider's cache
  std::int64_t cache_written = 0;  // of input: written into it
  std::int64_t output = 0;         // tokens, reasoning included
  std::int64_t reasoning = 0;      // tokens, as far as the API tells
  // By the upstream for the whole answer; else estimated from bytes (four a token, rounded up), and no less than what
  // was reported on the way.
  bool reported = false;
};

struct AnswerFacts {
  Usage usage;
  std::string finish;   // "stop", "length", "tool_calls", "end_turn", "completed", "max_output_tokens", …; the first
                        // choice's
  bool ended = false;   // its own end came: [DONE], response.completed/incomplete/failed, message_stop, or whole JSON
  bool failed = false;  // an error object or event came from upstream
  bool reasoning_seen = false;
  std::string text;  // kept only when asked for: of the first choice
  std::string reasoning;
  Json tool_calls;              // an array, as the dialect has them; null when there are none
  std::int64_t text_bytes = 0;  // of all choices
  std::int64_t reasoning_bytes = 0;
  std::int64_t unreadable = 0;  // events or bodies that are no JSON: nothing could be taken out of them
  std::int64_t sequence = -1;   // the last sequence_number (responses)
};

struct AnswerEdits {
  bool keep_text = false;  // fill AnswerFacts.text, reasoning and tool_calls
  // Chat and completions: drop the chunk that include_usage added (no choices, a usage object), and `"usage":null`
  // elsewhere.
  bool hide_usage = false;
  // Texts of reasoning; signatures and blobs stay (sealed). Messages: thinking blocks stay, empty. Responses: events
  // of reasoning's text are dropped, items have none. Chat: the fields become null, chunks with nothing else go; what a
  // server leaves within the text (<think>) is text.
  bool strip_reasoning = false;
  bool strip_logprobs = false;  // should any come unasked
  // A blob as upstream sent it -> what the client gets; called once for each distinct blob of an answer. Empty
  // function: blobs pass as they are. A signature that comes in several deltas is joined at the end of its block. It is
  // called while the answer is being read: it must not touch the stream or its reader.
  std::function<std::string(std::string_view blob)> seal;
};

class AnswerStream {
 public:
  // `reader`: shared by the answers of a thread, so that a waiting stream holds no parser's memory; null: its own.
  AnswerStream(Operation operation, std::int64_t prompt_bytes, AnswerEdits edits,
               std::shared_ptr<JsonReader> reader = nullptr);
  ~AnswerStream();
  AnswerStream(AnswerStream&&) noexcept;

  // What to send on for a piece of an event stream: whole events only. Error (kWorld): an event without end.
  Result<std::string> feed(std::string_view piece);
  // What to send on for a whole JSON answer. A body that isn't JSON passes unchanged and is metered by its bytes.
  std::string whole(std::string_view body);
  // The end of upstream's bytes: what is left to send on (an event that no empty line ended is dropped: it is cut).
  std::string end();
  // So far; usage is estimated until it is reported. A copy: for the end.
  AnswerFacts facts() const;
  // Of facts(), which copies the texts kept so far: what is asked after every piece.
  bool ended() const;
  bool failed() const;
  bool reasoning_seen() const;
  std::int64_t unreadable() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace retort::api
