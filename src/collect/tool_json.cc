#include "collect/tool_json.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "collect/json_rows.h"
#include "collect/prompt_json.h"

namespace retort::collect {
namespace {

// The list that stands there, also where it stands inside a text.
Result<Json> list_of(const Json& value, const std::string& what) {
  if (value.is_null()) return Json::array();
  if (!value.is_string()) return value.is_array() ? value : Json::array({value});
  const std::string& text = value.get_ref<const std::string&>();
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return Json::array();
  auto parsed = parse_row(text);
  if (!parsed) return caller_error(what + " is a text that is no JSON: " + parsed.error().message);
  return parsed->is_array() ? std::move(*parsed) : Json::array({std::move(*parsed)});
}

bool has_name(const Json& function) {
  return function.is_object() && function.contains("name") && function.at("name").is_string() &&
         !function.at("name").get_ref<const std::string&>().empty();
}

}  // namespace

Result<std::string> tools_text(const Json& tools) {
  RETORT_ASSIGN(const Json list, list_of(tools, "`tools`"));
  if (list.empty()) return std::string();
  Json normal = Json::array();
  for (const Json& tool : list) {
    if (tool.is_object() && tool.contains("function") && has_name(tool.at("function"))) {
      normal.push_back(tool);
      if (!tool.contains("type")) normal.back()["type"] = "function";
    } else if (has_name(tool) && !tool.contains("function")) {
      normal.push_back({{"type", "function"}, {"function", tool}});
    } else {
      return caller_error("a tool is not of the form {\"type\": \"function\", \"function\": {\"name\": …, …}}.");
    }
  }
  return canonical_json(normal);
}

Result<Json> tool_calls(const Json& calls, std::size_t first) {
  RETORT_ASSIGN(const Json list, list_of(calls, "a call of a tool"));
  Json normal = Json::array();
  for (const Json& entry : list) {
    Json call = entry;
    if (has_name(entry) && !entry.contains("function")) {
      call = {{"type", "function"}, {"function", entry}};
      if (entry.contains("id")) call["id"] = entry.at("id");
      call["function"].erase("id");
    }
    if (!call.is_object() || !call.contains("function") || !has_name(call.at("function"))) {
      return caller_error(
          "a call of a tool is not of the form {\"id\": …, \"type\": \"function\", \"function\": {\"name\": …, "
          "\"arguments\": …}}.");
    }
    if (!call.contains("type")) call["type"] = "function";
    Json& function = call["function"];
    if (function.contains("parameters") && !function.contains("arguments")) {
      function["arguments"] = function.at("parameters");
      function.erase("parameters");
    }
    Json& arguments = function["arguments"];
    if (arguments.is_null()) {
      arguments = "{}";
    } else if (!arguments.is_string()) {
      arguments = canonical_json(arguments);
    }
    if (!call.contains("id") || !call.at("id").is_string() || call.at("id").get_ref<const std::string&>().empty()) {
      call["id"] = "call_" + std::to_string(first + normal.size() + 1);
    }
    normal.push_back(std::move(call));
  }
  return normal;
}

void CallLedger::call(const Json& calls) {
  for (const Json& entry : calls) {
    ids_.push_back(entry.at("id").get<std::string>());
    open_.push_back(ids_.back());
    ++made_;
  }
}

Result<void> CallLedger::answer(Message& result) {
  if (result.tool_call_id.empty()) {
    if (open_.empty()) return {};  // a tool that speaks without being called: some files have that
    result.tool_call_id = open_.front();
  }
  const auto found = std::ranges::find(open_, result.tool_call_id);
  if (found != open_.end()) {
    open_.erase(found);
  } else if (std::ranges::find(ids_, result.tool_call_id) == ids_.end()) {
    return caller_error("a tool's result answers a call that no message before it makes (its `tool_call_id`).");
  }
  return {};
}

Result<void> CallLedger::settled() const {
  if (open_.empty()) return {};
  return caller_error("a call of a tool has no result before the next turn; expected a message of the role tool.");
}

}  // namespace retort::collect
