// Folders and records for tests of the spool. Only tests include this.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "evidence/segment.h"
#include "evidence/spool.h"
#include "evidence/verify.h"

namespace retort::evidence {

inline std::filesystem::path empty_folder(const std::string& name) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("retort_evidence_" + std::to_string(::getpid()) + "_" + name);
  std::filesystem::remove_all(folder);
  return folder;
}

inline std::string bytes_in(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline void put_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline SpoolOptions small_spool(const std::filesystem::path& folder) {
  SpoolOptions options;
  options.folder = folder;
  options.segment_bytes = 4096;
  options.sync_every_ms = 1;
  return options;
}

inline std::string act_text(std::uint64_t number) {
  return "{\"act\":\"test\",\"number\":" + std::to_string(number) + ",\"padding\":\"" + std::string(200, 'x') + "\"}";
}

// A closed spool with `count` records of its own, over several segments.
inline std::filesystem::path filled_spool(const std::string& name, std::uint64_t count, bool close = true) {
  const std::filesystem::path folder = empty_folder(name);
  const SystemClock clock;
  auto spool = Spool::open(small_spool(folder), clock);
  for (std::uint64_t i = 0; i < count; ++i) (*spool)->append(Kind::kAct, act_text(i), "attached").value();
  if (close) static_cast<void>((*spool)->close().has_value());
  return folder;
}

// What verify says of the folder.
inline VerifyReport verified(const std::filesystem::path& folder, std::optional<Digest> known = std::nullopt) {
  return verify({folder, {}, known}).value();
}

// The bytes of each record of a segment.
inline std::vector<std::string> records_of(const std::filesystem::path& segment) {
  std::vector<std::string> records;
  SegmentReader reader = SegmentReader::open(segment).value();
  ChainHasher hasher;
  Digest chain = reader.header().chain;
  std::uint64_t sequence = reader.header().first_sequence;
  const std::string bytes = bytes_in(segment);
  while (true) {
    const auto read = reader.next(hasher, chain, sequence++).value();
    if (!read) return records;
    chain = read->record.chain;
    records.push_back(bytes.substr(reader.offset(), read->size));
  }
}

}  // namespace retort::evidence
