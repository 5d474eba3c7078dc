#include "evidence/recorder.h"

#include <array>
#include <utility>

#include "base/digest.h"
#include "base/json.h"
#include "evidence/json_text.h"
#include "evidence/payload.h"

namespace retort::evidence {

Recorder::Recorder(RecorderOptions options, Sink& sink)
    : options_(std::move(options)),
      sink_(sink),
      sketcher_(options_.master),
      keys_(options_.keys_folder, options_.master) {}

Recorder::Recorder(RecorderOptions options, Spool& spool)
    : options_(std::move(options)),
      sink_(spool),
      spool_(&spool),
      sketcher_(options_.master),
      keys_(options_.keys_folder, options_.master) {
  spool.set_before_sync([this] { return keys_.sync(); });
}

Recorder::~Recorder() {
  if (spool_ == nullptr) return;
  static_cast<void>(keys_.sync().has_value());  // what was written last is flushed without this recorder
  spool_->set_before_sync({});
}

Result<std::uint64_t> Recorder::write(Kind kind, const std::string& text, std::string_view attachment) {
  return sink_.append(kind, text, attachment);
}

std::vector<TextFacts> Recorder::facts_of(std::span<const NamedText> texts) const {
  std::vector<TextFacts> all;
  for (const NamedText& one : texts) {
    if (one.text.empty()) continue;
    TextFacts facts;
    facts.name = one.name;
    facts.bytes = static_cast<std::int64_t>(one.text.size());
    if (options_.prompts == Prompts::kNone) {
      facts.words = count_words(one.text);
    } else {
      facts.sketch = sketcher_.sketch(one.text);
      facts.words = facts.sketch->words;
    }
    all.push_back(std::move(facts));
  }
  return all;
}

Result<std::string> Recorder::seal(Kind kind, std::string_view organisation, std::int64_t unix_ms, std::string_view id,
                                   std::string_view plaintext, std::optional<Sealed>& sealed) {
  sealed.reset();
  if (options_.prompts != Prompts::kWhole || plaintext.empty()) return std::string();
  const std::string day = utc_day(unix_ms);
  RETORT_ASSIGN(const DataKey key, keys_.of(organisation, day));
  sealed = Sealed{key.id, day};
  return seal_payload(aead_, key, kind, id, plaintext);
}

Result<std::uint64_t> Recorder::admit(AdmissionRecord record, std::string_view body, std::span<const NamedText> texts) {
  RETORT_ASSIGN(const Staged staged, stage_admission(std::move(record), body, texts));
  RETORT_TRY(settle(staged));
  return staged.sequence;
}

Result<std::uint64_t> Recorder::complete(CompletionRecord record, const Answer& answer) {
  RETORT_ASSIGN(const Staged staged, stage_completion(std::move(record), answer));
  RETORT_TRY(settle(staged));
  return staged.sequence;
}

Result<Staged> Recorder::stage_admission(AdmissionRecord record, std::string_view body,
                                         std::span<const NamedText> texts) {
  record.texts = facts_of(texts);
  RETORT_ASSIGN(const std::string payload,
                seal(Kind::kAdmission, record.organisation, record.time_unix_ms, record.id, body, record.sealed));
  std::string text;
  text.reserve(1024 + 800 * record.texts.size());
  append_json(record, text);
  return sink_.stage(Kind::kAdmission, text, payload);
}

Result<Staged> Recorder::stage_completion(CompletionRecord record, const Answer& answer) {
  const std::array<NamedText, 4> texts = {{{"answer", answer.text},
                                           {"reasoning", answer.reasoning},
                                           {"hidden_reasoning", answer.hidden_reasoning},
                                           {"tool_calls", answer.tool_calls}}};
  record.texts = facts_of(texts);
  std::string plaintext;
  if (options_.prompts == Prompts::kWhole) {
    JsonText json(plaintext);
    json.text_unless_empty("hidden_reasoning", answer.hidden_reasoning);
    json.text_unless_empty("reasoning", answer.reasoning);
    json.text_unless_empty("text", answer.text);
    if (!answer.tool_calls.empty()) json.member("tool_calls") += answer.tool_calls;
    json.end();
  }
  RETORT_ASSIGN(const std::string payload,
                seal(Kind::kCompletion, record.organisation, record.time_unix_ms, record.id, plaintext, record.sealed));
  std::string text;
  text.reserve(1024 + 800 * record.texts.size());
  append_json(record, text);
  return sink_.stage(Kind::kCompletion, text, payload);
}

Result<std::uint64_t> Recorder::act(std::string_view name, const std::map<std::string, std::string>& facts,
                                    std::int64_t unix_ms) {
  Json json = facts;
  json["act"] = name;
  json["time"] = rfc3339_ms(unix_ms);
  return write(Kind::kAct, canonical_json(json), {});
}

Result<std::string> Recorder::in_force(const std::map<std::string, std::string>& digests, std::int64_t unix_ms) {
  std::string digest = sha256(canonical_json(Json(digests))).hex();
  const Json json = {{"act", "in_force"}, {"digest", digest}, {"of", digests}, {"time", rfc3339_ms(unix_ms)}};
  RETORT_TRY(write(Kind::kAct, canonical_json(json), {}));
  return digest;
}

Result<std::size_t> Recorder::erase(std::string_view organisation, std::optional<std::string> day, std::string_view by,
                                    std::int64_t unix_ms) {
  // Recorded first: an erasure that happened must be in the record, one that failed midway may be asked for again.
  RETORT_TRY(act("erase",
                 {{"organisation", std::string(organisation)}, {"day", day.value_or("all")}, {"by", std::string(by)}},
                 unix_ms));
  return keys_.erase(organisation, std::move(day));
}

Result<std::vector<std::string>> Recorder::sweep(std::int64_t unix_ms) {
  if (options_.retention_days <= 0) return std::vector<std::string>();
  const std::string first_kept = utc_day(unix_ms - options_.retention_days * 86'400'000);
  RETORT_ASSIGN(std::vector<std::string> days, keys_.sweep(first_kept));
  if (!days.empty()) {
    std::string all;
    for (const std::string& day : days) all += (all.empty() ? "" : " ") + day;
    RETORT_TRY(act("retention", {{"days", all}, {"first_kept", first_kept}}, unix_ms));
  }
  return days;
}

Result<void> Recorder::sync_keys() { return keys_.sync(); }

}  // namespace retort::evidence
