// Any bytes as the text of an admission or completion record: what can be read is written and read again the same.
#include "evidence/exchange_records.h"
#include "fuzz/fuzz.h"

namespace evidence = retort::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  std::string again;
  if (const auto admission = evidence::read_admission(text)) {
    evidence::append_json(*admission, again);
    RETORT_CHECK(evidence::read_admission(again) == *admission);
  }
  again.clear();
  if (const auto completion = evidence::read_completion(text)) {
    evidence::append_json(*completion, again);
    RETORT_CHECK(evidence::read_completion(again) == *completion);
  }
  if (const auto sketch = evidence::Sketch::from_text(text)) RETORT_CHECK(sketch->text() == text);
  if (const auto time = evidence::unix_ms_of(text))
    RETORT_CHECK(evidence::unix_ms_of(evidence::rfc3339_ms(*time)) == *time);
  const evidence::Sketcher sketcher({});
  RETORT_CHECK(sketcher.sketch(text).words == evidence::count_words(text));
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  evidence::AdmissionRecord admission;
  admission.id = "ex_1";
  admission.organisation = "acme";
  admission.client = {"192.0.2.1", "agent", "t13d"};
  admission.network = R"({"asn":64500})";
  admission.asked.logprobs = true;
  admission.decision.steps = {"flag"};
  admission.texts = {{"prompt", 9, 2, evidence::Sketcher({}).sketch("two words")}};
  admission.sealed = evidence::Sealed{"0123456789abcdef", "2026-11-26"};
  evidence::CompletionRecord completion;
  completion.id = "ex_1";
  completion.ended = evidence::Ended::kTimedOut;
  completion.facts = R"({"blobs":1})";
  std::string first;
  std::string second;
  evidence::append_json(admission, first);
  evidence::append_json(completion, second);
  return {first, second, admission.texts[0].sketch->text(), "2026-11-22T04:37:47.123Z"};
}
