// Any bytes as an answer, in two pieces and whole: what goes on doesn't depend on the pieces.
#include "api/answer.h"
#include "api/testing.h"
#include "fuzz/fuzz.h"

namespace api = retort::api;

namespace {

api::AnswerEdits edits_of(unsigned bits) {
  api::AnswerEdits edits;
  edits.keep_text = (bits & 1U) != 0;
  edits.hide_usage = (bits & 2U) != 0;
  edits.strip_reasoning = (bits & 4U) != 0;
  edits.strip_logprobs = (bits & 8U) != 0;
  if ((bits & 16U) != 0) edits.seal = api::testing::seal;
  return edits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 3) return 0;
  const auto operation = static_cast<api::Operation>(bytes[0] % 12U);
  const std::string_view text(reinterpret_cast<const char*>(bytes) + 3, size - 3);
  const std::size_t split = text.size() * bytes[2] / 255;
  const api::testing::Sent parts =
      api::testing::sent(operation, {text.substr(0, split), text.substr(split)}, edits_of(bytes[1]));
  const api::testing::Sent one = api::testing::sent(operation, {text}, edits_of(bytes[1]));
  RETORT_CHECK(parts.bytes == one.bytes);
  RETORT_CHECK(api::testing::summary(parts.facts) == api::testing::summary(one.facts));
  const api::testing::Sent plain = api::testing::sent(operation, {text});
  RETORT_CHECK(text.starts_with(plain.bytes));
  api::AnswerStream whole(operation, 0, edits_of(bytes[1]));
  const std::string changed = whole.whole(text);
  if (whole.unreadable() == 0) {
    api::AnswerStream again(operation, 0, {});
    RETORT_CHECK(again.whole(changed) == changed && again.unreadable() == 0);
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  const auto seed = [](api::Operation operation, const std::string& stream) {
    return std::string({static_cast<char>(operation), '\x1f', '\x40'}) + stream;
  };
  return {
      seed(api::Operation::kChat, api::testing::chat_stream(true)),
      seed(api::Operation::kChat, api::testing::reasoning_chat_stream()),
      seed(api::Operation::kCompletions, api::testing::completions_stream(true)),
      seed(api::Operation::kResponses, api::testing::responses_stream()),
      seed(api::Operation::kMessages, api::testing::messages_stream()),
      seed(
          api::Operation::kMessages,
          R"({"content":[{"type":"thinking","thinking":"t","signature":"S"},{"type":"tool_use","id":"t","name":"n","input":{"a":1}}],"usage":{"input_tokens":1,"output_tokens":2}})"),
      seed(api::Operation::kStored, R"({"object":"list","data":[{"choices":[{"message":{"reasoning":"r"}}]}]})"),
  };
}
