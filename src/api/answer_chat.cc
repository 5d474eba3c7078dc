// Answers of chat and completions: chunks with choices, reasoning in the fields that servers have for it.
#include <algorithm>
#include <map>
#include <set>

#include "api/answer_dialect.h"

namespace retort::api {
namespace {

// Names under which servers send the text of reasoning: DeepSeek and older vLLM; OpenRouter and newer vLLM.
constexpr std::string_view kReasoningFields[] = {"reasoning_content", "reasoning"};

struct Call {
  std::string id, type, name, input;
};

class ChatAnswer final : public AnswerDialect {
 public:
  explicit ChatAnswer(AnswerState& state) : state_(state) {}

  void done() override { state_.facts.ended = true; }

  void event(const FramedEvent& event, Element root, EventChange& change) override {
    const Seen seen = meter(root, "delta");
    const AnswerEdits& edits = state_.edits;
    const auto usage = part(root, "usage");
    if (edits.hide_usage && is_object(usage) && is_empty_array(part(root, "choices"))) {
      change.drop = true;
      return;
    }
    if (edits.hide_usage && usage && usage->is_null()) hide_null_usage(event.data, change.patches);
    const bool blobs = seen.blobs && edits.seal;
    const bool logprobs = seen.logprobs && edits.strip_logprobs;
    if (seen.reasoning && edits.strip_reasoning && seen.nothing_else && !seen.blobs && !is_object(usage)) {
      change.drop = true;
    } else if ((seen.reasoning && edits.strip_reasoning) || blobs || logprobs) {
      const JsonSpans spans(event.data);
      edit(spans, spans.root(), root, "delta", change.patches);
    }
  }

  void whole(const JsonSpans& spans, Span place, Element root, std::vector<Patch>& patches) override {
    const Seen seen = meter(root, "message");
    const AnswerEdits& edits = state_.edits;
    if ((seen.reasoning && edits.strip_reasoning) || (seen.blobs && edits.seal) ||
        (seen.logprobs && edits.strip_logprobs)) {
      edit(spans, place, root, "message", patches);
    }
  }

  Json tool_calls() const override {
    if (calls_.empty()) return nullptr;
    Json list = Json::array();
    for (const auto& [index, call] : calls_) {
      Json one = Json::object();
      if (!call.id.empty()) one["id"] = call.id;
      one["type"] = call.type.empty() ? "function" : call.type;
      if (call.type == "custom") {
        one["custom"] = {{"name", call.name}, {"input", call.input}};
      } else {
        one["function"] = {{"name", call.name}, {"arguments", call.input}};
      }
      list.push_back(std::move(one));
    }
    return list;
  }

 private:
  struct Seen {
    bool reasoning = false;    // a field of it that isn't empty
    bool blobs = false;        // signatures or data in reasoning_details
    bool logprobs = false;     // where they aren't null
    bool nothing_else = true;  // than reasoning
  };

  Seen meter(Element root, std::string_view message_key) {
    Seen seen;
    if (says(part(root, "error"))) state_.facts.failed = true;
    take_usage(part(root, "usage"));
    if (says(part(root, "prompt_logprobs"))) seen.logprobs = true;
    each(part(root, "choices"), [&](Element choice) {
      const std::int64_t index = count_at(choice, "index");
      const bool first = index == 0;
      if (const std::string_view finish = text_at(choice, "finish_reason"); !finish.empty()) {
        if (first) state_.facts.finish = finish;
        seen.nothing_else = false;
      }
      if (says(part(choice, "logprobs")) || says(part(choice, "prompt_logprobs"))) seen.logprobs = true;
      if (const std::string_view text = text_at(choice, "text"); !text.empty()) {
        state_.add_text(text, first);
        seen.nothing_else = false;
      }
      if (begun_.insert(index).second) seen.nothing_else = false;
      if (const auto message = part(choice, message_key)) take_message(*message, first, seen);
    });
    return seen;
  }

  void take_message(Element message, bool first, Seen& seen) {
    for (const std::string_view key : {"content", "refusal"}) {
      const auto content = part(message, key);
      if (!says(content)) continue;
      if (!content->is_array()) seen.nothing_else = false;
      state_.add_text(text_of(*content), first);
      each(content, [&](Element block) { take_block(block, first, seen); });
    }
    bool counted = false;
    for (const std::string_view key : kReasoningFields) {
      const auto reasoning = part(message, key);
      if (!says(reasoning)) continue;
      seen.reasoning = true;
      if (!counted) state_.add_reasoning(text_of(*reasoning), first);
      counted = true;
    }
    each(part(message, "reasoning_details"), [&](Element detail) {
      seen.reasoning = true;
      seen.blobs = seen.blobs || says(part(detail, "signature")) || says(part(detail, "data"));
      if (counted) return;
      state_.add_reasoning(text_at(detail, "text"), first);
      state_.add_reasoning(text_at(detail, "summary"), first);
    });
    std::int64_t place = 0;
    each(part(message, "tool_calls"), [&](Element call) {
      const auto index = part(call, "index");
      take_call(call, index ? count_at(call, "index") : place, first);
      ++place;
      seen.nothing_else = false;
    });
    if (const auto call = part(message, "function_call"); is_object(call)) {
      take_function(*call, first ? &calls_[0] : nullptr, "arguments");
      seen.nothing_else = false;
    }
    if (says(part(message, "audio")) || says(part(message, "images"))) seen.nothing_else = false;
  }

  // Some servers answer in parts, of which some are reasoning: {"type":"thinking","thinking":[{"type":"text","text"}]}.
  void take_block(Element block, bool first, Seen& seen) {
    const auto thinking = part(block, "thinking");
    if (!says(thinking)) {
      seen.nothing_else = false;
      state_.add_text(text_at(block, "text"), first);
      return;
    }
    seen.reasoning = true;
    state_.add_reasoning(text_of(*thinking), first);
    each(thinking, [&](Element text) { state_.add_reasoning(text_at(text, "text"), first); });
  }

  void take_call(Element call, std::int64_t index, bool first) {
    Call* kept = state_.edits.keep_text && first ? &calls_[index] : nullptr;
    if (kept != nullptr) {
      if (kept->id.empty()) kept->id = text_at(call, "id");
      if (kept->type.empty()) kept->type = text_at(call, "type");
    }
    if (const auto function = part(call, "function")) take_function(*function, kept, "arguments");
    if (const auto custom = part(call, "custom")) take_function(*custom, kept, "input");
  }

  void take_function(Element function, Call* kept, std::string_view input_key) {
    const std::string_view name = text_at(function, "name");
    const std::string_view input = text_at(function, input_key);
    state_.tool_bytes += static_cast<std::int64_t>(name.size() + input.size());
    if (kept == nullptr || !state_.edits.keep_text) return;
    kept->name += name;
    kept->input += input;
  }

  void take_usage(const std::optional<Element>& usage) {
    if (!is_object(usage)) return;
    Usage& total = state_.facts.usage;
    total.input = count_at(*usage, "prompt_tokens");
    total.output = count_at(*usage, "completion_tokens");
    total.reported = true;
    const auto input_details = part(*usage, "prompt_tokens_details");
    total.cached = input_details ? std::min(count_at(*input_details, "cached_tokens"), total.input) : 0;
    const auto details = part(*usage, "completion_tokens_details");
    total.reasoning = details ? count_at(*details, "reasoning_tokens") : 0;
    // Some services count reasoning beside the completion: their total tells.
    if (total.reasoning > 0 && count_at(*usage, "total_tokens") == total.input + total.output + total.reasoning) {
      total.output += total.reasoning;
    }
  }

  static bool is_empty_array(const std::optional<Element>& choices) {
    return choices && choices->is_array() && !says(choices);
  }

  static void hide_null_usage(std::string_view data, std::vector<Patch>& patches) {
    const JsonSpans spans(data);
    std::vector<Span> parts;
    std::vector<bool> removed;
    for (const MemberSpan& member : spans.members(spans.root())) {
      parts.push_back({member.key.begin, member.value.end});
      removed.push_back(decoded_string(spans.text(member.key)) == "usage" && spans.text(member.value) == "null");
    }
    remove_parts(parts, removed, patches);
  }

  void edit(const JsonSpans& spans, Span place, Element root, std::string_view message_key,
            std::vector<Patch>& patches) {
    null_logprobs(spans, place, root, "prompt_logprobs", patches);
    each_place(spans, spans.member(place, "choices"), part(root, "choices"), [&](Span choice_place, Element choice) {
      null_logprobs(spans, choice_place, choice, "logprobs", patches);
      null_logprobs(spans, choice_place, choice, "prompt_logprobs", patches);
      const Span message_place = spans.member(choice_place, message_key);
      const auto message = part(choice, message_key);
      if (!message) return;
      if (state_.edits.strip_reasoning) {
        for (const std::string_view key : kReasoningFields) {
          if (says(part(*message, key))) patches.push_back({spans.member(message_place, key), "null"});
        }
        each_place(spans, spans.member(message_place, "content"), part(*message, "content"),
                   [&](Span block_place, Element block) {
                     const auto thinking = part(block, "thinking");
                     if (!says(thinking)) return;
                     patches.push_back({spans.member(block_place, "thinking"), thinking->is_string() ? "\"\"" : "[]"});
                   });
      }
      each_place(spans, spans.member(message_place, "reasoning_details"), part(*message, "reasoning_details"),
                 [&](Span detail_place, Element detail) {
                   for (const std::string_view key : {"text", "summary"}) {
                     if (state_.edits.strip_reasoning && says(part(detail, key))) {
                       patches.push_back({spans.member(detail_place, key), "\"\""});
                     }
                   }
                   for (const std::string_view key : {"signature", "data"}) {
                     state_.seal_value(spans, spans.member(detail_place, key), patches);
                   }
                 });
    });
  }

  void null_logprobs(const JsonSpans& spans, Span place, Element object, std::string_view key,
                     std::vector<Patch>& patches) {
    if (state_.edits.strip_logprobs && says(part(object, key))) patches.push_back({spans.member(place, key), "null"});
  }

  AnswerState& state_;
  std::set<std::int64_t> begun_;  // choices of which something came
  std::map<std::int64_t, Call> calls_;
};

}  // namespace

std::unique_ptr<AnswerDialect> chat_answer(AnswerState& state) { return std::make_unique<ChatAnswer>(state); }

}  // namespace retort::api
