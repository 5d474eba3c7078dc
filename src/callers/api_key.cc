#include "callers/api_key.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "base/cryptography.h"
#include "base/digest.h"

namespace retort::callers {
namespace {

constexpr std::string_view kPrefix = "rg_";
constexpr std::size_t kId = 12;
constexpr std::size_t kSecret = 32;
constexpr std::size_t kCheck = 6;
constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

bool is_base62(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); });
}

std::array<char, kCheck> check_of(std::string_view text) {
  std::uint64_t rest = checksum64(std::as_bytes(std::span(text.data(), text.size())));
  std::array<char, kCheck> digits{};
  for (char& digit : digits) {
    digit = kDigits[rest % kDigits.size()];
    rest /= kDigits.size();
  }
  return digits;
}

Result<std::string> random_base62(std::size_t length) {
  std::string text;
  while (text.size() < length) {
    std::array<std::uint8_t, 64> random{};
    RETORT_TRY(random_bytes(random));
    for (const std::uint8_t byte : random) {
      // 248 = 4 * 62: above it some digits would be likelier than others.
      if (byte < 248 && text.size() < length) text += kDigits[byte % kDigits.size()];
    }
  }
  return text;
}

}  // namespace

ApiKeyForm read_api_key(std::string_view text, ApiKeyParts& parts) {
  if (!text.starts_with(kPrefix)) return ApiKeyForm::kForeign;
  constexpr std::size_t kBody = kPrefix.size() + kId + 1 + kSecret;
  if (text.size() != kBody + kCheck || text[kPrefix.size() + kId] != '_') return ApiKeyForm::kMistyped;
  const std::string_view id = text.substr(kPrefix.size(), kId);
  const std::string_view secret = text.substr(kPrefix.size() + kId + 1, kSecret);
  const std::array<char, kCheck> check = check_of(text.substr(0, kBody));
  if (!is_base62(id) || !is_base62(secret) || text.substr(kBody) != std::string_view(check.data(), kCheck)) {
    return ApiKeyForm::kMistyped;
  }
  parts = {id, secret};
  return ApiKeyForm::kWell;
}

Result<NewApiKey> make_api_key() {
  NewApiKey key;
  RETORT_ASSIGN(key.id, random_base62(kId));
  RETORT_ASSIGN(key.secret, random_base62(kSecret));
  key.text = std::string(kPrefix) + key.id + "_" + key.secret;
  const std::array<char, kCheck> check = check_of(key.text);
  key.text.append(check.data(), check.size());
  return key;
}

bool is_api_key_id(std::string_view text) { return text.size() == kId && is_base62(text); }

}  // namespace retort::callers
