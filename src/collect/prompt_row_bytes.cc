#include "collect/prompt_row_bytes.h"

#include <cstdint>
#include <cstring>

namespace retort::collect {
namespace {

void append_number(std::uint64_t value, std::string& bytes) {
  char raw[sizeof(value)];
  std::memcpy(raw, &value, sizeof(value));
  bytes.append(raw, sizeof(value));
}

void append_text(std::string_view text, std::string& bytes) {
  append_number(text.size(), bytes);
  bytes.append(text);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  std::uint64_t number() {
    std::uint64_t value = 0;
    if (rest_.size() < sizeof(value)) {
      broken_ = true;
      return 0;
    }
    std::memcpy(&value, rest_.data(), sizeof(value));
    rest_.remove_prefix(sizeof(value));
    return value;
  }
  std::string text() {
    const std::uint64_t size = number();
    if (size > rest_.size()) {
      broken_ = true;
      return {};
    }
    std::string text(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return text;
  }
  bool broken() const { return broken_; }
  bool at_end() const { return !broken_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool broken_ = false;
};

}  // namespace

void append_bytes(const PromptRow& row, std::string& bytes) {
  append_number(row.line, bytes);
  append_number(row.prompt.messages.size(), bytes);
  for (const Message& message : row.prompt.messages) {
    append_number(static_cast<std::uint64_t>(message.role), bytes);
    for (const std::string* text : {&message.content, &message.tool_calls, &message.tool_call_id, &message.name}) {
      append_text(*text, bytes);
    }
  }
  append_text(row.prompt.tools, bytes);
  append_number(row.answer ? 1 : 0, bytes);
  append_text(row.answer.value_or(""), bytes);
  append_text(row.answer_tool_calls, bytes);
}

Result<PromptRow> row_from_bytes(std::string_view bytes) {
  Reader in(bytes);
  PromptRow row;
  row.line = in.number();
  const std::uint64_t messages = in.number();
  for (std::uint64_t i = 0; i < messages && !in.broken(); ++i) {
    const std::uint64_t role = in.number();
    if (role > static_cast<std::uint64_t>(Role::kTool)) return world_error("not a row of prompts");
    Message message{static_cast<Role>(role), in.text()};
    message.tool_calls = in.text();
    message.tool_call_id = in.text();
    message.name = in.text();
    row.prompt.messages.push_back(std::move(message));
  }
  row.prompt.tools = in.text();
  const bool answered = in.number() == 1;
  std::string answer = in.text();
  if (answered) row.answer = std::move(answer);
  row.answer_tool_calls = in.text();
  if (!in.at_end()) return world_error("not a row of prompts");
  return row;
}

}  // namespace retort::collect
