#include "api/answer.h"

#include <algorithm>

#include "api/answer_dialect.h"

namespace retort::api {
namespace {

// How many bytes a token is taken for where none are reported.
constexpr std::int64_t kBytesPerToken = 4;

std::int64_t tokens_of(std::int64_t bytes) {
  return (std::max<std::int64_t>(bytes, 0) + kBytesPerToken - 1) / kBytesPerToken;
}

std::unique_ptr<AnswerDialect> dialect_for(Operation operation, AnswerState& state) {
  switch (operation) {
    case Operation::kMessages: return messages_answer(state);
    case Operation::kResponses: return responses_answer(state);
    case Operation::kStored: return stored_answer(state);
    default: return chat_answer(state);
  }
}

}  // namespace

struct AnswerStream::Inside {
  std::int64_t prompt_bytes = 0;
  std::shared_ptr<JsonReader> reader;
  AnswerState state;
  SseFramer framer;
  std::unique_ptr<AnswerDialect> dialect;

  void take(const FramedEvent& event, std::string& out);
};

void AnswerStream::Inside::take(const FramedEvent& event, std::string& out) {
  if (event.data_lines == 0) {
    out += event.raw;
    return;
  }
  // The official clients look no further than this either.
  if (event.data.starts_with("[DONE]")) {
    dialect->done();
    out += event.raw;
    return;
  }
  Element root;
  if (reader->inside().read(event.data, root) != simdjson::SUCCESS) {
    ++state.facts.unreadable;
    state.facts.text_bytes += static_cast<std::int64_t>(event.data.size());
    out += event.raw;
    return;
  }
  EventChange change;
  dialect->event(event, root, change);
  out += change.before;
  if (change.drop) return;
  if (change.patches.empty()) {
    out += event.raw;
  } else {
    out += with_patches(event, std::move(change.patches));
  }
}

AnswerStream::AnswerStream(Operation operation, std::int64_t prompt_bytes, AnswerEdits edits,
                           std::shared_ptr<JsonReader> reader)
    : inside_(std::make_unique<Inside>()) {
  inside_->prompt_bytes = prompt_bytes;
  inside_->reader = reader ? std::move(reader) : std::make_shared<JsonReader>();
  inside_->state.edits = std::move(edits);
  inside_->dialect = dialect_for(operation, inside_->state);
}
AnswerStream::~AnswerStream() = default;
AnswerStream::AnswerStream(AnswerStream&&) noexcept = default;

Result<std::string> AnswerStream::feed(std::string_view piece) {
  std::string out;
  out.reserve(piece.size() + inside_->framer.rest().size());
  RETORT_TRY(inside_->framer.feed(piece, [&](const FramedEvent& event) { inside_->take(event, out); }));
  return out;
}

std::string AnswerStream::end() {
  std::string out;
  inside_->framer.end([&](const FramedEvent& event) { inside_->take(event, out); });
  return out;
}

std::string AnswerStream::whole(std::string_view body) {
  Element root;
  AnswerFacts& facts = inside_->state.facts;
  if (inside_->reader->inside().read(body, root) != simdjson::SUCCESS) {
    ++facts.unreadable;
    facts.text_bytes += static_cast<std::int64_t>(body.size());
    return std::string(body);
  }
  facts.ended = true;
  const JsonSpans spans(body);
  std::vector<Patch> patches;
  inside_->dialect->whole(spans, spans.root(), root, patches);
  return patches.empty() ? std::string(body) : patched(body, std::move(patches));
}

bool AnswerStream::ended() const { return inside_->state.facts.ended; }
bool AnswerStream::failed() const { return inside_->state.facts.failed; }
bool AnswerStream::reasoning_seen() const { return inside_->state.facts.reasoning_seen; }
std::int64_t AnswerStream::unreadable() const { return inside_->state.facts.unreadable; }

AnswerFacts AnswerStream::facts() const {
  const AnswerState& state = inside_->state;
  AnswerFacts facts = state.facts;
  facts.tool_calls = inside_->dialect->tool_calls();
  if (facts.usage.reported) return facts;
  if (!state.input_known) facts.usage.input = tokens_of(inside_->prompt_bytes);
  facts.usage.output =
      std::max(facts.usage.output, tokens_of(facts.text_bytes + facts.reasoning_bytes + state.tool_bytes));
  facts.usage.reasoning = std::max(facts.usage.reasoning, tokens_of(facts.reasoning_bytes));
  return facts;
}

}  // namespace retort::api
