// What each dialect knows of answers: how to meter them, and where what may be changed lies. Not for other modules.
//
// A dialect belongs to one AnswerStream, which outlives it and whose thread it runs on.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "api/answer.h"
#include "api/json_dom.h"
#include "api/json_spans.h"
#include "api/sse_framer.h"

namespace retort::api {

// What an answer's dialect fills and asks.
struct AnswerState {
  AnswerEdits edits;
  AnswerFacts facts;
  std::int64_t tool_bytes = 0;
  bool input_known = false;  // usage.input was told, though not yet all of it

  void add_text(std::string_view text, bool first_choice);
  void add_reasoning(std::string_view text, bool first_choice);
  // Patches a string that is a blob, once sealing is asked for.
  void seal_value(const JsonSpans& spans, Span value, std::vector<Patch>& patches);
  std::string sealed(std::string_view blob);

 private:
  std::unordered_map<std::string, std::string> sealed_;
};

// What becomes of an event.
struct EventChange {
  bool drop = false;
  std::vector<Patch> patches;  // of its data
  std::string before;          // whole events to send before it
};

class AnswerDialect {
 public:
  virtual ~AnswerDialect() = default;
  virtual void event(const FramedEvent& event, Element root, EventChange& change) = 0;
  // One JSON answer, or one value of a list of them: its place in `spans` and in the tree.
  virtual void whole(const JsonSpans& spans, Span place, Element root, std::vector<Patch>& patches) = 0;
  // `data: [DONE]` came.
  virtual void done() {}
  // Kept calls, as the dialect has them; null when there are none.
  virtual Json tool_calls() const { return nullptr; }
};

std::unique_ptr<AnswerDialect> chat_answer(AnswerState& state);  // completions and embeddings too
std::unique_ptr<AnswerDialect> responses_answer(AnswerState& state);
std::unique_ptr<AnswerDialect> messages_answer(AnswerState& state);
std::unique_ptr<AnswerDialect> stored_answer(AnswerState& state);

// A copy of an event that can be patched: where its data begins in it, in one line.
struct EditableEvent {
  std::string raw;
  std::size_t data_at = 0;
};
EditableEvent editable(const FramedEvent& event);
// The event with its data patched; every other byte as it was.
std::string with_patches(const FramedEvent& event, std::vector<Patch> patches);

// Calls visit(span, element) for the elements of an array in both of its forms.
template <class Visit>
void each_place(const JsonSpans& spans, Span array, const std::optional<Element>& elements, Visit&& visit) {
  const std::vector<Span> places = spans.elements(array);
  std::size_t i = 0;
  each(elements, [&](Element element) {
    if (i < places.size()) visit(places[i++], element);
  });
}

// Whether the member is there and says something: not null, "" or [].
bool says(const std::optional<Element>& value);

}  // namespace retort::api
