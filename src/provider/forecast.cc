#include "provider/forecast.h"

#include <algorithm>

namespace retort::provider {
namespace {

// Tokens that a template puts around a message and a conversation, and the default system message of some templates.
constexpr std::int64_t kTokensAroundMessage = 16;
constexpr std::int64_t kTokensAroundPrompt = 128;
// The last so many answers weigh as much as all before.
constexpr double kRemembered = 256;

}  // namespace

std::int64_t prompt_bytes(const Prompt& prompt) {
  std::size_t bytes = prompt.tools.size();
  for (const Message& message : prompt.messages) {
    bytes += message.content.size() + message.tool_calls.size() + message.name.size() + message.tool_call_id.size();
  }
  return static_cast<std::int64_t>(bytes);
}

WorstCase worst_case(const Prompt& prompt, std::int64_t max_tokens) {
  const auto messages = static_cast<std::int64_t>(prompt.messages.size());
  return {prompt_bytes(prompt) + kTokensAroundMessage * messages + kTokensAroundPrompt, max_tokens};
}

void Forecast::learn(std::int64_t bytes, const Usage& usage) {
  answers_ = std::min(answers_ + 1, kRemembered);
  const double share = 1 / answers_;
  output_ += share * (static_cast<double>(usage.output) - output_);
  if (bytes > 0 && usage.input > 0) {
    const double ratio = static_cast<double>(usage.input) / static_cast<double>(bytes);
    input_per_byte_ += share * (ratio - input_per_byte_);
  }
}

}  // namespace retort::provider
