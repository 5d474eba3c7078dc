// Answers of Anthropic's messages: blocks that start, grow and stop, with signatures that are sealed.
#include <map>

#include "api/answer_dialect.h"

namespace retort::api {
namespace {

class MessagesAnswer final : public AnswerDialect {
 public:
  explicit MessagesAnswer(AnswerState& state) : state_(state) {}

  void event(const FramedEvent& event, Element root, EventChange& change) override {
    const std::string_view type = text_at(root, "type");
    const std::int64_t index = count_at(root, "index");
    if (type == "content_block_delta") {
      take_delta(event, root, index, change);
    } else if (type == "content_block_start") {
      take_start(event, root, index, change);
    } else if (type == "content_block_stop") {
      change.before = released(index);
    } else if (type == "message_start") {
      if (const auto message = part(root, "message")) {
        if (const auto usage = part(*message, "usage")) take_usage(*usage);
      }
    } else if (type == "message_delta") {
      if (const auto delta = part(root, "delta")) take_finish(*delta);
      if (const auto usage = part(root, "usage"); is_object(usage)) {
        take_usage(*usage);
        state_.facts.usage.reported = true;
      }
    } else if (type == "message_stop") {
      state_.facts.ended = true;
    } else if (type == "error") {
      state_.facts.failed = true;
    }
  }

  void whole(const JsonSpans& spans, Span place, Element root, std::vector<Patch>& patches) override {
    if (text_at(root, "type") == "error") state_.facts.failed = true;
    take_finish(root);
    if (const auto usage = part(root, "usage"); is_object(usage)) {
      take_usage(*usage);
      state_.facts.usage.reported = true;
    }
    std::int64_t index = 0;
    each_place(spans, spans.member(place, "content"), part(root, "content"), [&](Span block_place, Element block) {
      take_block(block, index++);
      edit_block(spans, block_place, block, patches);
    });
  }

  Json tool_calls() const override {
    if (calls_.empty()) return nullptr;
    Json list = Json::array();
    for (const auto& [index, call] : calls_) {
      const Json input = call.input.empty() ? Json::object() : Json::parse(call.input, nullptr, false);
      list.push_back({{"type", "tool_use"},
                      {"id", call.id},
                      {"name", call.name},
                      // Cut in the middle it is no JSON: then what came of it.
                      {"input", input.is_discarded() ? Json(call.input) : input}});
    }
    return list;
  }

 private:
  struct Call {
    std::string id, name, input;
  };
  // Deltas of a signature, kept back until its block stops: the first event, and the text of all.
  struct Held {
    EditableEvent event;
    Span value;  // of the signature in the first event's data
    std::string signature;
  };

  void take_delta(const FramedEvent& event, Element root, std::int64_t index, EventChange& change) {
    const auto delta = part(root, "delta");
    if (!delta) return;
    const std::string_view type = text_at(*delta, "type");
    if (type == "text_delta") {
      state_.add_text(text_at(*delta, "text"), true);
    } else if (type == "thinking_delta") {
      state_.add_reasoning(text_at(*delta, "thinking"), true);
      change.drop = state_.edits.strip_reasoning;
    } else if (type == "input_json_delta") {
      const std::string_view json = text_at(*delta, "partial_json");
      state_.tool_bytes += static_cast<std::int64_t>(json.size());
      if (const auto call = calls_.find(index); call != calls_.end()) call->second.input += json;
    } else if (type == "signature_delta" && state_.edits.seal) {
      hold(event, text_at(*delta, "signature"), index);
      change.drop = true;
    }
  }

  void hold(const FramedEvent& event, std::string_view signature, std::int64_t index) {
    Held& held = held_[index];
    held.signature += signature;
    if (!held.event.raw.empty()) return;
    const JsonSpans spans(event.data);
    held.value = spans.member(spans.member(spans.root(), "delta"), "signature");
    held.event = editable(event);
  }

  std::string released(std::int64_t index) {
    const auto at = held_.find(index);
    if (at == held_.end()) return "";
    const Held held = std::move(at->second);
    held_.erase(at);
    if (held.signature.empty()) return held.event.raw;
    const Span value = {held.value.begin + held.event.data_at, held.value.end + held.event.data_at};
    return patched(held.event.raw, {{value, quoted_string(state_.sealed(held.signature))}});
  }

  void take_start(const FramedEvent& event, Element root, std::int64_t index, EventChange& change) {
    const auto block = part(root, "content_block");
    if (!block) return;
    take_block(*block, index);
    const std::string_view type = text_at(*block, "type");
    if (type != "thinking" && type != "redacted_thinking") return;
    const JsonSpans spans(event.data);
    edit_block(spans, spans.member(spans.root(), "content_block"), *block, change.patches);
  }

  void take_block(Element block, std::int64_t index) {
    const std::string_view type = text_at(block, "type");
    if (type == "text") {
      state_.add_text(text_at(block, "text"), true);
    } else if (type == "thinking" || type == "redacted_thinking") {
      state_.facts.reasoning_seen = true;
      state_.add_reasoning(text_at(block, "thinking"), true);
    } else if (type == "tool_use") {
      const auto input = part(block, "input");
      const std::string json = says(input) ? simdjson::minify(*input) : std::string();
      const std::string_view name = text_at(block, "name");
      const bool empty = json.empty() || json == "{}";
      state_.tool_bytes += static_cast<std::int64_t>(name.size() + (empty ? 0 : json.size()));
      if (!state_.edits.keep_text) return;
      calls_[index] = {std::string(text_at(block, "id")), std::string(name), empty ? std::string() : json};
    }
  }

  void edit_block(const JsonSpans& spans, Span place, Element block, std::vector<Patch>& patches) {
    const std::string_view type = text_at(block, "type");
    if (type == "thinking") {
      if (state_.edits.strip_reasoning && says(part(block, "thinking"))) {
        patches.push_back({spans.member(place, "thinking"), "\"\""});
      }
      state_.seal_value(spans, spans.member(place, "signature"), patches);
    } else if (type == "redacted_thinking") {
      state_.seal_value(spans, spans.member(place, "data"), patches);
    }
  }

  void take_finish(Element delta) {
    if (const std::string_view reason = text_at(delta, "stop_reason"); !reason.empty()) state_.facts.finish = reason;
  }

  // Cumulative: what is told again replaces what was told, what isn't stays.
  void take_usage(Element usage) {
    Usage& total = state_.facts.usage;
    const bool input = part(usage, "input_tokens") && !part(usage, "input_tokens")->is_null();
    if (input) {
      // Its input_tokens are those that no cache had to do with.
      total.cache_written = count_at(usage, "cache_creation_input_tokens");
      total.cached = count_at(usage, "cache_read_input_tokens");
      total.input = count_at(usage, "input_tokens") + total.cache_written + total.cached;
      state_.input_known = true;
    }
    if (part(usage, "output_tokens")) total.output = count_at(usage, "output_tokens");
    if (const auto details = part(usage, "output_tokens_details"); is_object(details)) {
      total.reasoning = std::max(count_at(*details, "thinking_tokens"), count_at(*details, "reasoning_tokens"));
    }
  }

  AnswerState& state_;
  std::map<std::int64_t, Held> held_;
  std::map<std::int64_t, Call> calls_;
};

}  // namespace

std::unique_ptr<AnswerDialect> messages_answer(AnswerState& state) { return std::make_unique<MessagesAnswer>(state); }

}  // namespace retort::api
