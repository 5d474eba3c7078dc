// Everything a guard goes by at one instant: guard.yaml and the files it names, read and checked whole.
//
// Rules never change: a reload makes new ones and swaps the pointer, while requests under way keep those they began
// with. Any thread may read them. Providers' keys are in here and nowhere else.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/route.h"
#include "base/digest.h"
#include "base/error.h"
#include "callers/ownership.h"
#include "guard/options.h"
#include "net/upstream.h"
#include "origin/forwarded.h"
#include "origin/network_facts.h"
#include "origin/network_rules.h"
#include "policy/options.h"
#include "recipe/schema.h"

namespace retort::guard {

using Environment = std::function<std::optional<std::string>(const std::string& name)>;

struct Upstream {
  UpstreamOptions options;
  api::Family family = api::Family::kOpenAi;
  net::Origin origin;
  std::string key;  // secret; empty: none is sent
};

struct Rules {
  std::filesystem::path file;
  std::filesystem::path folder;  // relative paths in the file begin here
  Digest digest;                 // of the file's bytes
  GuardOptions options;
  policy::PolicyOptions policy;
  std::vector<Upstream> upstreams;
  callers::OwnershipRule ownership;
  std::shared_ptr<const origin::NetworkSources> sources;  // never null
  origin::NetworkRules network_rules;
  origin::NetworkSet trusted_hops;
  origin::HopHeader hop_header = origin::HopHeader::kXForwardedFor;
  std::string admin_token;            // secret
  std::string redis_password;         // secret
  std::vector<std::string> warnings;  // whole sentences: what is allowed and seldom meant

  // The one that names the model, else the first of the family that names none; null: there is none.
  const Upstream* upstream_for(api::Family family, std::string_view model) const;
  const policy::Price* price_of(std::string_view model) const;
  std::filesystem::path path(const std::string& text) const { return folder / text; }
  // Of configuration, lists and databases: for the evidence.
  std::map<std::string, std::string> digests() const;
};

// Every key of guard.yaml, and the page that explains them (docs/GUARD-KEYS.md).
std::shared_ptr<const recipe::Schema> guard_schema();
std::string guard_keys_page();

// Error (kCaller): every problem of the file at once, or the first of a file it names or of a variable that is missing.
Result<std::shared_ptr<const Rules>> load_rules(const std::filesystem::path& file, const Environment& environment);

// "127.0.0.1:8400", "[::1]:0". Error (kCaller): not an address and a port.
struct Listen {
  std::string host;
  std::uint16_t port = 0;
};
Result<Listen> parse_listen(const std::string& text);

}  // namespace retort::guard
