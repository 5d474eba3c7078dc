// A list of networks or of autonomous systems of one kind ("vpn", "datacentre"), from a text file with its age.
//
// Two forms are read, told apart by the first line that says something (docs/formats/network-lists.md): one network a
// line, or CSV whose header begins with ASN. A file with a line that is neither, or with no line at all, is refused
// whole: half a list would pass for a whole one. Immutable; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "origin/network_set.h"

namespace retort::origin {

struct NetworkListOptions {
  std::string kind;  // a word: a-z, 0-9, _
  std::filesystem::path path;
  std::optional<std::int64_t> dated_unix_ms{};  // of its publication; absent: when the file was changed last
};

class NetworkList {
 public:
  static Result<NetworkList> load(const NetworkListOptions& options);
  // Of these bytes; dated 0 unless the options say.
  static Result<NetworkList> parse(std::string_view bytes, const NetworkListOptions& options);

  bool has(const IpAddress& address) const { return networks_.contains(address); }
  bool has_asn(std::uint32_t asn) const;

  const std::string& kind() const { return kind_; }
  const Digest& digest() const { return digest_; }  // of the file's bytes
  std::int64_t dated_unix_ms() const { return dated_unix_ms_; }
  std::size_t entries() const { return entries_; }  // lines

 private:
  std::string kind_;
  Digest digest_;
  std::int64_t dated_unix_ms_ = 0;
  std::size_t entries_ = 0;
  NetworkSet networks_;
  std::vector<std::uint32_t> asns_;  // sorted
};

}  // namespace retort::origin
