// The conversations of ShareGPT: who speaks under many names, calls of tools as turns of their own.
#include <array>
#include <utility>

#include "base/json.h"
#include "collect/prompt_json.h"
#include "collect/tool_json.h"

namespace retort::collect {
namespace {

enum class Speaker : std::uint8_t { kUser, kAssistant, kSystem, kTool, kCall };

struct Named {
  std::string_view name;
  Speaker speaker;
};
constexpr std::array<Named, 14> kSpeakers = {{{"human", Speaker::kUser},
                                              {"user", Speaker::kUser},
                                              {"gpt", Speaker::kAssistant},
                                              {"assistant", Speaker::kAssistant},
                                              {"chatgpt", Speaker::kAssistant},
                                              {"model", Speaker::kAssistant},
                                              {"bot", Speaker::kAssistant},
                                              {"system", Speaker::kSystem},
                                              {"tool", Speaker::kTool},
                                              {"observation", Speaker::kTool},
                                              {"function_response", Speaker::kTool},
                                              {"tool_response", Speaker::kTool},
                                              {"function_call", Speaker::kCall},
                                              {"tool_call", Speaker::kCall}}};

Result<Speaker> speaker_of(const Json& turn) {
  const auto from = turn.contains("from") ? turn.find("from") : turn.find("role");
  if (from != turn.end() && from->is_string()) {
    const std::string& name = from->get_ref<const std::string&>();
    for (const Named& known : kSpeakers) {
      if (known.name == name) return known.speaker;
    }
    return caller_error("the speaker" + (name.size() <= 20 ? " '" + name + "'" : std::string()) +
                        " is not known; expected human, gpt, system, function_call, observation or tool.");
  }
  return caller_error("a turn doesn't say who speaks; expected {\"from\": \"human\", \"value\": …}.");
}

}  // namespace

Result<std::vector<Message>> sharegpt_messages(const Json& turns) {
  if (!turns.is_array() || turns.empty()) {
    return caller_error("`conversations` is not a list of turns, or is empty.");
  }
  std::vector<Message> messages;
  CallLedger ledger;
  for (const Json& turn : turns) {
    if (!turn.is_object()) return caller_error("a turn is not of the form {\"from\": …, \"value\": …}.");
    RETORT_ASSIGN(const Speaker speaker, speaker_of(turn));
    const auto value = turn.contains("value") ? turn.find("value") : turn.find("content");
    if (value == turn.end()) return caller_error("a turn has no `value`; expected a text.");
    const bool structured = value->is_object() || value->is_array();
    if (!value->is_string() && !(structured && (speaker == Speaker::kTool || speaker == Speaker::kCall))) {
      return caller_error("`value` is " + kind_of(*value) + "; expected a text.");
    }
    if (speaker == Speaker::kCall) {
      RETORT_ASSIGN(Json calls, tool_calls(*value, ledger.made()));
      if (calls.empty()) return caller_error("a turn that calls a tool is empty.");
      ledger.call(calls);
      // A call belongs to the assistant's turn that it follows.
      if (messages.empty() || messages.back().role != Role::kAssistant) messages.push_back({Role::kAssistant, ""});
      Message& message = messages.back();
      if (!message.tool_calls.empty()) {
        RETORT_ASSIGN(Json earlier, parse_json(message.tool_calls, "the calls"));
        for (Json& call : calls) earlier.push_back(std::move(call));
        calls = std::move(earlier);
      }
      message.tool_calls = canonical_json(calls);
      continue;
    }
    std::string text = value->is_string() ? value->get<std::string>() : canonical_json(*value);
    Message message{speaker == Speaker::kUser     ? Role::kUser
                    : speaker == Speaker::kSystem ? Role::kSystem
                    : speaker == Speaker::kTool   ? Role::kTool
                                                  : Role::kAssistant,
                    std::move(text)};
    if (speaker == Speaker::kTool) {
      if (turn.contains("name") && turn.at("name").is_string()) message.name = turn.at("name").get<std::string>();
      RETORT_TRY(ledger.answer(message));
    } else {
      RETORT_TRY(ledger.settled());
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace retort::collect
