// Writes an exchange's two records, keeping its texts as the operator chose: whole (encrypted), as keyed sketches, or
// not at all.
//
// This is what the guard holds. A recorder over a Spool gives it sync_keys() to run before each flush, for as long as
// it lives: data keys reach the disk before the records that use them. Every function may be called by any thread; none
// waits for the disk but erase() and sweep(). Owns the data keys; the sink must outlive it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/cryptography.h"
#include "evidence/data_keys.h"
#include "evidence/exchange_records.h"
#include "evidence/sink.h"
#include "evidence/spool.h"

namespace retort::evidence {

// Where a folder of evidence keeps its secrets, unless told otherwise: the master key (read_or_make_key) and data keys.
inline std::filesystem::path master_key_path(const std::filesystem::path& folder) { return folder / "master.key"; }
inline std::filesystem::path data_keys_folder(const std::filesystem::path& folder) { return folder / "data-keys"; }

enum class Prompts : std::uint8_t {
  kWhole,   // encrypted, and sketched
  kSketch,  // bytes, words, sketch
  kNone,    // bytes and words
};

struct RecorderOptions {
  Prompts prompts = Prompts::kSketch;
  // Days that payloads of `kWhole` stay readable, the day itself not counted. 0: for ever.
  std::int64_t retention_days = 30;
  SecretKey master{};                 // of data keys and sketches; guards that share it have comparable sketches
  std::filesystem::path keys_folder;  // of data keys; needed for kWhole
};

// A text to be counted and sketched.
struct NamedText {
  std::string_view name;
  std::string_view text;
};

// What came back, as far as it is to be kept. Views must live until the call returns.
struct Answer {
  std::string_view text;
  std::string_view reasoning;         // that the caller saw
  std::string_view hidden_reasoning;  // that the caller didn't
  std::string_view tool_calls;        // a JSON array's text, or empty
};

class Recorder {
 public:
  Recorder(RecorderOptions options, Sink& sink);
  Recorder(RecorderOptions options, Spool& spool);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // The admission record, with `body` (the request's body as sent, JSON) kept whole if so chosen, and `texts` counted
  // or sketched. Returns its sequence. Error: kWorld, nothing was kept; the rule's declared mode decides what follows.
  Result<std::uint64_t> admit(AdmissionRecord record, std::string_view body, std::span<const NamedText> texts);
  // The completion record, with the answer kept likewise. Errors as above.
  Result<std::uint64_t> complete(CompletionRecord record, const Answer& answer);
  // Both in two steps, as Sink::stage() has them.
  Result<Staged> stage_admission(AdmissionRecord record, std::string_view body, std::span<const NamedText> texts);
  Result<Staged> stage_completion(CompletionRecord record, const Answer& answer);
  Result<void> settle(const Staged& staged) { return sink_.settle(staged); }
  // What people or policy did: a JSON object with "act" (its name), "time" and whatever belongs to it.
  Result<std::uint64_t> act(std::string_view name, const std::map<std::string, std::string>& facts,
                            std::int64_t unix_ms);
  // Notes which policy, configuration and lists are in force (name -> digest); returns the digest that admission
  // records name them by (AdmissionRecord::in_force). Call it at the start and at every reload.
  Result<std::string> in_force(const std::map<std::string, std::string>& digests, std::int64_t unix_ms);

  // Destroys the organisation's data keys, of one day or of all, and records who asked. Returns how many keys went.
  Result<std::size_t> erase(std::string_view organisation, std::optional<std::string> day, std::string_view by,
                            std::int64_t unix_ms);
  // Destroys data keys older than the retention, and records it. Call it once in a while, and at the start.
  Result<std::vector<std::string>> sweep(std::int64_t unix_ms);

  // Data keys that are new reach the disk; for sinks other than a Spool.
  Result<void> sync_keys();

 private:
  Result<std::uint64_t> write(Kind kind, const std::string& text, std::string_view attachment);
  std::vector<TextFacts> facts_of(std::span<const NamedText> texts) const;
  Result<std::string> seal(Kind kind, std::string_view organisation, std::int64_t unix_ms, std::string_view id,
                           std::string_view plaintext, std::optional<Sealed>& sealed);

  const RecorderOptions options_;
  Sink& sink_;
  Spool* const spool_ = nullptr;  // when the sink is one
  const Sketcher sketcher_;
  const Aead aead_;
  DataKeys keys_;
};

}  // namespace retort::evidence
