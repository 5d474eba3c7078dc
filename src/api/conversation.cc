#include "api/conversation.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace retort::api {
namespace {

using simdjson::dom::element_type;

// A tagged text with its length before it, so that no two lists of texts have the same bytes.
void put(char tag, std::string_view text, std::string& out) {
  out += tag;
  out += std::to_string(text.size());
  out += ':';
  out += text;
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

// A value with its keys sorted, without nulls and what moves from turn to turn.
void put_value(Element value, bool is_item, std::string& out) {
  switch (value.type()) {
    case element_type::STRING: put('s', text_of(value), out); break;
    case element_type::ARRAY: {
      out += '[';
      each(value, [&](Element element) { put_value(element, false, out); });
      out += ']';
      break;
    }
    case element_type::OBJECT: {
      std::vector<std::pair<std::string_view, Element>> members;
      each_member(value, [&](std::string_view key, Element member) {
        if (member.is_null() || key == "cache_control") return;
        if (is_item && is_one_of(key, {"id", "status"})) return;
        members.emplace_back(key, member);
      });
      std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      out += '{';
      for (const auto& [key, member] : members) {
        put('k', key, out);
        put_value(member, false, out);
      }
      out += '}';
      break;
    }
    default: put('n', simdjson::minify(value), out);
  }
}

void put_content(Element content, std::string& out);

void put_block(Element block, std::string& out) {
  const std::string_view type = text_at(block, "type");
  if (is_one_of(type, {"thinking", "redacted_thinking"})) return;
  if (block.is_string()) return put('t', text_of(block), out);
  if (is_one_of(type, {"text", "input_text", "output_text"})) return put('t', text_at(block, "text"), out);
  if (type == "refusal") return put('t', text_at(block, "refusal"), out);
  if (type == "tool_use") {
    put('c', text_at(block, "id"), out);
    put('m', text_at(block, "name"), out);
    if (const auto input = part(block, "input")) put_value(*input, false, out);
    return;
  }
  if (type == "tool_result") {
    put('r', text_at(block, "tool_use_id"), out);
    if (is_true(part(block, "is_error"))) out += 'e';
    if (const auto content = part(block, "content")) put_content(*content, out);
    out += '.';
    return;
  }
  put_value(block, false, out);
}

void put_content(Element content, std::string& out) {
  if (content.is_string()) {
    put('t', text_of(content), out);
  } else if (content.is_object()) {
    put_block(content, out);
  } else {
    each(content, [&](Element block) { put_block(block, out); });
  }
}

// A turn with a role. Nothing, when nothing but opaque reasoning is in it.
void put_message(Element message, std::string& out) {
  std::string content;
  if (const auto value = part(message, "content")) put_content(*value, content);
  each(part(message, "tool_calls"), [&](Element call) {
    put('c', text_at(call, "id"), content);
    for (const std::string_view key : {"function", "custom"}) {
      if (const auto function = part(call, key)) put_value(*function, false, content);
    }
  });
  if (const std::string_view id = text_at(message, "tool_call_id"); !id.empty()) put('r', id, content);
  if (content.empty()) return;
  put('R', text_at(message, "role"), out);
  out += content;
}

void put_item(Element item, std::string& out) {
  const std::string_view type = text_at(item, "type");
  if (type.empty() || type == "message") return put_message(item, out);
  if (is_one_of(type, {"reasoning", "compaction", "item_reference"})) return;
  put('I', type, out);
  if (is_one_of(type, {"function_call", "custom_tool_call"})) {
    put('c', text_at(item, "call_id"), out);
    put('m', text_at(item, "name"), out);
    put('a', text_at(item, type == "function_call" ? "arguments" : "input"), out);
  } else if (const auto output = part(item, "output"); output && type.ends_with("_output")) {
    put('r', text_at(item, "call_id"), out);
    put_content(*output, out);
  } else {
    put_value(item, true, out);
  }
}

bool is_own(Element turn) {
  return is_one_of(text_at(turn, "role"), {"user", "tool", "function"}) || text_at(turn, "type").ends_with("_output");
}

bool is_of_the_system(Element turn) { return is_one_of(text_at(turn, "role"), {"system", "developer"}); }

}  // namespace

Operation conversation_of(Operation operation, Element root) {
  switch (operation) {
    case Operation::kChat:
    case Operation::kMessages:
    case Operation::kResponses: return operation;
    case Operation::kCountTokens: return part(root, "messages") ? Operation::kMessages : Operation::kResponses;
    default: return Operation::kNone;
  }
}

std::string_view turns_key(Operation conversation) {
  return conversation == Operation::kResponses ? "input" : "messages";
}

ConversationDigest::ConversationDigest(Operation operation)
    : operation_(operation), prefix_(sha256("retort conversation 1 " + std::string(name_of(operation)))) {}

void ConversationDigest::add(Element turn) {
  if (is_of_the_system(turn)) return;
  if (operation_ == Operation::kResponses) {
    put_item(turn, pending_);
  } else {
    put_message(turn, pending_);
  }
  if (is_own(turn)) close_own();
}

void ConversationDigest::add_text(std::string_view text) {
  put('R', "user", pending_);
  put('t', text, pending_);
  close_own();
}

void ConversationDigest::close_own() {
  // Each digest is of the one before and what came since, so that every prefix costs its own turns alone.
  pending_.insert(0, reinterpret_cast<const char*>(prefix_.bytes.data()), prefix_.bytes.size());
  prefix_ = sha256(pending_);
  pending_.clear();
}

}  // namespace retort::api
