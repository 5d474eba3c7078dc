// Any bytes as a form, as a batch's file and list, and as results: what nobody changes keeps its bytes, and pieces add
// up to the same as the whole.
#include "api/batch.h"
#include "api/batch_results.h"
#include "api/multipart.h"
#include "fuzz/fuzz.h"

namespace api = retort::api;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  static const auto reader = std::make_shared<api::JsonReader>();
  if (const auto parts = api::read_form("multipart/form-data; boundary=b", text)) {
    for (const api::FormPart& part : *parts) RETORT_CHECK(part.content.find("--b") == std::string_view::npos);
  }
  const auto same = [](const api::BatchRequest& request) -> retort::Result<std::optional<std::string>> {
    RETORT_CHECK(request.body.starts_with('{'));
    return std::optional(std::string(request.body));
  };
  const auto file = api::read_batch_file(text, same, reader.get());
  RETORT_CHECK(!file || file->changed == text);
  const auto list = api::read_batch_list(text, same, reader.get());
  RETORT_CHECK(!list || list->changed == text);
  RETORT_CHECK(api::edited_result(text, {}, reader) == text);
  api::ResultUsage whole(reader);
  whole.feed(text);
  const auto total = whole.total();
  api::ResultUsage pieces(reader);
  for (std::size_t i = 0; i < size; i += 7) pieces.feed(text.substr(i, 7));
  const auto sum = pieces.total();
  RETORT_CHECK(total.has_value() == sum.has_value() && (!total || total->input == sum->input));
  for (const api::BatchState& state : api::read_batch_states(text, *reader)) RETORT_CHECK(!state.id.empty());
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\n"
      "Content-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{}\n\r\n--b--\r\n",
      R"({"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}})"
      "\n"
      R"({"url":"/v1/chat/completions","body":{},"method":"POST"})",
      R"({"requests":[{"custom_id":"1","params":{"model":"m"}},{"params":{}}]})",
      R"({"object":"list","data":[{"id":"b","object":"batch","status":"expired","usage":{"input_tokens":1}}]})",
      R"({"result":{"message":{"type":"message","usage":{"input_tokens":1,"output_tokens":2}}}})",
      R"({"custom_id":"1","response":{"body":{"object":"chat.completion","choices":[{"message":{"reasoning":"r"}}]}}})"};
}
