#include "origin/network_list.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/files.h"
#include "base/text.h"

namespace retort::origin {
namespace {

// Of a line of CSV; the number may be quoted.
std::optional<std::uint32_t> parse_asn(std::string_view line) {
  std::string_view text = trim(line.substr(0, line.find(',')));
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  if (text.starts_with("AS") || text.starts_with("as")) text.remove_prefix(2);
  std::uint32_t asn = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), asn);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || asn == 0) return std::nullopt;
  return asn;
}

bool is_asn_header(std::string_view line) {
  return to_lower_ascii(trim(line.substr(0, line.find(',')))) == "asn" && line.find(',') != std::string_view::npos;
}

}  // namespace

Result<NetworkList> NetworkList::load(const NetworkListOptions& options) {
  const auto bytes = read_file(options.path);
  if (!bytes) return with_context(bytes.error(), "The network list of kind '" + options.kind + "'");
  RETORT_ASSIGN(NetworkList list, parse(*bytes, options));
  struct stat status {};
  if (!options.dated_unix_ms && ::stat(options.path.c_str(), &status) == 0) {
    list.dated_unix_ms_ = static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1000;
  }
  return list;
}

Result<NetworkList> NetworkList::parse(std::string_view bytes, const NetworkListOptions& options) {
  const std::string the_list = "The network list '" + options.path.string() + "'";
  std::string_view rest = bytes;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);

  NetworkList list;
  std::vector<IpNetwork> networks;
  bool begun = false;
  bool csv = false;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    // Names of entities may hold a '#'; only in lists of networks does it begin a comment within a line.
    line = trim(csv ? line : line.substr(0, line.find('#')));
    if (line.empty() || line.front() == '#') continue;
    const std::string where = the_list + ", line " + std::to_string(number);
    if (!begun) {
      begun = true;
      csv = is_asn_header(line);
      if (csv) continue;
    }
    if (csv) {
      const auto asn = parse_asn(line);
      if (!asn) {
        return caller_error(where +
                            ": it does not begin with the number of an autonomous system. Expected lines such as "
                            "64496,Entity; fetch the list again.");
      }
      list.asns_.push_back(*asn);
    } else {
      const Result<IpNetwork> network = IpNetwork::parse(line, IpNetwork::HostBits::kMask);
      if (!network) return with_context(network.error(), where);
      networks.push_back(*network);
    }
  }
  list.entries_ = networks.size() + list.asns_.size();
  if (list.entries_ == 0) {
    return caller_error(the_list + " is empty; expected at least one network. Fetch it again, or leave it out.");
  }
  list.dated_unix_ms_ = options.dated_unix_ms.value_or(0);
  list.kind_ = options.kind;
  list.digest_ = sha256(bytes);
  list.networks_ = NetworkSet(std::move(networks));
  std::sort(list.asns_.begin(), list.asns_.end());
  return list;
}

bool NetworkList::has_asn(std::uint32_t asn) const { return std::binary_search(asns_.begin(), asns_.end(), asn); }

}  // namespace retort::origin
