// Answers of the responses API: typed events, items of output, and the whole response again at the end.
#include "api/answer_dialect.h"

namespace retort::api {
namespace {

class ResponsesAnswer final : public AnswerDialect {
 public:
  explicit ResponsesAnswer(AnswerState& state) : state_(state) {}

  void event(const FramedEvent& event, Element root, EventChange& change) override {
    const std::string_view type = text_at(root, "type");
    if (part(root, "sequence_number")) state_.facts.sequence = count_at(root, "sequence_number");
    meter(type, root);
    const AnswerEdits& edits = state_.edits;
    const auto piece = part(root, "part");
    const bool of_reasoning =
        type.starts_with("response.reasoning") || (piece && text_at(*piece, "type") == "reasoning_text");
    if (of_reasoning && edits.strip_reasoning) {
      change.drop = true;
      return;
    }
    if (!edits.strip_logprobs && !edits.strip_reasoning && !edits.seal) return;
    const auto item = part(root, "item");
    const auto response = part(root, "response");
    const bool logprobs = edits.strip_logprobs && (says(part(root, "logprobs")) || piece);
    if (!item && !is_object(response) && !logprobs) return;
    const JsonSpans spans(event.data);
    const Span place = spans.root();
    empty_logprobs(spans, place, root, change.patches);
    if (piece) empty_logprobs(spans, spans.member(place, "part"), *piece, change.patches);
    if (item) edit_item(spans, spans.member(place, "item"), *item, change.patches);
    if (response) edit_response(spans, spans.member(place, "response"), *response, change.patches);
  }

  // A response, or an item of one.
  void whole(const JsonSpans& spans, Span place, Element root, std::vector<Patch>& patches) override {
    if (part(root, "output")) {
      take_response(root, true);
      edit_response(spans, place, root, patches);
    } else if (says(part(root, "error"))) {
      state_.facts.failed = true;
    } else {
      edit_item(spans, place, root, patches);
    }
  }

  Json tool_calls() const override { return calls_; }

 private:
  void meter(std::string_view type, Element root) {
    const std::string_view delta = text_at(root, "delta");
    if (type == "response.output_text.delta" || type == "response.refusal.delta") {
      state_.add_text(delta, true);
      text_came_ = true;
    } else if (type.starts_with("response.reasoning") && type.ends_with(".delta")) {
      state_.add_reasoning(delta, true);
      reasoning_came_ = true;
    } else if (type.ends_with("_call_arguments.delta") || type.ends_with("_call_input.delta") ||
               type.ends_with("_call_code.delta")) {
      state_.tool_bytes += static_cast<std::int64_t>(delta.size());
    } else if (type == "response.output_item.done") {
      if (const auto item = part(root, "item")) take_item(*item, false);
    } else if (type == "response.completed" || type == "response.incomplete" || type == "response.failed") {
      state_.facts.ended = true;
      if (const auto response = part(root, "response")) take_response(*response, false);
      if (type == "response.failed") state_.facts.failed = true;
    } else if (type == "error") {
      state_.facts.failed = true;
    }
  }

  // `alone`: the answer is this response, no events came before.
  void take_response(Element response, bool alone) {
    const std::string_view status = text_at(response, "status");
    const auto incomplete = part(response, "incomplete_details");
    const std::string_view reason = incomplete ? text_at(*incomplete, "reason") : std::string_view();
    state_.facts.finish = reason.empty() ? status : reason;
    if (status == "failed" || says(part(response, "error"))) state_.facts.failed = true;
    // What was told in events isn't told again.
    const bool text_came = text_came_;
    const bool reasoning_came = reasoning_came_;
    each(part(response, "output"), [&](Element item) {
      const std::string_view type = text_at(item, "type");
      if (type == "message" && !text_came) take_content(item);
      if (type == "reasoning") take_reasoning(item, reasoning_came);
      if (alone) take_item(item, true);
    });
    const auto usage = part(response, "usage");
    if (!is_object(usage)) return;
    Usage& total = state_.facts.usage;
    total.input = count_at(*usage, "input_tokens");
    total.output = count_at(*usage, "output_tokens");
    const auto input_details = part(*usage, "input_tokens_details");
    total.cached = input_details ? std::min(count_at(*input_details, "cached_tokens"), total.input) : 0;
    const auto details = part(*usage, "output_tokens_details");
    total.reasoning = details ? count_at(*details, "reasoning_tokens") : 0;
    total.reported = true;
  }

  void take_content(Element message) {
    each(part(message, "content"), [&](Element block) {
      state_.add_text(text_at(block, "text"), true);
      state_.add_text(text_at(block, "refusal"), true);
    });
  }

  void take_reasoning(Element item, bool came) {
    state_.facts.reasoning_seen = true;
    if (came) return;
    for (const std::string_view key : {"summary", "content"}) {
      each(part(item, key), [&](Element block) { state_.add_reasoning(text_at(block, "text"), true); });
    }
  }

  void take_item(Element item, bool alone) {
    const std::string_view type = text_at(item, "type");
    if (type == "reasoning") state_.facts.reasoning_seen = true;
    const bool function = type == "function_call";
    if (!function && type != "custom_tool_call") return;
    const std::string_view key = function ? "arguments" : "input";
    if (alone) state_.tool_bytes += static_cast<std::int64_t>(text_at(item, key).size());
    if (!state_.edits.keep_text) return;
    Json call = {{"type", type}, {"name", text_at(item, "name")}};
    call["call_id"] = text_at(item, "call_id");
    call[std::string(key)] = text_at(item, key);
    calls_.push_back(std::move(call));
  }

  void edit_response(const JsonSpans& spans, Span place, Element response, std::vector<Patch>& patches) {
    each_place(spans, spans.member(place, "output"), part(response, "output"),
               [&](Span item_place, Element item) { edit_item(spans, item_place, item, patches); });
  }

  void edit_item(const JsonSpans& spans, Span place, Element item, std::vector<Patch>& patches) {
    const std::string_view type = text_at(item, "type");
    const bool reasoning = type == "reasoning";
    // A compaction is what the model remembers of a conversation: as opaque, and as worth binding.
    if ((reasoning || type == "compaction") && says(part(item, "encrypted_content"))) {
      state_.seal_value(spans, spans.member(place, "encrypted_content"), patches);
    }
    if (reasoning) {
      for (const std::string_view key : {"summary", "content"}) {
        if (state_.edits.strip_reasoning && says(part(item, key))) patches.push_back({spans.member(place, key), "[]"});
      }
      return;
    }
    if (!state_.edits.strip_logprobs) return;
    each_place(spans, spans.member(place, "content"), part(item, "content"),
               [&](Span block_place, Element block) { empty_logprobs(spans, block_place, block, patches); });
  }

  void empty_logprobs(const JsonSpans& spans, Span place, Element object, std::vector<Patch>& patches) {
    if (state_.edits.strip_logprobs && says(part(object, "logprobs"))) {
      patches.push_back({spans.member(place, "logprobs"), "[]"});
    }
  }

  AnswerState& state_;
  bool text_came_ = false;
  bool reasoning_came_ = false;
  Json calls_;
};

// What was kept by the provider: a response, a completion, or a list of such, of items or of messages.
class StoredAnswer final : public AnswerDialect {
 public:
  explicit StoredAnswer(AnswerState& state) : responses_(responses_answer(state)), chat_(chat_answer(state)) {}

  void event(const FramedEvent& event, Element root, EventChange& change) override {
    responses_->event(event, root, change);
  }

  void whole(const JsonSpans& spans, Span place, Element root, std::vector<Patch>& patches) override {
    if (text_at(root, "object") == "list") {
      each_place(spans, spans.member(place, "data"), part(root, "data"),
                 [&](Span value_place, Element value) { one(spans, value_place, value, patches); });
    } else {
      one(spans, place, root, patches);
    }
  }

  Json tool_calls() const override {
    Json calls = responses_->tool_calls();
    return calls.is_null() ? chat_->tool_calls() : calls;
  }

 private:
  void one(const JsonSpans& spans, Span place, Element value, std::vector<Patch>& patches) {
    AnswerDialect& dialect = part(value, "choices") ? *chat_ : *responses_;
    dialect.whole(spans, place, value, patches);
  }

  std::unique_ptr<AnswerDialect> responses_;
  std::unique_ptr<AnswerDialect> chat_;
};

}  // namespace

std::unique_ptr<AnswerDialect> responses_answer(AnswerState& state) { return std::make_unique<ResponsesAnswer>(state); }
std::unique_ptr<AnswerDialect> stored_answer(AnswerState& state) { return std::make_unique<StoredAnswer>(state); }

}  // namespace retort::api
