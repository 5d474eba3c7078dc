// Terms of hosted models, in our own words, and the providers that they belong to.

#include <algorithm>

#include "base/text.h"
#include "terms/facts.h"

namespace retort::terms {
namespace {

using enum Verdict;
using enum Purpose;

constexpr std::string_view kRead = "2026-11-21";

std::vector<Text> all_terms() {
  return {
      {.id = "openai-services-agreement",
       .name = "OpenAI Services Agreement",
       .licence = false,
       .rules = {{.when = {.derivative = true},
                  .verdict = kAllowed,
                  .quote = "3.3(e), Permitted Exception (b): outputs may fine-tune OpenAI's own models."},
                 {.when = {.distributed = false, .commercial = false, .purposes = {kClassifier}},
                  .verdict = kAllowed,
                  .quote = "3.3(e), Permitted Exception (a): classifiers, categorisers and embeddings that are neither "
                           "distributed nor sold."},
                 {.verdict = kRefused,
                  .quote =
                      "3.3(e): outputs must not develop AI models that compete with OpenAI's; classifiers that are "
                      "distributed or sold are not excepted."}},
       .source = "https://openai.com/policies/services-agreement/ (read in quotations)",
       .date = "2026-01-01"},
      {.id = "anthropic-commercial-terms",
       .name = "Anthropic Commercial Terms of Service",
       .licence = false,
       .rules = {{.verdict = kNeedsAuthorisation,
                  .quote =
                      "D.4: no access to build a competing product or to train competing AI models, unless Anthropic "
                      "expressly approves."}},
       .source = "https://www.anthropic.com/legal/commercial-terms",
       .date = "2025-06-17",
       .primary = true},
      {.id = "anthropic-usage-policy",
       .name = "Anthropic Usage Policy",
       .licence = false,
       .rules = {{.verdict = kNeedsAuthorisation,
                  .quote = "Using inputs and outputs to train any AI model (model distillation) needs prior "
                           "authorisation, competing or not."}},
       .source = "https://www.anthropic.com/legal/aup",
       .date = "2025-09-15",
       .primary = true},
      {.id = "google-gemini-api-terms",
       .name = "Gemini API Additional Terms of Service",
       .licence = false,
       .rules = {{.when = {.purposes = {kClassifier}},
                  .verdict = kNeedsAuthorisation,
                  .quote = "No models that compete with the services; whether this classifier does is for a person to "
                           "judge."},
                 {.verdict = kRefused,
                  .quote = "No models that compete with the services may be developed with them, and no components "
                           "extracted."}},
       .source = "https://ai.google.dev/gemini-api/terms",
       .date = "2026-03-23",
       .primary = true},
      {.id = "xai-terms",
       .name = "xAI Terms of Service, Enterprise",
       .licence = false,
       .rules = {{.verdict = kRefused,
                  .quote = "Outputs must not develop competing models or services; distilling model data is named."}},
       .source = "https://x.ai/legal/terms-of-service-enterprise (read in excerpts)",
       .date = kRead},
      {.id = "mistral-terms",
       .name = "Mistral AI terms of service",
       .licence = false,
       .rules = {{.verdict = kNeedsAuthorisation,
                  .quote =
                      "Image outputs must not train competing image generators, and outputs must not serve reverse "
                      "engineering. What was read doesn't say whether text may train another model."}},
       .source = "Mistral AI terms of service (read in excerpts)",
       .date = kRead},
      {.id = "aws-service-terms",
       .name = "AWS Service Terms (Amazon Bedrock)",
       .licence = false,
       .rules = {{.when = {.purposes = {kClassifier}},
                  .verdict = kNeedsAuthorisation,
                  .quote =
                      "No foundation models that compete with Bedrock; whether this classifier does is for a person "
                      "to judge."},
                 {.verdict = kRefused, .quote = "No foundation models that compete with Bedrock."}},
       .source = "AWS Service Terms (read in excerpts)",
       .date = kRead},
      {.id = "ai21-terms",
       .name = "AI21 terms of use",
       .licence = false,
       .rules = {{.when = {.purposes = {kClassifier}},
                  .verdict = kNeedsAuthorisation,
                  .quote = "Outputs must not train competing machine learning; whether this classifier competes is for "
                           "a person to judge."},
                 {.verdict = kRefused, .quote = "Outputs must not train competing machine learning."}},
       .source = "AI21 terms of use (read in excerpts)",
       .date = kRead},
      {.id = "cohere-terms",
       .name = "Cohere terms of use",
       .licence = false,
       .rules = {{.verdict = kUnknown,
                  .quote = "No exact clause on training with outputs was found; the weights are CC-BY-NC."}},
       .source = "Cohere terms of use (not found)",
       .date = kRead},
      {.id = "deepseek-api-terms",
       .name = "DeepSeek API terms",
       .licence = false,
       .rules = {{.verdict = kAllowed, .quote = "API outputs may be used for fine-tuning and distillation."}},
       .source = "https://api-docs.deepseek.com/news/news250120",
       .date = "2025-01-20",
       .primary = true},
  };
}

std::vector<Provider> all_providers() {
  return {
      {.id = "openai", .hosts = {"api.openai.com"}, .texts = {"openai-services-agreement"}},
      {.id = "anthropic",
       .aliases = {"claude"},
       .hosts = {"api.anthropic.com"},
       .texts = {"anthropic-usage-policy", "anthropic-commercial-terms"}},
      {.id = "google",
       .aliases = {"gemini", "google-gemini", "gemini-api", "google-ai", "google-ai-studio", "ai-studio"},
       .hosts = {"generativelanguage.googleapis.com"},
       .texts = {"google-gemini-api-terms"}},
      {.id = "xai", .aliases = {"x.ai", "x-ai", "grok"}, .hosts = {"api.x.ai"}, .texts = {"xai-terms"}},
      {.id = "mistral",
       .aliases = {"mistralai", "mistral-ai"},
       .hosts = {"api.mistral.ai"},
       .texts = {"mistral-terms"}},
      {.id = "aws",
       .aliases = {"bedrock", "amazon", "amazon-bedrock", "aws-bedrock"},
       .hosts = {".amazonaws.com"},
       .texts = {"aws-service-terms"},
       .hosts_others = true},
      {.id = "ai21", .hosts = {"api.ai21.com"}, .texts = {"ai21-terms"}},
      {.id = "cohere", .hosts = {"api.cohere.com", "api.cohere.ai"}, .texts = {"cohere-terms"}},
      {.id = "deepseek", .hosts = {"api.deepseek.com"}, .texts = {"deepseek-api-terms"}},
  };
}

// "Amazon Bedrock" and "amazon_bedrock" are "amazon-bedrock".
std::string route_key(std::string_view route) {
  std::string key = to_lower_ascii(trim(route));
  std::replace_if(
      key.begin(), key.end(), [](char c) { return c == ' ' || c == '_'; }, '-');
  return key;
}

// 10/8, 172.16/12, 192.168/16, loopback and link-local, and names that only a local network has.
bool is_private_host(const std::string& host) {
  if (host == "localhost" || host.ends_with(".localhost") || host.ends_with(".local") || host.ends_with(".internal")) {
    return true;
  }
  if (host == "::1" || host.starts_with("fe80:") || host.starts_with("fc") || host.starts_with("fd")) {
    return host.find(':') != std::string::npos;
  }
  const std::vector<std::string> parts = split(host, '.');
  const bool numeric = parts.size() == 4 &&
                       std::all_of(host.begin(), host.end(), [](char c) { return c == '.' || (c >= '0' && c <= '9'); });
  if (!numeric) return host.find('.') == std::string::npos && host.find(':') == std::string::npos;  // a bare name
  if (parts[0] == "127" || parts[0] == "10" || (parts[0] == "192" && parts[1] == "168")) return true;
  if (parts[0] == "169" && parts[1] == "254") return true;
  const bool short_number = !parts[1].empty() && parts[1].size() <= 3;
  const int second = short_number ? std::stoi(parts[1]) : 0;
  return parts[0] == "172" && second >= 16 && second <= 31;
}

std::string host_of(std::string_view url) {
  std::string_view rest = trim(url);
  if (const std::size_t scheme = rest.find("://"); scheme != std::string_view::npos) rest.remove_prefix(scheme + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (const std::size_t user = rest.rfind('@'); user != std::string_view::npos) rest.remove_prefix(user + 1);
  if (rest.starts_with('[')) return to_lower_ascii(rest.substr(1, rest.find(']') - 1));
  std::string host = to_lower_ascii(rest.substr(0, rest.find(':')));
  while (host.ends_with('.')) host.pop_back();
  return host;
}

}  // namespace

std::span<const Text> api_terms() {
  static const std::vector<Text> table = all_terms();
  return table;
}

std::span<const Provider> providers() {
  static const std::vector<Provider> table = all_providers();
  return table;
}

const Text* find_text(std::string_view id) {
  for (const std::span<const Text> table : {licences(), api_terms()}) {
    for (const Text& text : table) {
      if (text.id == id) return &text;
    }
  }
  return nullptr;
}

const Provider* find_provider(std::string_view route) {
  const std::string key = route_key(route);
  for (const Provider& provider : providers()) {
    const auto& aliases = provider.aliases;
    if (provider.id == key || std::find(aliases.begin(), aliases.end(), key) != aliases.end()) return &provider;
  }
  return nullptr;
}

bool is_own_route(std::string_view route) {
  const std::string key = route_key(route);
  return key == "own" || key == "local" || key == "self" || key == "self-hosted" || key == "own-endpoint" ||
         key == "file" || key == "weights";
}

std::string route_of_endpoint(std::string_view url) {
  const std::string host = host_of(url);
  if (host.empty()) return {};
  for (const Provider& provider : providers()) {
    for (const std::string_view end : provider.hosts) {
      const bool whole = end.starts_with('.') ? host.ends_with(end) : host == end;
      if (whole || host.ends_with("." + std::string(end))) return std::string(provider.id);
    }
  }
  return is_private_host(host) ? "own" : host;
}

}  // namespace retort::terms
