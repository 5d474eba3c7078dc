// Whose servers and keys these are: one account at a hosted provider, and keys that stay where they belong.
//
// Several endpoints of one's own are one pool. At a hosted provider there is one account: several keys of it would be a
// way around its limits, and are refused unless the recipe names the one organisation that owns them. A server is one's
// own when its host is this machine, a private address, or a name without a public suffix.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "provider/pool.h"

namespace retort::provider {

// The parts of a URL that matter here. Error (kCaller): not http or https, no host, user and password or a query in it.
struct Url {
  std::string scheme;
  std::string host;  // lower case
  std::string text;  // as given, without a slash at its end
};
Result<Url> parse_url(std::string_view text);

bool is_own_host(std::string_view host);
// Of an endpoint; false where it is no URL.
bool is_own_url(std::string_view url);
// The provider behind a host ("openai" for api.openai.com and its regional names), else the host itself.
std::string provider_of(std::string_view host);

using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// An endpoint as a recipe names it: where its key is, never the key.
struct EndpointPlace {
  std::string url;
  std::string key_env = {};   // a variable of the environment
  std::string key_file = {};  // or a file
  double requests_per_minute = 0;
  double tokens_per_minute = 0;
};

// `organisation`: who owns several keys of one provider; empty: nobody was named. The endpoints with their keys. Errors
// (kCaller): a bad URL, a variable that is not set or a file that can't be read (named, never its content), a key sent
// to a host of the world over plain http, several accounts of one provider.
Result<std::vector<Endpoint>> open_endpoints(std::span<const EndpointPlace> places, const std::string& organisation,
                                             const Environment& environment);

}  // namespace retort::provider
