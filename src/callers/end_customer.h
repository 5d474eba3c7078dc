// A reseller's word on whom a request is for: a signed pseudonym in a header (docs/formats/callers.md).
//
//     x-retort-end-customer: <pseudonym>; t=<unix seconds>; sig=<hex>
//
// Signed are the bytes "retort-end-customer/1\n<reseller>\n<pseudonym>\n<t>", by HMAC-SHA256 (64 hexadecimal digits) or
// Ed25519 (128), as the reseller registered. The header travels beside the reseller's own key; the signature and the
// window keep a pseudonym from being invented or kept by whoever sees a request of the past. Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "callers/keyed_hash.h"

namespace retort::callers {

constexpr std::string_view kEndCustomerHeader = "x-retort-end-customer";

// What a reseller registered to sign with: one of the two.
struct AttestationKey {
  std::string reseller;                                   // the organisation
  std::shared_ptr<const HmacKey> hmac;                    // or null
  std::optional<std::array<std::uint8_t, 32>> ed25519{};  // public key
};

enum class EndCustomerFault : std::uint8_t {
  kMalformed,
  kBadPseudonym,   // 1 to 128 of A-Z a-z 0-9 . _ ~ -
  kTooOld,         // by more than the window
  kFromTheFuture,  // likewise
  kBadSignature,
};
std::string_view text_of(EndCustomerFault fault);

constexpr std::int64_t kEndCustomerWindow_s = 300;

// The pseudonym, a view into `header`.
tl::expected<std::string_view, EndCustomerFault> verify_end_customer(std::string_view header, const AttestationKey& key,
                                                                     std::int64_t now_unix_s,
                                                                     std::int64_t window_s = kEndCustomerWindow_s);

// The header a reseller with an HMAC key sends.
std::string sign_end_customer(std::string_view pseudonym, std::string_view reseller, const HmacKey& key,
                              std::int64_t now_unix_s);
// The bytes that are signed.
std::string end_customer_statement(std::string_view reseller, std::string_view pseudonym, std::int64_t unix_s);

}  // namespace retort::callers
