// What a crash left of a spool, made whole again: used when it is opened, with its lock held.
//
// Internal to the module. One thread.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"
#include "evidence/segment.h"

namespace retort::evidence {

struct Recovered {
  std::uint64_t segments = 0;       // that are there now; 0: the spool is new
  std::uint64_t segment = 0;        // number of the last
  std::uint64_t segment_bytes = 0;  // its size
  std::uint64_t all_bytes = 0;      // of all segments
  std::uint64_t last_sequence = 0;
  Digest chain;
  std::uint64_t cut_bytes = 0;  // of a torn tail
  std::string cut_digest;       // SHA-256 of those bytes
  std::string cut_file;         // where they are kept, relative to the folder
};

// Walks the last two segments (a power failure may tear the end of both), and cuts what follows the last whole record;
// the bytes are copied to torn/ first. Error: kCaller when the last two segments hold no record to go on from, kWorld
// when the disk refuses.
Result<Recovered> recover(const std::filesystem::path& folder);

}  // namespace retort::evidence
