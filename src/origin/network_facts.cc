#include "origin/network_facts.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/json.h"

namespace retort::origin {
namespace {

void sort_and_unite(std::vector<std::string>& words) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
}

Result<void> check_kind(const NetworkListOptions& list) {
  const bool word = !list.kind.empty() && std::all_of(list.kind.begin(), list.kind.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (word) return {};
  return caller_error("The network list '" + list.path.string() + "' has the kind '" + list.kind +
                      "'; expected a word of a-z, 0-9 and _, such as datacentre, vpn, tor or cloud.");
}

}  // namespace

Json to_json(const NetworkFacts& facts) {
  Json json = {{"address", facts.address.text()}, {"kinds", facts.kinds}, {"sources", facts.sources.hex()}};
  if (facts.country) json["country"] = *facts.country;
  if (facts.asn) json["asn"] = *facts.asn;
  if (!facts.as_organisation.empty()) json["as_organisation"] = facts.as_organisation;
  if (!facts.unknowns.empty()) json["unknowns"] = facts.unknowns;
  return json;
}

NetworkSources::Stamp NetworkSources::stamp_of(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino, status.st_size,
          static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec};
}

Result<void> NetworkSources::add(const std::filesystem::path& mmdb) {
  RETORT_ASSIGN(MmdbFile file, MmdbFile::open(mmdb));
  std::optional<MmdbFile>* place = &country_;
  if (file.subject() == MmdbFile::Subject::kAsn) place = &asn_;
  if (file.subject() == MmdbFile::Subject::kAnonymity) place = &anonymity_;
  if (place->has_value()) {
    return caller_error("The database '" + mmdb.string() + "' (" + file.type() +
                        ") speaks of the same as another one (" + (*place)->type() + "); give one of each.");
  }
  sources_.push_back({mmdb, file.type(), file.digest(), file.dated_unix_ms(), file.nodes()});
  *place = std::move(file);
  return {};
}

Result<std::shared_ptr<const NetworkSources>> NetworkSources::load(const NetworkSourcesOptions& options) {
  const auto made = std::make_shared<NetworkSources>();
  // Stamps before contents: what changes between the two is seen as a change.
  for (const auto& path : options.mmdb) {
    made->stamps_.push_back(stamp_of(path));
    RETORT_TRY(made->add(path));
  }
  for (const NetworkListOptions& one : options.lists) {
    RETORT_TRY(check_kind(one));
    made->stamps_.push_back(stamp_of(one.path));
    RETORT_ASSIGN(NetworkList list, NetworkList::load(one));
    made->sources_.push_back({one.path, one.kind, list.digest(), list.dated_unix_ms(), list.entries()});
    made->kinds_.push_back(one.kind);
    made->lists_.push_back(std::move(list));
  }
  if (made->anonymity_) {
    for (const char* kind : {"anonymous", "vpn", "datacentre", "public_proxy", "residential_proxy", "tor"}) {
      made->kinds_.emplace_back(kind);
    }
  }
  sort_and_unite(made->kinds_);
  Json all = Json::array();
  for (const NetworkSource& source : made->sources_) {
    all.push_back({{"what", source.what}, {"digest", source.digest.hex()}, {"dated_unix_ms", source.dated_unix_ms}});
  }
  made->digest_ = sha256(canonical_json(all));
  return std::shared_ptr<const NetworkSources>(made);
}

NetworkFacts NetworkSources::facts_of(const IpAddress& address) const {
  NetworkFacts facts;
  facts.address = address;
  facts.sources = digest_;
  const char* const absent =
      address.is_public() ? "the database has no such address" : "the address is not a public one";
  if (country_) facts.country = country_->look_up(address).country;
  if (!facts.country) {
    facts.unknowns.push_back(std::string("country: ") + (country_ ? absent : "no database of countries is loaded"));
  }
  if (asn_) {
    MmdbAnswer answer = asn_->look_up(address);
    facts.asn = answer.asn;
    facts.as_organisation = std::move(answer.as_organisation);
  }
  if (!facts.asn) {
    facts.unknowns.push_back(std::string("asn: ") + (asn_ ? absent : "no database of autonomous systems is loaded"));
  }
  if (anonymity_) facts.kinds = anonymity_->look_up(address).kinds;
  for (const NetworkList& list : lists_) {
    if (list.has(address) || (facts.asn && list.has_asn(*facts.asn))) facts.kinds.push_back(list.kind());
  }
  sort_and_unite(facts.kinds);
  return facts;
}

bool NetworkSources::files_changed() const {
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (stamp_of(sources_[i].path) != stamps_[i]) return true;
  }
  return false;
}

}  // namespace retort::origin
