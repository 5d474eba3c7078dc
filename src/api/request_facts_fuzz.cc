// Any bytes as a request's body: read, edited and read again.
#include "api/json_edit.h"
#include "api/request_facts.h"
#include "fuzz/fuzz.h"

namespace api = retort::api;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const auto operation = static_cast<api::Operation>(bytes[0] % 12U);
  const std::string_view body(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  static api::RequestReader reader;
  const auto facts = reader.read(operation, body);
  if (!facts) {
    RETORT_CHECK(!facts.error().message.empty());
    return 0;
  }
  RETORT_CHECK(facts->prompt_bytes >= 0 && facts->other_bytes >= 0 && facts->n >= 1);
  std::size_t texts = 0;
  for (const std::string& text : reader.prompt_texts(operation, body)) texts += text.size();
  RETORT_CHECK(texts <= static_cast<std::size_t>(facts->prompt_bytes));
  RETORT_CHECK(api::JsonEdit(body).apply() == body);
  api::JsonEdit edit(body);
  edit.set("model", "\"another\"").remove("user").set("stream_options", R"({"include_usage":true})");
  const auto again = reader.read(operation, edit.apply());
  RETORT_CHECK(again.has_value());
  RETORT_CHECK(again->model == "another" && again->include_usage && again->prompt_bytes == facts->prompt_bytes);
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      std::string(1, '\0') +
          R"({"model":"m","stream":true,"stream_options":{"include_usage":false},"max_completion_tokens":7,"n":3,"logprobs":true,"top_logprobs":5,"logit_bias":{"1":-100},"tools":[{"type":"function"}],"messages":[{"role":"user","content":[{"type":"text","text":"a\u00e4\ud83d\ude00"},{"type":"image_url","image_url":{"url":"u"}}]}]})",
      "\x01"
      R"({"model":"m","prompt":[[1,2],[3]],"logprobs":5,"echo":true,"best_of":4})",
      "\x02"
      R"({"model":"m","input":[{"role":"user","content":"x"},{"type":"item_reference","id":"i"},{"type":"reasoning","encrypted_content":"E"}],"include":["reasoning.encrypted_content"],"store":false})",
      "\x03"
      R"({"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"}],"thinking":{"type":"enabled","budget_tokens":5},"metadata":{"user_id":"u"},"messages":[{"role":"user","content":"x"}]})",
  };
}
