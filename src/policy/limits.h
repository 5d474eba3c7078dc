// How much an account has used: requests and tokens a minute, money a day.
//
// Money: at every instant settled + reserved <= the day's budget. A reservation is made at admission for the worst case
// and settled exactly once, on whatever way the request ends; one that is dropped settles at its worst case. What
// upstream bills above a reservation is the only way past the budget, and is told. Days are UTC; a reservation belongs
// to the day it was made on.
// Tokens: a bucket that holds a minute's worth; an admission needs room for its estimate, and the difference to what
// upstream counted is settled afterwards (so it may go below zero and delays what follows).
//
// Any thread: accounts are spread over locks. A reservation may outlive nothing: keep the book alive.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "policy/money.h"
#include "policy/options.h"

namespace retort::policy {

class LimitBook;

// What one admitted request holds. Movable; settles itself at the worst case when it was not settled.
class Reservation {
 public:
  Reservation() = default;
  ~Reservation();
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;

  NanoUsd worst() const { return worst_; }
  // The request ended: with these tokens, at this cost. What it cost above the worst case.
  NanoUsd settle(std::int64_t tokens, NanoUsd cost);
  // It never left: nothing is owed.
  void cancel();

 private:
  friend class LimitBook;
  LimitBook* book_ = nullptr;
  std::string account_;
  std::int64_t day_ = 0;
  std::int64_t tokens_ = 0;
  NanoUsd worst_ = 0;
};

enum class LimitKind : std::uint8_t {
  kNone,
  kRequests,
  kTokens,
  kMoney,
  kUnavailable,  // whether there is money can't be known at the moment (BudgetShare)
};
std::string_view name_of(LimitKind kind);  // "requests_per_minute", …

struct Admission {
  LimitKind refused_by = LimitKind::kNone;
  double retry_after_s = 0;  // until there is room again; until the next day for money
  Reservation reservation;   // when it wasn't refused
};

struct MoneyState {
  NanoUsd settled = 0;
  NanoUsd reserved = 0;
};

// Where several guards spend one budget: how far this one may go.
class BudgetShare {
 public:
  virtual ~BudgetShare() = default;
  // What settled and reserved may come to together in this process; `used` is what they are, `wanted` what a request
  // needs beside it. Called with the account locked: it must not call the book. Nothing: it can't be known.
  virtual std::optional<NanoUsd> allowance(const std::string& account, std::int64_t day, NanoUsd budget, NanoUsd used,
                                           NanoUsd wanted) = 0;
};

// What an account let pass or, of others, what is to be taken from its buckets.
struct RateUse {
  std::string account;
  std::int64_t requests = 0;
  std::int64_t tokens = 0;
};

class LimitBook {
 public:
  // `tokens`: the estimate; `worst`: what the request can cost at most. Times: seconds of a monotonic clock, and the
  // UTC day's number (unix_ms / 86,400,000) with the seconds left of it.
  struct Moment {
    double monotonic_s = 0;
    std::int64_t unix_ms = 0;
  };
  Admission admit(const std::string& account, const Limits& limits, std::int64_t tokens, NanoUsd worst, Moment now);

  // Null: the budgets are this process's alone. Set it while nothing is admitted.
  void share(BudgetShare* share) { share_ = share; }
  // What accounts used since it was last taken, of those that used anything since `since_s` (monotonic).
  std::vector<RateUse> take_used(double since_s);
  // Takes from the buckets what other guards let pass. Not below an empty bucket's opposite: a minute's worth of debt.
  void charge(const RateUse& others);
  // With the account locked: nothing is reserved or settled meanwhile. `visit` must not call the book.
  void visit_money(const std::string& account, std::int64_t day, const std::function<void(const MoneyState&)>& visit);

  // Money that is reserved whatever the budget says: it was admitted before this process began. Settles as any other.
  Reservation hold(const std::string& account, std::int64_t day, NanoUsd worst);
  // What was spent before this process began (from the evidence of the day).
  void restore(const std::string& account, std::int64_t day, NanoUsd settled);
  MoneyState money(const std::string& account, std::int64_t day) const;
  // Of all accounts on the day, for metrics.
  MoneyState money_of_all(std::int64_t day) const;

  static std::int64_t day_of(std::int64_t unix_ms) { return unix_ms / 86'400'000; }

 private:
  friend class Reservation;
  struct Bucket {
    double level = 0;  // what is left
    double at_s = -1;  // when it was so; below 0: never used, full
    double capacity = 0;
    std::int64_t used = 0;  // since it was last taken
  };
  struct Account {
    Bucket requests, tokens;
    std::map<std::int64_t, MoneyState> days;  // today and yesterday
  };
  struct Shard {
    mutable std::mutex mutex;
    std::unordered_map<std::string, Account> accounts;
  };
  Shard& shard(std::string_view account);
  const Shard& shard(std::string_view account) const;
  NanoUsd settle(const std::string& account, std::int64_t day, NanoUsd worst, NanoUsd cost, std::int64_t estimated,
                 std::int64_t tokens);

  BudgetShare* share_ = nullptr;
  static constexpr std::size_t kShards = 64;
  std::array<Shard, kShards> shards_;
};

}  // namespace retort::policy
