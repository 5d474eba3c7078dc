#include "guard/summary.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace retort::guard {
namespace {

// Keeps the order of members as upstream wrote them.
using OrderedJson = nlohmann::ordered_json;

constexpr int kMostSummaryTokens = 300;
constexpr std::size_t kMostReasoning = 64 << 10;
constexpr std::size_t kMostBody = 1 << 20;

std::string text_of(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace

std::string summary_request(std::string_view model, std::string_view reasoning) {
  const OrderedJson request = {
      {"model", model},
      {"max_tokens", kMostSummaryTokens},
      {"temperature", 0},
      {"messages",
       {{{"role", "system"},
         {"content",
          "Summarise in two or three sentences what the following notes consider and conclude. Name topics "
          "and the conclusion; leave out the steps, the calculations and every quotation."}},
        {{"role", "user"}, {"content", reasoning.substr(0, kMostReasoning)}}}}};
  return text_of(request);
}

std::string with_summary(api::Operation operation, const std::string& answer, const std::string& summary) {
  OrderedJson document = OrderedJson::parse(answer, nullptr, false);
  if (!document.is_object()) return answer;
  const auto list = [&](const char* key) -> OrderedJson* {
    const auto found = document.find(key);
    return found != document.end() && found->is_array() ? &*found : nullptr;
  };
  if (operation == api::Operation::kChat) {
    OrderedJson* const choices = list("choices");
    if (choices == nullptr || choices->empty() || !choices->front().is_object()) return answer;
    OrderedJson& message = choices->front()["message"];
    if (!message.is_object()) return answer;
    message["reasoning_content"] = summary;
    return text_of(document);
  }
  OrderedJson* const parts = list(operation == api::Operation::kMessages ? "content" : "output");
  if (parts == nullptr) return answer;
  for (OrderedJson& part : *parts) {
    if (!part.is_object()) continue;
    const auto found = part.find("type");
    const std::string type = found != part.end() && found->is_string() ? found->get<std::string>() : "";
    if (type == "thinking") {
      part["thinking"] = summary;
      return text_of(document);
    }
    if (type == "reasoning") {
      part["summary"] = OrderedJson::array({{{"type", "summary_text"}, {"text", summary}}});
      return text_of(document);
    }
  }
  return answer;
}

std::string summary_event(std::string_view model, const std::string& summary) {
  const OrderedJson chunk = {
      {"id", "retort-summary"},
      {"object", "chat.completion.chunk"},
      {"created", 0},
      {"model", model},
      {"choices", {{{"index", 0}, {"delta", {{"reasoning_content", summary}}}, {"finish_reason", nullptr}}}}};
  return "data: " + text_of(chunk) + "\n\n";
}

void SummaryListener::on_body(std::string_view piece) {
  if (body_.size() + piece.size() <= kMostBody) body_.append(piece);
}

void SummaryListener::on_end() {
  const OrderedJson answer = OrderedJson::parse(body_, nullptr, false);
  if (status_ != 200 || !answer.is_object()) return tell(std::nullopt);
  const auto pointer = OrderedJson::json_pointer("/choices/0/message/content");
  if (!answer.contains(pointer) || !answer[pointer].is_string()) return tell(std::nullopt);
  tell(answer[pointer].get<std::string>());
}

void SummaryListener::tell(const std::optional<std::string>& summary) {
  body_ = {};
  if (const auto told = std::exchange(told_, nullptr)) told(summary);
}

}  // namespace retort::guard
