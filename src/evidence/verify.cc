#include "evidence/verify.h"

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"

namespace retort::evidence {

namespace fs = std::filesystem;

namespace {

// Collects the report while the records pass.
class Verification {
 public:
  Verification(const VerifyOptions& options, PublicKey key) : options_(options), key_(std::move(key)) {
    report_.key = key_.id();
  }

  // The head that the folder keeps beside the segments: the chain must still hold it.
  Result<void> read_kept_head() {
    const fs::path path = options_.folder / "head.json";
    if (!is_there(path)) return {};
    RETORT_ASSIGN(const std::string text, read_file(path));
    const auto head = read_head(text, key_);
    if (head) {
      kept_ = *head;
    } else if (text.empty()) {
      return {};  // a crash right after the file was made
    } else {
      kept_failure_ = "'" + path.string() + "': " + head.error().message;
    }
    return {};
  }

  void visit(const RecordView& record) {
    if (broken_) return;
    switch (record.kind) {
      case Kind::kAdmission: ++report_.admissions; break;
      case Kind::kCompletion: ++report_.completions; break;
      case Kind::kNote: note(record); break;
      case Kind::kHead: head(record); break;
      default: break;
    }
    if (broken_) return;
    if (held_.records++ == 0) held_.first_sequence = record.sequence;
    held_.last_sequence = record.sequence;
    held_.chain = record.chain;
    if (record.kind != Kind::kHead) report_.closed_in_order = false;
    known_seen_ = known_seen_ || (options_.known_head && *options_.known_head == record.before);
    kept_seen_ = kept_seen_ || (kept_ && kept_->chain == record.before && kept_->sequence + 1 == record.sequence);
  }

  VerifyReport finish(const Walked& walked) {
    report_.walked = held_;
    report_.walked.segments = walked.segments;
    report_.walked.bytes = walked.bytes;
    report_.walked.broken = broken_ ? broken_ : walked.broken;
    std::optional<Break>& broken = report_.walked.broken;
    const Walked& all = report_.walked;
    report_.unsigned_records = all.last_sequence - (report_.last_head ? head_record_ : all.first_sequence - 1);
    if (all.records == 0) report_.unsigned_records = 0;
    if (all.first_sequence > 1) {
      report_.notes.push_back("The first record here is " + std::to_string(all.first_sequence) +
                              ": what came before lies elsewhere, or was removed.");
    }
    const auto missing = [&](std::string sentence) {
      Break at;
      at.sequence = all.last_sequence + 1;
      at.sentence = std::move(sentence);
      broken = at;
    };
    const std::string end = "the spool ends at record " + std::to_string(all.last_sequence);
    if (!broken && !kept_failure_.empty()) missing(kept_failure_);
    if (!broken && kept_ && !kept_seen_) {
      missing("The head in head.json speaks of record " + std::to_string(kept_->sequence) + ", which isn't there; " +
              end + ": the end was cut off, or the record replaced.");
    }
    if (!broken && options_.known_head && !known_seen_ && all.chain != *options_.known_head) {
      missing("No record here gives the head " + options_.known_head->short_hex() + "…; " + end +
              ": the end was cut off, or the record replaced.");
    }
    report_.holds = !broken.has_value();
    return std::move(report_);
  }

 private:
  void note(const RecordView& record) {
    const auto json = parse_json(record.text, "A note");
    if (!json || !json->is_object()) return;
    const auto lost = json->find("lost");
    if (lost != json->end() && lost->is_object()) {
      report_.notes.push_back(
          "When the spool was opened at record " + std::to_string(record.sequence) + ", signed records up to " +
          std::to_string(lost->value("through", std::uint64_t{0})) +
          " were missing that had been on the disk: no crash does this; they were damaged or removed.");
    }
    const auto cut = json->find("cut");
    if (cut == json->end() || !cut->is_object()) return;
    report_.notes.push_back("When the spool was opened at record " + std::to_string(record.sequence) +
                            ", a torn tail of " + std::to_string(cut->value("bytes", std::int64_t{0})) +
                            " bytes was cut; they are kept in '" + cut->value("kept", std::string("torn/")) + "'.");
  }

  void head(const RecordView& record) {
    const auto head = read_head(record.text, key_);
    std::string sentence;
    if (!head) {
      sentence = head.error().message;
    } else if (head->chain != record.before || head->sequence + 1 != record.sequence) {
      sentence = "The signed head speaks of another chain than it stands in: records before it were changed.";
    }
    if (!sentence.empty()) {
      broken_ = Break{{}, 0, record.sequence, false, "Record " + std::to_string(record.sequence) + ": " + sentence};
      return;
    }
    ++report_.heads;
    report_.last_head = *head;
    report_.closed_in_order = head->closed;
    head_record_ = record.sequence;
  }

  const VerifyOptions& options_;
  PublicKey key_;
  VerifyReport report_;
  Walked held_;  // what was seen before the first break
  std::optional<Head> kept_;
  std::string kept_failure_;
  std::uint64_t head_record_ = 0;
  bool known_seen_ = false;
  bool kept_seen_ = false;
  std::optional<Break> broken_;
};

}  // namespace

Result<VerifyReport> verify(const VerifyOptions& options) {
  RETORT_TRY(existing_segments(options.folder));
  RETORT_ASSIGN(PublicKey key,
                PublicKey::read(options.public_key.empty() ? options.folder / "signing.pem.pub" : options.public_key));
  Verification verification(options, std::move(key));
  // Read first: a guard that writes meanwhile only adds records behind it.
  RETORT_TRY(verification.read_kept_head());
  RETORT_ASSIGN(const Walked walked, walk(options.folder, [&](const RecordView& record) -> Result<void> {
                  verification.visit(record);
                  return {};
                }));
  return verification.finish(walked);
}

Json to_json(const VerifyReport& report) {
  const Walked& walked = report.walked;
  Json json = {{"holds", report.holds},
               {"segments", walked.segments},
               {"bytes", walked.bytes},
               {"records", walked.records},
               {"admissions", report.admissions},
               {"completions", report.completions},
               {"heads", report.heads},
               {"first_record", walked.first_sequence},
               {"last_record", walked.last_sequence},
               {"chain", walked.chain.hex()},
               {"key", report.key},
               {"unsigned_records", report.unsigned_records},
               {"closed_in_order", report.closed_in_order},
               {"notes", report.notes}};
  if (report.last_head) {
    json["last_head"] = {{"record", report.last_head->sequence},
                         {"chain", report.last_head->chain.hex()},
                         {"time", report.last_head->time}};
  }
  if (walked.broken) {
    json["break"] = {{"segment", walked.broken->segment.filename().string()},
                     {"offset", walked.broken->offset},
                     {"record", walked.broken->sequence},
                     {"unfinished", walked.broken->unfinished},
                     {"sentence", walked.broken->sentence}};
  }
  return json;
}

std::vector<std::string> lines_of(const VerifyReport& report) {
  const Walked& walked = report.walked;
  std::vector<std::string> lines;
  const auto count = [](std::uint64_t number) { return human_count(static_cast<std::int64_t>(number)); };
  lines.push_back(count(walked.records) + " records in " + count(walked.segments) +
                  " segments: " + count(report.admissions) + " admissions, " + count(report.completions) +
                  " completions, " + count(report.heads) + " signed heads (key " + report.key + ").");
  if (report.last_head) {
    lines.push_back("The last head, of " + report.last_head->time + ", is over record " +
                    std::to_string(report.last_head->sequence) + ": " + report.last_head->chain.hex());
  }
  for (const std::string& note : report.notes) lines.push_back(note);
  if (!report.holds) {
    lines.push_back("The chain breaks. " + walked.broken->sentence);
    lines.push_back(walked.records == 0
                        ? "Nothing before it can be relied on."
                        : "What is before it, up to record " + std::to_string(walked.last_sequence) + ", holds.");
    return lines;
  }
  lines.push_back("The chain holds.");
  if (report.unsigned_records > 0) {
    lines.push_back(count(report.unsigned_records) +
                    " records came after the last signed head: had some of these been cut off, it could not be seen.");
  } else {
    lines.push_back(report.closed_in_order ? "It was closed in order."
                                           : "Records written after this head and cut off could not be seen.");
  }
  return lines;
}

}  // namespace retort::evidence
