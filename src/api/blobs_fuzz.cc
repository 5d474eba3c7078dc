// Any bytes as a request with opaque reasoning: what is rewritten stays JSON, and nothing changes where nothing shall.
#include "api/blobs.h"
#include "fuzz/fuzz.h"

namespace api = retort::api;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const auto operation = static_cast<api::Operation>(bytes[0] % 12U);
  const std::string_view body(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  const auto before = api::conversation_digest(operation, body);
  const auto same = api::rewrite_blobs(operation, body, [](std::string_view blob, const retort::Digest&) {
    return api::BlobFate{.kind = api::BlobFate::Kind::kReplace, .blob = std::string(blob), .sentence = {}};
  });
  RETORT_CHECK(same.has_value() == before.has_value());
  if (!same) return 0;
  RETORT_CHECK(*same == body);
  int count = 0;
  const auto changed = api::rewrite_blobs(operation, body, [&](std::string_view blob, const retort::Digest&) {
    const bool drop = ++count % 2 == 0;
    return api::BlobFate{.kind = drop ? api::BlobFate::Kind::kDrop : api::BlobFate::Kind::kReplace,
                         .blob = "\"" + std::string(blob),
                         .sentence = {}};
  });
  RETORT_CHECK(changed.has_value());
  // Opaque reasoning is no part of what it is bound to.
  const auto after = api::conversation_digest(operation, *changed);
  RETORT_CHECK(after.has_value());
  if (operation != api::Operation::kChat) RETORT_CHECK(*after == *before);
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      std::string(1, '\0') +
          R"({"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A","reasoning_details":[{"signature":"S","data":"D"},{"data":"E"}],"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"o"}]})",
      "\x02"
      R"({"input":[{"role":"user","content":[{"type":"input_text","text":"Q"}]},{"type":"reasoning","encrypted_content":"E","summary":[]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"o"}]})",
      "\x03"
      R"({"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"S"},{"type":"redacted_thinking","data":"D"},{"type":"text","text":"A"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"o"}]}]}]})",
  };
}
