#include "origin/forwarded.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"

namespace retort::origin {
namespace {

constexpr int kMostHops = 32;

// An address as proxies write it: bare, "[v6]", with ":port" behind either.
std::optional<IpAddress> node_address(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view port = text.substr(end + 1);
    if (!port.empty() && port.front() != ':') return std::nullopt;
    const std::string_view inside = text.substr(1, end - 1);
    if (inside.find(':') == std::string_view::npos) return std::nullopt;
    return IpAddress::parse(inside);
  }
  // One colon can't be IPv6: it stands before a port.
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos) {
    return IpAddress::parse(text.substr(0, colon));
  }
  return IpAddress::parse(text);
}

// One field's hops from left to right; nothing where one says no address. The whole field is one unreadable hop when it
// breaks the grammar: which of its pieces the trusted hop wrote can't be known then.
using Hops = std::vector<std::optional<IpAddress>>;

Hops x_forwarded_for_hops(std::string_view field) {
  Hops hops;
  for (const std::string& piece : split(field, ',')) hops.push_back(node_address(trim(piece)));
  return hops;
}

bool is_token(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// RFC 7239, section 4: elements by ",", pairs by ";", each token "=" (token / quoted-string).
class ForwardedReader {
 public:
  explicit ForwardedReader(std::string_view field) : rest_(field) {}

  std::optional<Hops> read() {
    Hops hops;
    while (true) {
      std::optional<std::string> node;
      if (!read_element(node)) return std::nullopt;
      hops.push_back(node ? node_address(*node) : std::nullopt);
      skip_space();
      if (rest_.empty()) return hops;
      if (!take(',')) return std::nullopt;
    }
  }

 private:
  bool read_element(std::optional<std::string>& node) {
    while (true) {
      skip_space();
      const std::string name = to_lower_ascii(read_token());
      std::string value;
      if (name.empty() || !take('=') || !read_value(value)) return false;
      if (name == "for") {
        if (node) return false;  // twice in one element
        node = std::move(value);
      }
      skip_space();
      if (!take(';')) return true;
    }
  }

  std::string_view read_token() {
    std::size_t size = 0;
    while (size < rest_.size() && is_token(rest_[size])) ++size;
    const std::string_view token = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return token;
  }

  bool read_value(std::string& value) {
    if (!take('"')) {
      // Beyond the grammar, as many proxies write it: an address with colons or brackets without quotes.
      std::size_t size = 0;
      while (size < rest_.size() &&
             (is_token(rest_[size]) || std::string_view(":[]").find(rest_[size]) != std::string_view::npos)) {
        ++size;
      }
      value = rest_.substr(0, size);
      rest_.remove_prefix(size);
      return !value.empty();
    }
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return true;
      if (c != '\\') {
        value += c;
      } else {
        if (rest_.empty()) return false;
        value += rest_.front();
        rest_.remove_prefix(1);
      }
    }
    return false;
  }

  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void skip_space() {
    while (rest_.starts_with(' ') || rest_.starts_with('\t')) rest_.remove_prefix(1);
  }

  std::string_view rest_;
};

}  // namespace

ClientAddress client_address(const IpAddress& peer, std::span<const std::string_view> fields, HopHeader header,
                             const NetworkSet& trusted_hops) {
  ClientAddress client{.address = peer};
  for (std::size_t i = fields.size(); i > 0; --i) {
    if (!trusted_hops.contains(client.address)) return client;
    const std::string_view field = fields[i - 1];
    const Hops hops = header == HopHeader::kXForwardedFor ? x_forwarded_for_hops(field)
                                                          : ForwardedReader(field).read().value_or(Hops{std::nullopt});
    for (auto hop = hops.rbegin(); hop != hops.rend(); ++hop) {
      if (!trusted_hops.contains(client.address)) return client;
      if (!*hop || client.hops == kMostHops) {
        client.unreadable = true;
        return client;
      }
      client.address = **hop;
      ++client.hops;
    }
  }
  return client;
}

}  // namespace retort::origin
