#include "collect/prompt_json.h"

#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "collect/json_rows.h"
#include "collect/tool_json.h"

namespace retort::collect {
namespace {

Result<std::string> text_member(const Json& value, const std::string& name) {
  if (!value.is_string()) return caller_error("`" + name + "` is " + kind_of(value) + "; expected a text.");
  return value.get<std::string>();
}

std::string optional_text(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// A message's content: a text, or parts of type text, which are one text.
Result<std::string> content_of(const Json& value) {
  if (!value.is_array()) return text_member(value, "content");
  std::string text;
  for (const Json& part : value) {
    if (part.is_object() && optional_text(part, "type") == "text" && part.contains("text")) {
      RETORT_ASSIGN(const std::string piece, text_member(part.at("text"), "text"));
      text += piece;
      continue;
    }
    return caller_error(part.is_object() && part.contains("type")
                            ? "a content part isn't of the type text; Retort carries text alone, no pictures or sound."
                            : "`content` is an array with a part that is no object with a `type`; expected a text, or "
                              "parts {\"type\": \"text\", \"text\": …}.");
  }
  return text;
}

Result<Role> role_of(const std::string& name) {
  if (name == "developer") return Role::kSystem;  // what newer models of one API call it
  const auto role = role_from_name(name);
  if (role) return *role;
  // A long one is no role but a misplaced text, which isn't repeated.
  return caller_error("the role" + (name.size() <= 20 ? " '" + name + "'" : std::string()) +
                      " is not known; expected system, user, assistant or tool.");
}

Result<Message> message_of(const Json& value, CallLedger& ledger) {
  const bool calls = value.is_object() && value.contains("tool_calls") && !value.at("tool_calls").is_null() &&
                     !value.at("tool_calls").empty();
  if (!value.is_object() || !value.contains("role") || (!value.contains("content") && !calls)) {
    return caller_error("a message is not of the form {\"role\": …, \"content\": …}.");
  }
  Message message;
  RETORT_ASSIGN(const std::string role, text_member(value.at("role"), "role"));
  RETORT_ASSIGN(message.role, role_of(role));
  if (value.contains("content") && !(calls && value.at("content").is_null())) {
    RETORT_ASSIGN(message.content, content_of(value.at("content")));
  }
  message.name = optional_text(value, "name");
  if (calls && message.role != Role::kAssistant) {
    return caller_error("a message of the role " + role + " calls tools; expected that of the assistant alone.");
  }
  if (message.role == Role::kTool) {
    message.tool_call_id = optional_text(value, "tool_call_id");
    RETORT_TRY(ledger.answer(message));
  } else {
    RETORT_TRY(ledger.settled());
  }
  if (calls) {
    RETORT_ASSIGN(const Json normal, tool_calls(value.at("tool_calls"), ledger.made()));
    ledger.call(normal);
    message.tool_calls = canonical_json(normal);
  }
  return message;
}

Result<std::vector<Message>> messages_of(const Json& list, const char* name, CallLedger& ledger) {
  if (!list.is_array() || list.empty()) {
    return caller_error("`" + std::string(name) + "` is not a list of messages, or is empty.");
  }
  std::vector<Message> messages;
  for (const Json& value : list) {
    RETORT_ASSIGN(Message message, message_of(value, ledger));
    messages.push_back(std::move(message));
  }
  return messages;
}

// `prompt` and `completion`: a text each, or messages each.
Result<std::vector<Message>> pair_of(const Json& row) {
  CallLedger ledger;
  std::vector<Message> messages;
  const Json& prompt = row.at("prompt");
  if (prompt.is_array()) {
    RETORT_ASSIGN(messages, messages_of(prompt, "prompt", ledger));
  } else {
    RETORT_ASSIGN(std::string text, text_member(prompt, "prompt"));
    messages.push_back({Role::kUser, std::move(text)});
  }
  const auto completion = row.find("completion");
  if (completion == row.end()) return messages;
  if (completion->is_array()) {
    RETORT_ASSIGN(std::vector<Message> answer, messages_of(*completion, "completion", ledger));
    for (Message& message : answer) messages.push_back(std::move(message));
  } else {
    RETORT_ASSIGN(std::string text, text_member(*completion, "completion"));
    messages.push_back({Role::kAssistant, std::move(text)});
  }
  return messages;
}

// The order of roles that a template can be asked to write.
Result<void> check_conversation(const std::vector<Message>& messages) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    if (message.role == Role::kSystem && i > 0) {
      return caller_error("a system message stands after other messages; expected it first.");
    }
    if (i > 0 && message.role == messages[i - 1].role && message.role != Role::kTool) {
      return caller_error("two " + std::string(name_of(message.role)) +
                          " messages follow each other; expected user and assistant in turn.");
    }
    if (message.role == Role::kUser && trim(message.content).empty()) {
      return caller_error("the user's message is empty; expected a text.");
    }
  }
  const Message& last = messages.back();
  if (last.role != Role::kUser && last.role != Role::kTool) {
    return caller_error("there is nothing to answer; expected a user's message before the answer.");
  }
  return {};
}

}  // namespace

std::string kind_of(const Json& value) {
  if (value.is_null()) return "null";
  return (value.is_object() || value.is_array() ? "an " : "a ") + std::string(value.type_name());
}

Result<Json> parse_row(std::string_view text) {
  if (!is_valid_utf8(text)) return caller_error("the line is not UTF-8; convert the file first.");
  if (json_depth(text, kDeepestRow) > kDeepestRow) {
    return caller_error("values are nested deeper than " + std::to_string(kDeepestRow) + " levels; expected a row.");
  }
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const std::size_t column = std::min(error.byte, text.size() + 1);
    return caller_error(column > text.size()
                            ? "the row's JSON ends in the middle; expected one whole JSON object."
                            : "the row is not valid JSON from its character " +
                                  std::to_string(std::max<std::size_t>(column, 1)) + " on; expected one JSON object.");
  } catch (const nlohmann::json::exception&) {
    return caller_error("the row is not valid JSON (a number out of range); expected one JSON object.");
  }
}

Result<PromptRow> row_of(std::vector<Message> messages) {
  PromptRow row;
  row.prompt.messages = std::move(messages);
  std::vector<Message>& list = row.prompt.messages;
  if (!list.empty() && list.back().role == Role::kAssistant) {
    row.answer = std::move(list.back().content);
    row.answer_tool_calls = std::move(list.back().tool_calls);
    list.pop_back();
  }
  if (list.empty()) {
    return caller_error("there is an answer but nothing that it answers; expected a user's message before it.");
  }
  RETORT_TRY(check_conversation(list));
  return row;
}

Result<PromptRow> json_prompt_row(std::string_view text) {
  RETORT_ASSIGN(const Json row, parse_row(text));
  if (!row.is_object()) {
    return caller_error("the row is " + kind_of(row) +
                        "; expected an object with `messages`, `prompt` or `conversations`.");
  }
  std::vector<Message> messages;
  CallLedger ledger;
  if (row.contains("messages")) {
    RETORT_ASSIGN(messages, messages_of(row.at("messages"), "messages", ledger));
  } else if (row.contains("conversations")) {
    RETORT_ASSIGN(messages, sharegpt_messages(row.at("conversations")));
  } else if (row.contains("prompt")) {
    RETORT_ASSIGN(messages, pair_of(row));
  } else {
    return caller_error("the row has neither `messages` nor `prompt` nor `conversations`; expected one of them.");
  }
  const std::string system = optional_text(row, "system");
  if (!system.empty() && messages.front().role != Role::kSystem) {
    messages.insert(messages.begin(), Message{Role::kSystem, system});
  }
  RETORT_ASSIGN(PromptRow result, row_of(std::move(messages)));
  if (row.contains("tools")) {
    RETORT_ASSIGN(result.prompt.tools, tools_text(row.at("tools")));
  }
  return result;
}

}  // namespace retort::collect
