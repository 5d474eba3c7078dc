// Evidence as exchanges, a JSON line each: what `retort-guard export` writes and later replay reads.
//
// {"id","time","account","dialect","model","request","completion":{"text","reasoning","tool_calls","finish"},
//  "hidden_reasoning","usage":{"input","output","reasoning"},"status","batch","client":{"ip","user_agent","ja4"},
//  "end_customer"}; beside them organisation, tier, path, conversation, asked, granted, decision, network, in_force,
// texts, ended, money, bytes and times under the records' own names. What was not kept, or whose key was erased, is
// absent.
//
// One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/cryptography.h"
#include "base/error.h"
#include "base/json_fwd.h"
#include "evidence/exchange_records.h"
#include "evidence/segment.h"

namespace retort::evidence {

// One exchange; `completion` null: none was recorded (refused, or the guard died). `body`: the request's body;
// `answer`: the completion's payload (a JSON object's text). Either empty: not kept.
Json exchange_json(const AdmissionRecord& admission, const CompletionRecord* completion, std::string_view body,
                   std::string_view answer);

struct ExportOptions {
  std::filesystem::path folder;
  // With the data keys' folder: payloads are decrypted where their key is still there.
  std::optional<SecretKey> master;
  std::filesystem::path keys_folder;
};

struct Exported {
  std::uint64_t exchanges = 0;
  std::uint64_t unfinished = 0;  // without a completion record
  std::uint64_t unreadable = 0;  // payloads whose key was erased, swept or not given
  std::uint64_t skipped = 0;     // whole records that aren't such as this program reads
  std::optional<Break> broken;   // the export ends where the chain does
};

// Gives each exchange's canonical line (without newline), in the order in which they ended; those without a completion
// come last. Memory grows with the exchanges that are open at one time. Errors: of `line`, as walk(), and kCaller for a
// master key that isn't the one.
Result<Exported> export_exchanges(const ExportOptions& options,
                                  const std::function<Result<void>(const std::string&)>& line);

}  // namespace retort::evidence
