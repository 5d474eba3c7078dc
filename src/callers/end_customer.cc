#include "callers/end_customer.h"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/cryptography.h"
#include "base/text.h"

namespace retort::callers {
namespace {

constexpr std::size_t kMostPseudonym = 128;

bool is_pseudonym(std::string_view text) {
  return !text.empty() && text.size() <= kMostPseudonym && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '_' ||
           c == '~' || c == '-';
  });
}

std::optional<std::vector<std::uint8_t>> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<std::uint8_t> bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char* const begin = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(begin, begin + 2, bytes[i], 16);
    if (error != std::errc() || end != begin + 2) return std::nullopt;
  }
  return bytes;
}

bool is_signed_by(const AttestationKey& key, const std::string& statement, const std::vector<std::uint8_t>& signature) {
  if (key.hmac) {
    Digest given;
    if (signature.size() != given.bytes.size()) return false;
    std::copy(signature.begin(), signature.end(), given.bytes.begin());
    return equal_in_constant_time(bytes_of(key.hmac->hash(statement).bytes), bytes_of(given.bytes));
  }
  if (!key.ed25519) return false;
  EVP_PKEY* const public_key =
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.ed25519->data(), key.ed25519->size());
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  const bool good = public_key != nullptr && context != nullptr &&
                    EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, public_key) == 1 &&
                    EVP_DigestVerify(context, signature.data(), signature.size(),
                                     reinterpret_cast<const unsigned char*>(statement.data()), statement.size()) == 1;
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(public_key);
  return good;
}

// Takes "name=" and what follows up to the next ";" from the front of `rest`.
std::optional<std::string_view> take(std::string_view& rest, std::string_view name) {
  const std::size_t end = rest.find(';');
  const std::string_view piece = trim(rest.substr(0, end));
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  if (!piece.starts_with(name)) return std::nullopt;
  return piece.substr(name.size());
}

}  // namespace

std::string_view text_of(EndCustomerFault fault) {
  switch (fault) {
    case EndCustomerFault::kMalformed: return "it has not the form '<pseudonym>; t=<unix seconds>; sig=<hex>'";
    case EndCustomerFault::kBadPseudonym: return "its pseudonym is not 1 to 128 of A-Z a-z 0-9 . _ ~ -";
    case EndCustomerFault::kTooOld: return "it was signed too long ago";
    case EndCustomerFault::kFromTheFuture: return "its time lies in the future";
    case EndCustomerFault::kBadSignature: return "its signature does not verify";
  }
  return "";
}

std::string end_customer_statement(std::string_view reseller, std::string_view pseudonym, std::int64_t unix_s) {
  std::string text = "retort-end-customer/1\n";
  text.append(reseller).append("\n").append(pseudonym).append("\n").append(std::to_string(unix_s));
  return text;
}

tl::expected<std::string_view, EndCustomerFault> verify_end_customer(std::string_view header, const AttestationKey& key,
                                                                     std::int64_t now_unix_s, std::int64_t window_s) {
  using Fault = EndCustomerFault;
  std::string_view rest = header;
  const auto pseudonym = take(rest, "");
  const auto time = take(rest, "t=");
  const auto hex = take(rest, "sig=");
  if (!pseudonym || !time || !hex || !rest.empty()) return tl::unexpected(Fault::kMalformed);
  if (!is_pseudonym(*pseudonym)) return tl::unexpected(Fault::kBadPseudonym);
  // Eleven digits last until the year 5138, and no sum with the window overflows.
  std::int64_t at = 0;
  const auto [end, error] = std::from_chars(time->data(), time->data() + time->size(), at);
  if (error != std::errc() || end != time->data() + time->size() || at < 0 || time->size() > 11) {
    return tl::unexpected(Fault::kMalformed);
  }
  const auto signature = from_hex(*hex);
  if (!signature) return tl::unexpected(Fault::kMalformed);
  if (!is_signed_by(key, end_customer_statement(key.reseller, *pseudonym, at), *signature)) {
    return tl::unexpected(Fault::kBadSignature);
  }
  if (at < now_unix_s - window_s) return tl::unexpected(Fault::kTooOld);
  if (at > now_unix_s + window_s) return tl::unexpected(Fault::kFromTheFuture);
  return *pseudonym;
}

std::string sign_end_customer(std::string_view pseudonym, std::string_view reseller, const HmacKey& key,
                              std::int64_t now_unix_s) {
  return std::string(pseudonym) + "; t=" + std::to_string(now_unix_s) +
         "; sig=" + key.hash(end_customer_statement(reseller, pseudonym, now_unix_s)).hex();
}

}  // namespace retort::callers
