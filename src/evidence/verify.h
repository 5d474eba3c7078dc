// Checks a spool: every record's place in the chain, every head's signature, and what the folder's head.json knows.
//
// What can't be seen: records cut off behind the last signed head that is known (the count of unsigned ones is told),
// and a spool that somebody with the private key wrote anew. A head kept elsewhere (`known_head`) closes the first gap
// up to it. Reads only; no lock is taken. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "evidence/head.h"
#include "evidence/segment.h"

namespace retort::evidence {

struct VerifyOptions {
  std::filesystem::path folder;
  std::filesystem::path public_key;  // PEM; empty: FOLDER/signing.pem.pub, which proves no more than the folder itself
  std::optional<Digest> known_head;  // the chain's value of a head that was noted earlier
};

struct VerifyReport {
  bool holds = false;
  Walked walked;
  std::string key;  // id of the public key
  std::uint64_t admissions = 0;
  std::uint64_t completions = 0;
  std::uint64_t heads = 0;
  std::optional<Head> last_head;
  bool closed_in_order = false;        // the last record is a closing head
  std::uint64_t unsigned_records = 0;  // behind the last head
  std::vector<std::string> notes;      // sentences: cut tails, a beginning that lies elsewhere
};

// Error: kCaller when there is no spool or no key, kWorld when a file can't be read. A broken chain is no error: see
// `holds` and walked.broken.
Result<VerifyReport> verify(const VerifyOptions& options);
Json to_json(const VerifyReport& report);
// Sentences for people, a line each.
std::vector<std::string> lines_of(const VerifyReport& report);

}  // namespace retort::evidence
