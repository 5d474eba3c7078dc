#include "provider/verdict.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"

namespace retort::provider {
namespace {

using Kind = Verdict::Kind;

// A service's words, short and without the key: some repeat it.
std::string words_of(const ApiError& error, const std::string& key) {
  std::string words = error.message.substr(0, 300);
  if (key.size() >= 4) {
    for (std::size_t at = words.find(key); at != std::string::npos; at = words.find(key)) {
      words.replace(at, key.size(), "[key]");
    }
  }
  for (char& c : words) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  if (!is_valid_utf8(words)) words.resize(words.size() - unfinished_utf8_suffix(words));
  return is_valid_utf8(words) ? words : std::string();
}

std::string said(const std::string& words) { return words.empty() ? "" : " It says: " + words; }

bool is_out_of_credit(const ApiError& error) {
  constexpr std::array<std::string_view, 5> kCodes = {"insufficient_quota", "billing_hard_limit_reached",
                                                      "billing_not_active", "billing_error", "insufficient_credit"};
  return std::any_of(kCodes.begin(), kCodes.end(),
                     [&](std::string_view code) { return error.code == code || error.type == code; });
}

Verdict stopped(Fault fault, std::string outcome, std::string sentence) {
  Verdict verdict;
  verdict.kind = Kind::kStop;
  verdict.fault = fault;
  verdict.outcome = std::move(outcome);
  verdict.sentence = std::move(sentence);
  return verdict;
}

Verdict of_trouble(const net::HttpOutcome& outcome, const std::string& url) {
  if (outcome.trouble == net::Trouble::kTls) {
    return stopped(Fault::kWorld, "TLS",
                   "The certificate of " + url + " is not trusted (" + outcome.trouble_text +
                       "). Nothing was sent. Where it is your own, name its authority's file in SSL_CERT_FILE.");
  }
  Verdict verdict;
  verdict.outcome = net::name_of(outcome.trouble);
  verdict.sentence = url + ": " + verdict.outcome + " (" + outcome.trouble_text + ").";
  verdict.congested = outcome.trouble == net::Trouble::kTimeout;
  verdict.maybe_billed = outcome.trouble != net::Trouble::kConnect;
  return verdict;
}

Verdict of_denial(int status, const std::string& url, const std::string& words) {
  switch (status) {
    case 401:
      // Its words may repeat the key in a form of their own.
      return stopped(Fault::kCaller, "401",
                     url +
                         " doesn't accept the key (401). Look at the variable or file that the endpoint names "
                         "(key_env, key_file).");
    case 402: return stopped(Fault::kWorld, "402", url + " asks for payment (402): no credit is left." + said(words));
    case 403:
      return stopped(Fault::kWorld, "403",
                     url + " denies this request (403); it is not asked by another way." + said(words));
    case 404:
      return stopped(Fault::kCaller, "404",
                     url +
                         " knows no such model or path (404); expected teacher.model as the service names it, and "
                         "an endpoint's URL that ends with the version, such as http://127.0.0.1:8000/v1." +
                         said(words));
    default: break;
  }
  return stopped(Fault::kCaller, std::to_string(status),
                 url + " redirects elsewhere (" + std::to_string(status) +
                     "), which is not followed: a key could go astray. Write the final URL into the recipe.");
}

Verdict of_status(const net::HttpOutcome& outcome, const ToldLimits& told, const std::string& url,
                  const std::string& key) {
  const int status = outcome.status;
  const ApiError error = api_error(outcome.body);
  const std::string words = words_of(error, key);
  if (is_out_of_credit(error)) {
    return stopped(Fault::kWorld, "no credit", url + " has no credit left for this key." + said(words));
  }
  const bool denied = (status >= 300 && status < 400) || (status >= 401 && status <= 404);
  if (denied) return of_denial(status, url, words);
  Verdict verdict;
  verdict.outcome = std::to_string(status);
  verdict.sentence = url + " answered " + std::to_string(status) + "." + said(words);
  const bool again = status == 408 || status == 409 || status == 425 || status == 429 || status >= 500 || status < 300;
  verdict.kind = told.should_retry.value_or(again) ? Kind::kRetry : Kind::kGiveUp;
  // A limit that is not to be tried again is a denial of everything that follows, too.
  if (status == 429 && verdict.kind == Kind::kGiveUp) {
    return stopped(Fault::kWorld, "429", url + " asks not to be tried again (429)." + said(words));
  }
  verdict.congested = status == 429 || status == 503 || status == 529;
  return verdict;
}

}  // namespace

Verdict judge(const Dialect& dialect, const net::HttpOutcome& outcome, const ToldLimits& told, const std::string& url,
              const std::string& key) {
  if (outcome.trouble != net::Trouble::kNone) return of_trouble(outcome, url);
  if (outcome.status != 200) return of_status(outcome, told, url, key);
  auto answer = dialect.read(outcome);
  Verdict verdict;
  if (!answer) {
    const ApiError error{answer.error().message, "", ""};
    verdict.outcome = "malformed";
    verdict.sentence = url + ": " + words_of(error, key);
    verdict.maybe_billed = true;
    return verdict;
  }
  verdict.kind = Kind::kAnswered;
  verdict.outcome = "answered";
  verdict.answer = std::move(*answer);
  return verdict;
}

}  // namespace retort::provider
