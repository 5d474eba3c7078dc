#include "collect/prompts.h"

#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"

namespace retort::collect {
namespace {

std::string at(std::string_view what, std::size_t line) { return std::string(what) + ", line " + std::to_string(line); }

Result<std::string> text_member(const Json& value, const std::string& where, const char* name) {
  if (!value.is_string()) {
    return caller_error(where + ": `" + name + "` is " +
                        (value.is_null() ? "null" : std::string("a ") + value.type_name()) + "; expected a text.");
  }
  return value.get<std::string>();
}

Result<Message> message_of(const Json& value, const std::string& where) {
  if (!value.is_object() || !value.contains("role") || !value.contains("content")) {
    return caller_error(where + ": a message is not of the form {\"role\": …, \"content\": …}.");
  }
  RETORT_ASSIGN(const std::string role_name, text_member(value.at("role"), where, "role"));
  const auto role = role_from_name(role_name);
  if (!role) {
    return caller_error(where + ": the role '" + role_name +
                        "' is not known; expected system, user, assistant or tool.");
  }
  RETORT_ASSIGN(std::string content, text_member(value.at("content"), where, "content"));
  return Message{*role, std::move(content)};
}

// The order of roles that a template can be asked to write.
Result<void> check_conversation(const std::vector<Message>& messages, const std::string& where) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    if (message.role == Role::kSystem && i > 0) {
      return caller_error(where + ": a system message stands after other messages; expected it first.");
    }
    if (i > 0 && message.role == messages[i - 1].role && message.role != Role::kTool) {
      return caller_error(where + ": two " + std::string(name_of(message.role)) +
                          " messages follow each other; expected user and assistant in turn.");
    }
    if (message.role == Role::kUser && trim(message.content).empty()) {
      return caller_error(where + ": the user's message is empty; expected a text.");
    }
  }
  const Role last = messages.back().role;
  if (last != Role::kUser && last != Role::kTool) {
    return caller_error(where + ": there is nothing to answer; expected a user's message before the answer.");
  }
  return {};
}

Result<PromptRow> json_row(std::string_view text, const std::string& where) {
  RETORT_ASSIGN(const Json row, parse_json(text, where));
  if (!row.is_object()) {
    return caller_error(where + ": the row is a JSON " + row.type_name() +
                        "; expected an object with `messages` or `prompt`, one a line.");
  }
  PromptRow result;
  if (row.contains("messages")) {
    const Json& messages = row.at("messages");
    if (!messages.is_array() || messages.empty()) {
      return caller_error(where + ": `messages` is not a list of messages, or is empty.");
    }
    for (const Json& value : messages) {
      RETORT_ASSIGN(Message message, message_of(value, where));
      result.prompt.messages.push_back(std::move(message));
    }
  } else if (row.contains("prompt")) {
    RETORT_ASSIGN(std::string prompt, text_member(row.at("prompt"), where, "prompt"));
    result.prompt.messages.push_back({Role::kUser, std::move(prompt)});
    if (row.contains("completion")) {
      RETORT_ASSIGN(std::string completion, text_member(row.at("completion"), where, "completion"));
      result.prompt.messages.push_back({Role::kAssistant, std::move(completion)});
    }
  } else {
    return caller_error(where + ": the row has neither `messages` nor `prompt`; expected one of them.");
  }
  if (result.prompt.messages.back().role == Role::kAssistant) {
    result.answer = std::move(result.prompt.messages.back().content);
    result.prompt.messages.pop_back();
    if (result.prompt.messages.empty()) {
      return caller_error(where +
                          ": there is an answer but nothing that it answers; expected a user's message before it.");
    }
  }
  RETORT_TRY(check_conversation(result.prompt.messages, where));
  return result;
}

PromptFormat guess(std::string_view what, std::string_view text) {
  const std::string name = to_lower_ascii(what);
  for (const std::string_view ending : {".jsonl", ".ndjson", ".json"}) {
    if (name.ends_with(ending)) return PromptFormat::kJsonLines;
  }
  return trim(text).starts_with("{") ? PromptFormat::kJsonLines : PromptFormat::kLines;
}

}  // namespace

Result<PromptFormat> prompt_format_from_name(std::string_view name) {
  if (name.empty() || name == "auto") return PromptFormat::kAuto;
  if (name == "jsonl") return PromptFormat::kJsonLines;
  if (name == "lines") return PromptFormat::kLines;
  return caller_error("The prompt format '" + std::string(name) + "' is not known; expected auto, jsonl or lines.");
}

Result<std::vector<PromptRow>> parse_prompts(std::string_view text, std::string_view what, PromptFormat format) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark
  if (format == PromptFormat::kAuto) format = guess(what, text);
  std::vector<PromptRow> rows;
  std::size_t line = 0;
  while (!text.empty()) {
    ++line;
    const std::size_t end = text.find('\n');
    std::string_view content = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    content = trim(content);
    if (content.empty()) continue;
    const std::string where = at(what, line);
    if (!is_valid_utf8(content)) return caller_error(where + ": the line is not UTF-8; convert the file first.");
    if (format == PromptFormat::kJsonLines) {
      RETORT_ASSIGN(PromptRow row, json_row(content, where));
      row.line = line;
      rows.push_back(std::move(row));
    } else {
      rows.push_back({line, Prompt{{{Role::kUser, std::string(content)}}}, std::nullopt});
    }
  }
  if (rows.empty()) {
    return caller_error(std::string(what) + ": the prompt file is empty; expected at least one row.");
  }
  return rows;
}

Result<std::vector<PromptRow>> read_prompts(const std::filesystem::path& file, PromptFormat format) {
  RETORT_ASSIGN(const std::string text, read_file(file));
  return parse_prompts(text, file.string(), format);
}

}  // namespace retort::collect
