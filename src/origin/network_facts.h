// What is known of the network a request comes from, and from which files.
//
// NetworkSources is loaded once from .mmdb files and lists, never changes and owns all it needs: a reload makes a new
// one and swaps the shared_ptr, while requests go on asking the old. Any number of threads may ask. A file that is
// missing or damaged is an error of load(), with a sentence; nothing is left out silently.
//
// These are facts for friction and evidence. They are no detector's input: where somebody is says nothing of what they
// do.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/json_fwd.h"
#include "origin/address.h"
#include "origin/mmdb_file.h"
#include "origin/network_list.h"

namespace retort::origin {

struct NetworkFacts {
  IpAddress address;
  std::optional<std::string> country{};  // ISO 3166-1 alpha-2
  std::optional<std::uint32_t> asn{};
  std::string as_organisation{};
  std::vector<std::string> kinds{};     // of network, sorted: "datacentre", "vpn"
  std::vector<std::string> unknowns{};  // what isn't known and why: "country: the database has no such address"
  Digest sources{};                     // of the files that were asked: NetworkSources::digest()
};

// {"address","country","asn","as_organisation","kinds","unknowns","sources"}; what isn't known is absent.
Json to_json(const NetworkFacts& facts);

struct NetworkSourcesOptions {
  std::vector<std::filesystem::path> mmdb{};  // at most one of each subject; which one it is says the file itself
  std::vector<NetworkListOptions> lists{};
};

// One file that was loaded.
struct NetworkSource {
  std::filesystem::path path;
  std::string what;  // the type of an .mmdb file, or the kind of a list
  Digest digest;
  std::int64_t dated_unix_ms = 0;
  std::size_t entries = 0;
};

class NetworkSources {
 public:
  static Result<std::shared_ptr<const NetworkSources>> load(const NetworkSourcesOptions& options);

  NetworkFacts facts_of(const IpAddress& address) const;

  const std::vector<NetworkSource>& sources() const { return sources_; }
  // Of every file's path, kind and digest.
  const Digest& digest() const { return digest_; }
  // The kinds of network that facts can have, sorted: what a rule may speak of.
  const std::vector<std::string>& kinds() const { return kinds_; }
  // Whether a file was replaced or changed since it was loaded (device, inode, size or time): cheap enough to ask every
  // second.
  bool files_changed() const;

 private:
  struct Stamp {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t bytes = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const std::filesystem::path& path);
  Result<void> add(const std::filesystem::path& mmdb);

  std::optional<MmdbFile> country_;
  std::optional<MmdbFile> asn_;
  std::optional<MmdbFile> anonymity_;
  std::vector<NetworkList> lists_;
  std::vector<NetworkSource> sources_;
  std::vector<Stamp> stamps_;
  std::vector<std::string> kinds_;
  Digest digest_;
};

}  // namespace retort::origin
