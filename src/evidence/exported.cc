#include "evidence/exported.h"

#include <map>
#include <utility>

#include "base/json.h"
#include "evidence/data_keys.h"
#include "evidence/payload.h"

namespace retort::evidence {

namespace {

Json parsed_or_text(std::string_view text) {
  auto json = parse_json(text, "");
  return json ? std::move(*json) : Json(std::string(text));
}

}  // namespace

Json exchange_json(const AdmissionRecord& admission, const CompletionRecord* completion, std::string_view body,
                   std::string_view answer) {
  std::string text;
  append_json(admission, text);
  Json json = parsed_or_text(text);
  json.erase("sealed");
  if (!body.empty()) json["request"] = parsed_or_text(body);
  json["batch"] = admission.batch;
  if (completion == nullptr) return json;

  text.clear();
  append_json(*completion, text);
  Json ended = parsed_or_text(text);
  Json said = Json::object();
  if (!answer.empty()) {
    said = parsed_or_text(answer);
    if (!said.is_object()) said = Json::object();
  }
  if (const auto hidden = said.find("hidden_reasoning"); hidden != said.end()) {
    json["hidden_reasoning"] = std::move(*hidden);
    said.erase("hidden_reasoning");
  }
  if (!completion->finish.empty()) said["finish"] = completion->finish;
  if (!said.empty()) json["completion"] = std::move(said);
  if (const auto texts = ended.find("texts"); texts != ended.end()) {
    if (!json.contains("texts")) json["texts"] = Json::array();
    for (Json& one : *texts) json["texts"].push_back(std::move(one));
  }
  for (const char* name : {"id", "organisation", "sealed", "texts", "finish", "time"}) ended.erase(name);
  json["ended_at"] = rfc3339_ms(completion->time_unix_ms);
  json.update(ended);
  return json;
}

namespace {

class Export {
 public:
  Export(const ExportOptions& options, const std::function<Result<void>(const std::string&)>& line) : line_(line) {
    if (options.master) keys_.emplace(options.keys_folder, *options.master);
  }

  Result<void> visit(const RecordView& record) {
    if (record.kind == Kind::kAdmission) {
      auto read = read_admission(record.text);
      if (!read) return skip();
      AdmissionRecord admission = std::move(*read);
      Open open;
      RETORT_ASSIGN(open.body, plaintext(admission.sealed, record, admission.id));
      open.sequence = record.sequence;
      // A refused request has no completion to wait for.
      if (admission.status != 0) return give(admission, nullptr, open.body, {});
      std::string id = admission.id;
      open.admission = std::move(admission);
      open_.insert_or_assign(std::move(id), std::move(open));
    } else if (record.kind == Kind::kCompletion) {
      const auto read = read_completion(record.text);
      if (!read) return skip();
      const CompletionRecord& completion = *read;
      RETORT_ASSIGN(const std::string answer, plaintext(completion.sealed, record, completion.id));
      const auto found = open_.find(completion.id);
      if (found == open_.end()) {  // its admission lies in an archived segment
        AdmissionRecord admission;
        admission.id = completion.id;
        admission.organisation = completion.organisation;
        admission.time_unix_ms = completion.time_unix_ms;
        return give(admission, &completion, {}, answer);
      }
      const Open open = std::move(found->second);
      open_.erase(found);
      return give(open.admission, &completion, open.body, answer);
    }
    return {};
  }

  Result<Exported> finish(std::optional<Break> broken) {
    std::map<std::uint64_t, const Open*> in_order;
    for (const auto& [id, open] : open_) in_order.emplace(open.sequence, &open);
    for (const auto& [sequence, open] : in_order) {
      RETORT_TRY(give(open->admission, nullptr, open->body, {}));
      ++exported_.unfinished;
    }
    exported_.broken = std::move(broken);
    return exported_;
  }

 private:
  struct Open {
    AdmissionRecord admission;
    std::string body;
    std::uint64_t sequence = 0;
  };

  Result<void> skip() {
    ++exported_.skipped;
    return {};
  }

  Result<std::string> plaintext(const std::optional<Sealed>& sealed, const RecordView& record, std::string_view id) {
    if (!sealed) return std::string();
    if (keys_) {
      RETORT_ASSIGN(const std::optional<SecretKey>* key, key_of(*sealed));
      if (*key) {
        auto opened = open_payload(aead_, **key, sealed->key, record.kind, id, record.attachment);
        if (opened) return std::move(*opened);
      }
    }
    ++exported_.unreadable;
    return std::string();
  }

  // Looked up once for each key.
  Result<const std::optional<SecretKey>*> key_of(const Sealed& sealed) {
    const auto found = known_.find(sealed.key);
    if (found != known_.end()) return &found->second;
    RETORT_ASSIGN(std::optional<SecretKey> key, keys_->find(sealed.day, sealed.key));
    return &known_.emplace(sealed.key, key).first->second;
  }

  Result<void> give(const AdmissionRecord& admission, const CompletionRecord* completion, std::string_view body,
                    std::string_view answer) {
    ++exported_.exchanges;
    return line_(canonical_json(exchange_json(admission, completion, body, answer)));
  }

  const std::function<Result<void>(const std::string&)>& line_;
  const Aead aead_;
  std::optional<DataKeys> keys_;
  std::map<std::string, std::optional<SecretKey>> known_;
  std::map<std::string, Open> open_;
  Exported exported_;
};

}  // namespace

Result<Exported> export_exchanges(const ExportOptions& options,
                                  const std::function<Result<void>(const std::string&)>& line) {
  Export exporting(options, line);
  RETORT_ASSIGN(Walked walked, walk(options.folder, [&](const RecordView& record) { return exporting.visit(record); }));
  return exporting.finish(std::move(walked.broken));
}

}  // namespace retort::evidence
