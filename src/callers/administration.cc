#include "callers/administration.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string_view>
#include <vector>

namespace retort::callers {
namespace {

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<std::int64_t> date_ms(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto year = whole_number(text.substr(0, 4));
  const auto month = whole_number(text.substr(5, 2));
  const auto day = whole_number(text.substr(8, 2));
  if (!year || !month || !day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::milliseconds(std::chrono::sys_days(date).time_since_epoch()).count();
}

std::optional<std::int64_t> time_of_day_ms(std::string_view text) {
  if (text.size() != 10 || text[0] != 'T' || text[3] != ':' || text[6] != ':' || text[9] != 'Z') return std::nullopt;
  const auto hours = whole_number(text.substr(1, 2));
  const auto minutes = whole_number(text.substr(4, 2));
  const auto seconds = whole_number(text.substr(7, 2));
  if (!hours || !minutes || !seconds || *hours > 23 || *minutes > 59 || *seconds > 59) return std::nullopt;
  return ((*hours * 60 + *minutes) * 60 + *seconds) * 1000;
}

std::optional<std::int64_t> moment_ms(std::string_view text, std::int64_t now_unix_ms) {
  constexpr std::int64_t kHour_ms = 3'600'000;
  if (text.ends_with('d') || text.ends_with('h')) {
    const auto count = whole_number(text.substr(0, text.size() - 1));
    if (!count || *count > 100'000) return std::nullopt;
    return now_unix_ms + *count * kHour_ms * (text.ends_with('d') ? 24 : 1);
  }
  const auto date = date_ms(text.substr(0, 10));
  if (!date || text.size() == 10) return date;
  const auto time = time_of_day_ms(text.substr(10));
  if (!time) return std::nullopt;
  return *date + *time;
}

}  // namespace

Result<std::string> ensure_account(Registry& registry, const By& by, const AccountWish& wish) {
  RETORT_ASSIGN(const std::vector<Account> accounts, registry.accounts());
  const std::string id = wish.account.empty() ? "account-" + std::to_string(accounts.size() + 1) : wish.account;
  const auto found = std::find_if(accounts.begin(), accounts.end(), [&](const Account& one) { return one.id == id; });
  if (found != accounts.end()) {
    const bool as_it_is = (wish.organisation.empty() || wish.organisation == found->organisation) &&
                          (wish.tier.empty() || wish.tier == found->tier) &&
                          (wish.kind.empty() || wish.kind == found->kind) && !wish.plan_usd_cents_month;
    if (as_it_is) return id;
    return caller_error("The account '" + id +
                        "' is there already and is otherwise than asked for; leave organisation, tier, kind and plan "
                        "out, or change the account first.");
  }
  Account account{.id = id, .organisation = wish.organisation};
  account.kind = wish.kind;
  if (!wish.tier.empty()) account.tier = wish.tier;
  account.plan_usd_cents_month = wish.plan_usd_cents_month;
  RETORT_TRY(registry.add_account(by, account));
  return id;
}

Result<std::int64_t> parse_expiry(const std::string& text, std::int64_t now_unix_ms) {
  const auto moment = moment_ms(text, now_unix_ms);
  if (!moment) {
    return caller_error("'" + text +
                        "' is no time; expected a date such as 2027-01-31, a time such as "
                        "2027-01-31T12:00:00Z, or a span such as 90d or 12h.");
  }
  if (*moment <= now_unix_ms) return caller_error("'" + text + "' has passed; expected a time in the future.");
  return *moment;
}

Result<std::int64_t> parse_usd_cents(const std::string& text) {
  const std::size_t point = text.find('.');
  const auto dollars = whole_number(std::string_view(text).substr(0, point));
  std::string cents = point == std::string::npos ? "00" : text.substr(point + 1);
  if (cents.size() == 1) cents += '0';
  const auto rest = whole_number(cents);
  if (!dollars || !rest || cents.size() != 2 || *dollars > 1'000'000'000) {
    return caller_error("'" + text + "' is no sum of dollars; expected one such as 20 or 19.99.");
  }
  return *dollars * 100 + *rest;
}

}  // namespace retort::callers
