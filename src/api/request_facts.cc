#include "api/request_facts.h"

#include <algorithm>
#include <array>

#include "api/json_dom.h"
#include "api/prompt_texts.h"

namespace retort::api {
namespace {

using simdjson::dom::element_type;

// Adds up what a document holds, and finds a key that an object has twice.
class Walk {
 public:
  void over(Element value) {
    switch (value.type()) {
      case element_type::STRING: bytes_ += static_cast<std::int64_t>(text_of(value).size()); break;
      case element_type::ARRAY: each(value, [this](Element element) { over(element); }); break;
      case element_type::OBJECT: over_object(value); break;
      default: bytes_ += 4;
    }
  }
  std::int64_t bytes() const { return bytes_; }
  // "" when no key stands twice.
  std::string_view twice() const { return twice_; }
  bool found() const { return found_; }

 private:
  void over_object(Element object) {
    // Most objects have few keys: they are compared with each other; many are sorted.
    std::array<std::string_view, 16> few;
    std::size_t count = 0;
    std::vector<std::string_view> many;
    each_member(object, [&](std::string_view key, Element value) {
      if (count < few.size()) {
        const auto end = few.begin() + static_cast<std::ptrdiff_t>(count);
        if (std::find(few.begin(), end, key) != end) report(key);
        few[count++] = key;
      } else {
        if (many.empty()) many.assign(few.begin(), few.end());
        many.push_back(key);
      }
      bytes_ += static_cast<std::int64_t>(key.size());
      over(value);
    });
    if (many.empty()) return;
    std::sort(many.begin(), many.end());
    if (const auto same = std::adjacent_find(many.begin(), many.end()); same != many.end()) report(*same);
  }
  void report(std::string_view key) {
    if (!found_) twice_ = key;
    found_ = true;
  }

  std::int64_t bytes_ = 0;
  std::string_view twice_;
  bool found_ = false;
};

std::string_view kind_of(Element value) {
  switch (value.type()) {
    case element_type::ARRAY: return "an array";
    case element_type::OBJECT: return "an object";
    case element_type::STRING: return "a string";
    case element_type::BOOL: return "true or false";
    case element_type::NULL_VALUE: return "null";
    default: return "a number";
  }
}

std::string why(simdjson::error_code error) {
  switch (error) {
    case simdjson::EMPTY: return "The request has no body; expected a JSON object.";
    case simdjson::UTF8_ERROR: return "The request's body is not valid UTF-8; expected JSON in UTF-8.";
    case simdjson::DEPTH_ERROR:
      return "The request's body is nested too deeply; expected at most " + std::to_string(kMostDepth) + " levels.";
    case simdjson::NUMBER_ERROR:
      return "A number in the request's body is malformed or too large; expected 64-bit integers and decimals.";
    case simdjson::STRING_ERROR:
      return "A string in the request's body has a wrong escape or half of a surrogate pair; expected valid JSON.";
    default: return "The request's body is not valid JSON; expected one JSON object and nothing after it.";
  }
}

// Fields of one object, read with what is expected of each; the first complaint is kept.
class Fields {
 public:
  explicit Fields(std::string prefix = "") : prefix_(std::move(prefix)) {}

  void flag(std::string_view key, Element value, bool& out) {
    if (value.is_null() || value.get(out) == simdjson::SUCCESS) return;
    complain(key, value, "true or false");
  }
  void text(std::string_view key, Element value, std::string& out) {
    std::string_view view;
    if (value.is_null()) return;
    if (value.get(view) != simdjson::SUCCESS) return complain(key, value, "a string");
    out = view;
  }
  std::optional<std::int64_t> whole(std::string_view key, Element value, std::int64_t least, std::int64_t most) {
    if (value.is_null()) return std::nullopt;
    std::int64_t number = 0;
    const bool read = value.get(number) == simdjson::SUCCESS;
    if (read && number >= least && number <= most) return number;
    const std::string range = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
    if (value.is_string() || value.is_bool() || value.is_array() || value.is_object()) {
      complain(key, value, range);
    } else {
      say("The field '" + prefix_ + std::string(key) + "' is out of range; expected " + range + ".");
    }
    return std::nullopt;
  }
  // Whether there is such a value at all.
  bool of(std::string_view key, Element value, element_type type, std::string_view expected) {
    if (value.is_null()) return false;
    if (value.type() == type) return true;
    complain(key, value, expected);
    return false;
  }
  bool object(std::string_view key, Element value) { return of(key, value, element_type::OBJECT, "an object"); }
  bool array(std::string_view key, Element value) { return of(key, value, element_type::ARRAY, "an array"); }
  void text_or_array(std::string_view key, Element value) {
    if (value.is_null() || value.is_string() || value.is_array()) return;
    complain(key, value, "a string or an array");
  }
  void complain(std::string_view key, Element value, std::string_view expected) {
    say("The field '" + prefix_ + std::string(key) + "' is " + std::string(kind_of(value)) + "; expected " +
        std::string(expected) + ".");
  }
  void say(std::string sentence) {
    if (complaint_.empty()) complaint_ = std::move(sentence);
  }
  const std::string& complaint() const { return complaint_; }

 private:
  std::string prefix_;
  std::string complaint_;
};

bool empty_object(Element value) {
  simdjson::dom::object members;
  return value.get(members) != simdjson::SUCCESS || members.begin() == members.end();
}

std::int64_t length(Element value) {
  std::int64_t count = 0;
  each(value, [&](Element) { ++count; });
  return count;
}

class FactsReading {
 public:
  explicit FactsReading(Operation operation) : operation_(operation) {}

  void take(std::string_view key, Element value) {
    RequestFacts& facts = facts_;
    if (key == "model") {
      fields_.text(key, value, facts.model);
    } else if (key == "stream") {
      fields_.flag(key, value, facts.stream);
    } else if (key == "stream_options") {
      take_stream_options(key, value);
    } else if (key == "messages") {
      fields_.array(key, value);
    } else if (key == "input") {
      if (operation_ != Operation::kOther) fields_.text_or_array(key, value);
    } else if (key == "store") {
      fields_.flag(key, value, facts.store);
    } else if (key == "background") {
      fields_.flag(key, value, facts.background);
    } else if (key == "tools" || key == "functions") {
      if (fields_.array(key, value) && length(value) > 0) facts.tools = true;
    } else if (key == "seed") {
      if (fields_.whole(key, value, INT64_MIN, INT64_MAX)) facts.seed = true;
    } else if (key == "logit_bias") {
      if (fields_.object(key, value) && !empty_object(value)) facts.logit_bias = true;
    } else if (key == "echo") {
      fields_.flag(key, value, facts.echo);
    } else if (key == "n" || key == "best_of") {
      if (const auto count = fields_.whole(key, value, 1, kMostAnswers)) facts.n = std::max(facts.n, *count);
    } else if (key == "prompt" && operation_ == Operation::kCompletions) {
      fields_.text_or_array(key, value);
      prompts_ = prompts_of(value);
    } else if (key == "previous_response_id" || key == "conversation") {
      if (!value.is_null()) facts.continues = true;
    } else {
      take_tokens(key, value);
      take_logprobs(key, value);
      take_reasoning(key, value);
      take_user(key, value);
    }
  }

  // Once all members were taken.
  Result<RequestFacts> finish(Element root, std::int64_t total_bytes) {
    if (facts_.model.empty() && needs_model()) {
      fields_.say("The request names no model; expected the field 'model' with a model's name.");
    }
    facts_.n *= prompts_;
    if (facts_.n > kMostAnswers) {
      fields_.say("The request asks for " + std::to_string(facts_.n) + " answers; expected at most " +
                  std::to_string(kMostAnswers) + ".");
    }
    if (!fields_.complaint().empty()) return caller_error(fields_.complaint());
    if (operation_ == Operation::kResponses) {
      each(part(root, "input"), [&](Element item) {
        if (text_at(item, "type") == "item_reference") facts_.continues = true;
      });
    }
    facts_.end_user = !safety_identifier_.empty() ? safety_identifier_ : !user_.empty() ? user_ : metadata_user_;
    facts_.blobs = may_hold_blobs(operation_, root);
    std::int64_t read = 0;
    const PromptVisitor visitor{.text = [&](std::string_view text) { read += static_cast<std::int64_t>(text.size()); },
                                .token_ids = [&](std::int64_t count) { read += 4 * count; },
                                .media = [&](Element block) { facts_.media_bytes += bytes_of(block); }};
    visit_prompt(operation_, root, visitor);
    facts_.prompt_bytes = read;
    facts_.other_bytes = std::max<std::int64_t>(total_bytes - read, 0);
    return std::move(facts_);
  }

  void start() { facts_.store = operation_ == Operation::kResponses; }

 private:
  bool needs_model() const {
    return generates(operation_) || operation_ == Operation::kCountTokens || operation_ == Operation::kEmbeddings;
  }

  static std::int64_t prompts_of(Element prompt) {
    std::int64_t texts = 0;
    each(prompt, [&](Element element) { texts += element.is_string() || element.is_array() ? 1 : 0; });
    return std::max<std::int64_t>(texts, 1);
  }

  void take_stream_options(std::string_view key, Element value) {
    if (!fields_.object(key, value)) return;
    if (const auto asked = part(value, "include_usage")) {
      fields_.flag("stream_options.include_usage", *asked, facts_.include_usage);
    }
  }

  void take_tokens(std::string_view key, Element value) {
    const bool chat = operation_ == Operation::kChat;
    const bool named = key == "max_tokens" ? operation_ != Operation::kResponses
                                           : (key == "max_completion_tokens" && chat) ||
                                                 (key == "max_output_tokens" && operation_ == Operation::kResponses);
    if (!named) return;
    // With two names given, the larger is what an upstream may take.
    if (const auto most = fields_.whole(key, value, 0, kMostTokens)) {
      facts_.max_tokens = std::max(facts_.max_tokens.value_or(0), *most);
    }
  }

  void take_logprobs(std::string_view key, Element value) {
    if (key == "logprobs" && operation_ != Operation::kCompletions) {
      bool asked = false;
      fields_.flag(key, value, asked);
      facts_.logprobs = facts_.logprobs || asked;
    } else if (key == "logprobs" || key == "top_logprobs" || key == "prompt_logprobs") {
      if (const auto most = fields_.whole(key, value, 0, kMostTokens)) {
        facts_.top_logprobs = std::max(facts_.top_logprobs, *most);
        // In a completion 0 asks for the written tokens' own; elsewhere it asks for no alternatives.
        if (*most > 0 || key != "top_logprobs") facts_.logprobs = true;
      }
    } else if (key == "include" && fields_.array(key, value)) {
      each(value, [&](Element name) {
        if (!name.is_string()) fields_.complain(key, value, "an array of strings");
        const std::string_view text = text_of(name);
        if (text.find("logprobs") != std::string_view::npos) facts_.logprobs = true;
        if (text.starts_with("reasoning.")) facts_.reasoning = true;
      });
    }
  }

  void take_reasoning(std::string_view key, Element value) {
    if (key == "reasoning_effort") {
      std::string effort;
      fields_.text(key, value, effort);
      if (!effort.empty() && effort != "none") facts_.reasoning = true;
    } else if (key == "include_reasoning") {
      bool asked = false;
      fields_.flag(key, value, asked);
      facts_.reasoning = facts_.reasoning || asked;
    } else if (key == "reasoning") {
      if (fields_.object(key, value)) take_reasoning_object(value);
    } else if (key == "thinking") {
      if (!fields_.object(key, value)) return;
      const std::string_view type = text_at(value, "type");
      if (!type.empty() && type != "disabled") facts_.reasoning = true;
      take_budget("thinking.budget_tokens", part(value, "budget_tokens"));
    } else if (key == "chat_template_kwargs") {
      if (value.is_object() && (is_true(part(value, "enable_thinking")) || is_true(part(value, "thinking")))) {
        facts_.reasoning = true;
      }
    }
  }

  void take_reasoning_object(Element value) {
    bool off = false;
    bool asked = false;
    each_member(value, [&](std::string_view name, Element field) {
      if (field.is_null()) return;
      bool flag = false;
      if (name == "effort" && text_of(field) == "none") {
        off = true;
      } else if (name == "enabled" && field.get(flag) == simdjson::SUCCESS && !flag) {
        off = true;
      } else {
        asked = true;
      }
    });
    if (asked && !off) facts_.reasoning = true;
    take_budget("reasoning.max_tokens", part(value, "max_tokens"));
  }

  void take_budget(std::string_view key, const std::optional<Element>& value) {
    if (!value) return;
    if (const auto budget = fields_.whole(key, *value, 0, kMostTokens)) {
      facts_.reasoning_budget = std::max(facts_.reasoning_budget, *budget);
    }
  }

  void take_user(std::string_view key, Element value) {
    if (key == "safety_identifier") fields_.text(key, value, safety_identifier_);
    if (key == "user") fields_.text(key, value, user_);
    if (key != "metadata" || !fields_.object(key, value) || operation_ != Operation::kMessages) return;
    if (const auto id = part(value, "user_id")) fields_.text("metadata.user_id", *id, metadata_user_);
  }

  Operation operation_;
  RequestFacts facts_;
  Fields fields_;
  std::int64_t prompts_ = 1;
  std::string safety_identifier_, user_, metadata_user_;
};

}  // namespace

struct RequestReader::Inside {
  JsonReader json;
};

RequestReader::RequestReader() : inside_(std::make_unique<Inside>()) {}
RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;
RequestReader& RequestReader::operator=(RequestReader&&) noexcept = default;

Result<RequestFacts> RequestReader::read(Operation operation, std::string_view body) {
  Element root;
  const simdjson::error_code error = inside_->json.inside().read(body, root);
  if (error == simdjson::CAPACITY || error == simdjson::MEMALLOC) {
    return world_error("There is no memory for a request of this size.");
  }
  if (error != simdjson::SUCCESS) return caller_error(why(error));
  if (!root.is_object()) {
    return caller_error("The request's body is " + std::string(kind_of(root)) + "; expected a JSON object.");
  }
  Walk walk;
  walk.over(root);
  if (walk.found()) {
    return caller_error("The request's body has the key '" + std::string(walk.twice().substr(0, 64)) +
                        "' twice in one object; expected each key once.");
  }
  FactsReading reading(operation);
  reading.start();
  each_member(root, [&](std::string_view key, Element value) { reading.take(key, value); });
  return reading.finish(root, walk.bytes());
}

std::vector<std::string> RequestReader::prompt_texts(Operation operation, std::string_view body) {
  std::vector<std::string> texts;
  Element root;
  if (inside_->json.inside().read(body, root) != simdjson::SUCCESS) return texts;
  const PromptVisitor visitor{.text =
                                  [&](std::string_view text) {
                                    if (!text.empty()) texts.emplace_back(text);
                                  },
                              .token_ids = [](std::int64_t) {},
                              .media = [](Element) {}};
  visit_prompt(operation, root, visitor);
  return texts;
}

}  // namespace retort::api
