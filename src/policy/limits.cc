#include "policy/limits.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace retort::policy {
namespace {

constexpr double kMinute_s = 60;
constexpr std::int64_t kDay_ms = 86'400'000;

}  // namespace

std::string_view name_of(LimitKind kind) {
  switch (kind) {
    case LimitKind::kRequests: return "requests_per_minute";
    case LimitKind::kTokens: return "tokens_per_minute";
    case LimitKind::kMoney:
    case LimitKind::kUnavailable: return "usd_per_day";
    case LimitKind::kNone: break;
  }
  return "";
}

Reservation::~Reservation() { settle(tokens_, worst_); }

Reservation::Reservation(Reservation&& other) noexcept
    : book_(std::exchange(other.book_, nullptr)),
      account_(std::move(other.account_)),
      day_(other.day_),
      tokens_(other.tokens_),
      worst_(other.worst_) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    settle(tokens_, worst_);
    book_ = std::exchange(other.book_, nullptr);
    account_ = std::move(other.account_);
    day_ = other.day_;
    tokens_ = other.tokens_;
    worst_ = other.worst_;
  }
  return *this;
}

NanoUsd Reservation::settle(std::int64_t tokens, NanoUsd cost) {
  LimitBook* book = std::exchange(book_, nullptr);
  return book == nullptr ? 0 : book->settle(account_, day_, worst_, cost, tokens_, tokens);
}

void Reservation::cancel() { settle(0, 0); }

LimitBook::Shard& LimitBook::shard(std::string_view account) {
  return shards_[std::hash<std::string_view>()(account) % kShards];
}
const LimitBook::Shard& LimitBook::shard(std::string_view account) const {
  return shards_[std::hash<std::string_view>()(account) % kShards];
}

Admission LimitBook::admit(const std::string& account, const Limits& limits, std::int64_t tokens, NanoUsd worst,
                           Moment now) {
  Admission admission;
  Shard& home = shard(account);
  const std::lock_guard lock(home.mutex);
  Account& state = home.accounts[account];

  const auto refill = [&](Bucket& bucket, std::int64_t per_minute) {
    const auto capacity = static_cast<double>(per_minute);
    if (bucket.at_s < 0) bucket.level = capacity;
    const double passed = bucket.at_s < 0 ? 0 : std::max(0.0, now.monotonic_s - bucket.at_s);
    bucket.level = std::min(capacity, bucket.level + passed * capacity / kMinute_s);
    bucket.at_s = now.monotonic_s;
    bucket.capacity = capacity;
  };
  const auto lacks = [&](Bucket& bucket, std::int64_t per_minute, double wanted, LimitKind kind) {
    refill(bucket, per_minute);
    // A wish larger than the whole bucket passes when it is full: it could never pass otherwise.
    const double needed = std::min(wanted, static_cast<double>(per_minute));
    if (bucket.level >= needed) return false;
    admission.refused_by = kind;
    admission.retry_after_s = (needed - bucket.level) * kMinute_s / static_cast<double>(per_minute);
    return true;
  };
  if (limits.requests_per_minute && lacks(state.requests, *limits.requests_per_minute, 1, LimitKind::kRequests)) {
    return admission;
  }
  if (limits.tokens_per_minute &&
      lacks(state.tokens, *limits.tokens_per_minute, static_cast<double>(tokens), LimitKind::kTokens)) {
    return admission;
  }
  const std::int64_t day = day_of(now.unix_ms);
  while (!state.days.empty() && state.days.begin()->first < day - 1) state.days.erase(state.days.begin());
  if (limits.usd_per_day) {
    const MoneyState& money = state.days[day];
    // Rounded down: the budget is never said to be more.
    auto budget = static_cast<NanoUsd>(*limits.usd_per_day * kNanoUsd);
    if (share_ != nullptr) {
      const auto allowed = share_->allowance(account, day, budget, money.settled + money.reserved, worst);
      if (!allowed) {
        admission.refused_by = LimitKind::kUnavailable;
        admission.retry_after_s = 1;
        return admission;
      }
      budget = std::min(budget, *allowed);
    }
    if (money.settled + money.reserved + worst > budget) {
      admission.refused_by = LimitKind::kMoney;
      admission.retry_after_s = static_cast<double>((day + 1) * kDay_ms - now.unix_ms) / 1000.0;
      return admission;
    }
  }
  if (limits.requests_per_minute) {
    state.requests.level -= 1;
    state.requests.used += 1;
  }
  if (limits.tokens_per_minute) {
    state.tokens.level -= static_cast<double>(tokens);
    state.tokens.used += tokens;
  }
  state.days[day].reserved += worst;
  admission.reservation.book_ = this;
  admission.reservation.account_ = account;
  admission.reservation.day_ = day;
  admission.reservation.tokens_ = tokens;
  admission.reservation.worst_ = worst;
  return admission;
}

NanoUsd LimitBook::settle(const std::string& account, std::int64_t day, NanoUsd worst, NanoUsd cost,
                          std::int64_t estimated, std::int64_t tokens) {
  Shard& home = shard(account);
  const std::lock_guard lock(home.mutex);
  Account& state = home.accounts[account];
  // Of a batch that took days nobody asks any more.
  if (const auto found = state.days.find(day); found != state.days.end()) {
    found->second.reserved -= worst;
    found->second.settled += cost;
  }
  if (state.tokens.at_s >= 0) {
    state.tokens.level += static_cast<double>(estimated - tokens);
    state.tokens.used += tokens - estimated;
  }
  return std::max<NanoUsd>(0, cost - worst);
}

std::vector<RateUse> LimitBook::take_used(double since_s) {
  std::vector<RateUse> all;
  for (Shard& home : shards_) {
    const std::lock_guard lock(home.mutex);
    for (auto& [account, state] : home.accounts) {
      Bucket& requests = state.requests;
      Bucket& tokens = state.tokens;
      const bool limited = requests.at_s >= 0 || tokens.at_s >= 0;
      if (!limited || std::max(requests.at_s, tokens.at_s) < since_s) continue;
      all.push_back({account, std::exchange(requests.used, 0), std::exchange(tokens.used, 0)});
    }
  }
  return all;
}

void LimitBook::charge(const RateUse& others) {
  Shard& home = shard(others.account);
  const std::lock_guard lock(home.mutex);
  const auto found = home.accounts.find(others.account);
  if (found == home.accounts.end()) return;
  const auto take = [](Bucket& bucket, std::int64_t amount) {
    if (bucket.at_s < 0) return;
    bucket.level = std::clamp(bucket.level - static_cast<double>(amount), std::min(bucket.level, -bucket.capacity),
                              bucket.capacity);
  };
  take(found->second.requests, others.requests);
  take(found->second.tokens, others.tokens);
}

void LimitBook::visit_money(const std::string& account, std::int64_t day,
                            const std::function<void(const MoneyState&)>& visit) {
  Shard& home = shard(account);
  const std::lock_guard lock(home.mutex);
  visit(home.accounts[account].days[day]);
}

Reservation LimitBook::hold(const std::string& account, std::int64_t day, NanoUsd worst) {
  Shard& home = shard(account);
  const std::lock_guard lock(home.mutex);
  home.accounts[account].days[day].reserved += worst;
  Reservation reservation;
  reservation.book_ = this;
  reservation.account_ = account;
  reservation.day_ = day;
  reservation.worst_ = worst;
  return reservation;
}

void LimitBook::restore(const std::string& account, std::int64_t day, NanoUsd settled) {
  Shard& home = shard(account);
  const std::lock_guard lock(home.mutex);
  home.accounts[account].days[day].settled += settled;
}

MoneyState LimitBook::money(const std::string& account, std::int64_t day) const {
  const Shard& home = shard(account);
  const std::lock_guard lock(home.mutex);
  const auto found = home.accounts.find(account);
  if (found == home.accounts.end()) return {};
  const auto state = found->second.days.find(day);
  return state == found->second.days.end() ? MoneyState{} : state->second;
}

MoneyState LimitBook::money_of_all(std::int64_t day) const {
  MoneyState sum;
  for (const Shard& home : shards_) {
    const std::lock_guard lock(home.mutex);
    for (const auto& [account, state] : home.accounts) {
      const auto found = state.days.find(day);
      if (found == state.days.end()) continue;
      sum.settled += found->second.settled;
      sum.reserved += found->second.reserved;
    }
  }
  return sum;
}

}  // namespace retort::policy
