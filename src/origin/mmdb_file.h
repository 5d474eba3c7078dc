// A database of MaxMind's format (.mmdb): country, autonomous system or anonymity of an address.
//
// What it tells follows from its own type ("GeoLite2-Country", "DBIP-ASN-Lite", "GeoIP2-Anonymous-IP"). The file is
// copied into memory that belongs to this object: it may be replaced, cut or removed while it is asked. Every node and
// record is read once when it is opened, so that a damaged file is refused then. Immutable; any number of threads may
// ask.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "origin/address.h"

namespace retort::origin {

// What one file says of an address; absent is what it doesn't say.
struct MmdbAnswer {
  std::optional<std::string> country{};  // ISO 3166-1 alpha-2, of where it is, not of who registered it
  std::optional<std::uint32_t> asn{};
  std::string as_organisation{};
  std::vector<std::string> kinds{};  // "vpn", "datacentre", "public_proxy", "residential_proxy", "tor", "anonymous"
};

class MmdbFile {
 public:
  enum class Subject : std::uint8_t { kCountry, kAsn, kAnonymity };

  // Error: absent, damaged, or a database of something else.
  static Result<MmdbFile> open(const std::filesystem::path& path);
  // `path` is for sentences.
  static Result<MmdbFile> from_bytes(std::string_view bytes, const std::filesystem::path& path);
  ~MmdbFile();
  MmdbFile(MmdbFile&&) noexcept;
  MmdbFile& operator=(MmdbFile&&) noexcept;

  MmdbAnswer look_up(const IpAddress& address) const;

  Subject subject() const;
  const std::string& type() const;
  const Digest& digest() const;        // of the file's bytes
  std::int64_t dated_unix_ms() const;  // when it was built
  std::size_t nodes() const;           // of its search tree

 private:
  struct State;
  explicit MmdbFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace retort::origin
