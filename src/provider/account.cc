#include "provider/account.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/files.h"
#include "base/text.h"

namespace retort::provider {
namespace {

bool is_ipv4(std::string_view host) {
  return !host.empty() && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

bool is_private_ipv4(std::string_view host) {
  const std::vector<std::string> parts = split(host, '.');
  if (parts.size() != 4 || parts[0].size() > 3 || parts[1].size() > 3 || parts[1].empty()) return false;
  const int second = std::stoi(parts[1]);
  return parts[0] == "127" || parts[0] == "10" || (parts[0] == "192" && second == 168) ||
         (parts[0] == "172" && second >= 16 && second <= 31) || (parts[0] == "169" && second == 254) ||
         (parts[0] == "100" && second >= 64 && second <= 127);
}

struct Hosted {
  std::string_view ending;
  std::string_view provider;
};
// Names under which several hosts are one provider.
constexpr std::array<Hosted, 16> kHosted = {{{"openai.com", "openai"},
                                             {"openai.azure.com", "azure"},
                                             {"anthropic.com", "anthropic"},
                                             {"googleapis.com", "google"},
                                             {"mistral.ai", "mistral"},
                                             {"x.ai", "xai"},
                                             {"deepseek.com", "deepseek"},
                                             {"openrouter.ai", "openrouter"},
                                             {"together.xyz", "together"},
                                             {"fireworks.ai", "fireworks"},
                                             {"groq.com", "groq"},
                                             {"cohere.com", "cohere"},
                                             {"amazonaws.com", "aws"},
                                             {"ai21.com", "ai21"},
                                             {"nvidia.com", "nvidia"},
                                             {"huggingface.co", "huggingface"}}};

bool is_below(std::string_view host, std::string_view ending) {
  return host == ending ||
         (host.size() > ending.size() && host.ends_with(ending) && host[host.size() - ending.size() - 1] == '.');
}

Result<std::string> read_key(const EndpointPlace& place, const Environment& environment) {
  if (!place.key_env.empty()) {
    const auto value = environment(place.key_env);
    const std::string key(trim(value.value_or("")));
    if (key.empty()) {
      return caller_error("The variable " + place.key_env + ", which holds the key of " + place.url +
                          ", is not set. Set it in the environment of this command; the key itself belongs in no file "
                          "of a recipe.");
    }
    return key;
  }
  if (!place.key_file.empty()) {
    RETORT_ASSIGN(const std::string text, read_file(place.key_file));
    const std::string key(trim(text));
    if (key.empty()) return caller_error("The key file '" + place.key_file + "' of " + place.url + " is empty.");
    return key;
  }
  return std::string();
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  const auto refused = [&](const std::string& why) {
    // A URL with a password must not be repeated.
    const std::string shown = text.find('@') == std::string_view::npos ? "'" + std::string(text) + "' " : "";
    return caller_error("The endpoint " + shown + why +
                        "; expected a URL such as http://127.0.0.1:8000/v1 or https://HOST/v1.");
  };
  Url url;
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) return refused("names no protocol");
  url.scheme = to_lower_ascii(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https") return refused("is neither http nor https");
  std::string_view rest = text.substr(colon + 3);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (authority.find('@') != std::string_view::npos) {
    return refused("holds a user or password, which belong into key_env or key_file");
  }
  if (text.find_first_of("?# \t\r\n") != std::string_view::npos) return refused("holds a query, a fragment or a space");
  std::string_view host = authority;
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') - 1);
  } else {
    host = host.substr(0, host.rfind(':'));
  }
  if (host.empty()) return refused("names no host");
  url.host = to_lower_ascii(host);
  while (text.ends_with('/')) text.remove_suffix(1);
  url.text = std::string(text);
  return url;
}

bool is_own_host(std::string_view host) {
  if (host.find(':') != std::string_view::npos) {  // IPv6: loopback, unique local, link local
    return host == "::1" || host.starts_with("fc") || host.starts_with("fd") || host.starts_with("fe8");
  }
  if (is_ipv4(host)) return is_private_ipv4(host);
  if (host.find('.') == std::string_view::npos) return true;
  for (const std::string_view ending :
       {"localhost", "local", "internal", "lan", "intranet", "corp", "home.arpa", "svc"}) {
    if (is_below(host, ending)) return true;
  }
  return false;
}

bool is_own_url(std::string_view url) {
  const auto parts = parse_url(url);
  return parts && is_own_host(parts->host);
}

std::string provider_of(std::string_view host) {
  for (const Hosted& hosted : kHosted) {
    if (is_below(host, hosted.ending)) return std::string(hosted.provider);
  }
  return std::string(host);
}

Result<std::vector<Endpoint>> open_endpoints(std::span<const EndpointPlace> places, const std::string& organisation,
                                             const Environment& environment) {
  std::vector<Endpoint> endpoints;
  std::map<std::string, std::set<std::string>> keys_of;  // by hosted provider
  for (const EndpointPlace& place : places) {
    RETORT_ASSIGN(const Url url, parse_url(place.url));
    RETORT_ASSIGN(std::string key, read_key(place, environment));
    const bool own = is_own_host(url.host);
    if (!own && !key.empty() && url.scheme == "http") {
      return caller_error("The endpoint " + url.text +
                          " would get its key over http, where anyone on the way can read it; expected https.");
    }
    if (!own) keys_of[provider_of(url.host)].insert(key);
    endpoints.push_back({url.text, std::move(key), place.requests_per_minute, place.tokens_per_minute});
  }
  for (const auto& [provider, keys] : keys_of) {
    if (keys.size() < 2 || !trim(organisation).empty()) continue;
    return caller_error("The recipe names " + std::to_string(keys.size()) + " keys of " + provider +
                        ", a hosted provider, where one customer has one account; expected one key. If one "
                        "organisation owns them all, name it in teacher.organisation.");
  }
  return endpoints;
}

}  // namespace retort::provider
