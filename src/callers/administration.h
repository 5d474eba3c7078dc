// What the command line and the admin API have in common when they change callers.
//
// Pure, or on a Registry's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "callers/registry.h"

namespace retort::callers {

// The account that a key is for. What is empty isn't asked for.
struct AccountWish {
  std::string account;  // empty: a new one, named by its number
  std::string organisation;
  std::string tier;
  std::string kind;
  std::optional<std::int64_t> plan_usd_cents_month;
};
// The account's id: as it is, or made. Error (kCaller): it is there and is otherwise than wished for.
Result<std::string> ensure_account(Registry& registry, const By& by, const AccountWish& wish);

// "2027-01-31" (its beginning, UTC), "2027-01-31T12:00:00Z" or "90d", "12h" from now. Error: anything else, also a time
// that has passed.
Result<std::int64_t> parse_expiry(const std::string& text, std::int64_t now_unix_ms);
// "200" or "19.99" dollars as cents.
Result<std::int64_t> parse_usd_cents(const std::string& text);

}  // namespace retort::callers
