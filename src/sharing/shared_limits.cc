#include "sharing/shared_limits.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace retort::sharing {
namespace {

using policy::NanoUsd;

constexpr std::chrono::milliseconds kExchangeEvery{100};
constexpr int kRenewEvery = 10;  // exchanges
constexpr double kOurs_s = 50;   // of the lease's 60: clocks and answers may be late
constexpr double kRenewUnchanged_s = 10;
constexpr double kIdle_s = 10;       // an account nobody asks for gives its share back
constexpr double kAskAgain_s = 0.1;  // after an answer that was not enough
constexpr NanoUsd kSlicesOfBudget = 20;
constexpr double kActive_s = 120;
constexpr const char* kRatesExpire_ms = "180000";

// KEYS[1]: the account's day. ARGV: guard, used, wanted beside it, budget, milliseconds. Gives what is granted.
constexpr const char* kLeaseScript = R"lua(
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local used, want = tonumber(ARGV[2]), tonumber(ARGV[3])
local others = 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if fields[i] ~= ARGV[1] then
    local granted, spent, expiry = string.match(fields[i + 1], '(%d+) (%d+) (%d+)')
    granted, spent = tonumber(granted), tonumber(spent)
    if tonumber(expiry) > now and granted > spent then others = others + granted else others = others + spent end
  end
end
local room = math.max(0, tonumber(ARGV[4]) - others - used)
local granted = used + math.min(want, room)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f %.0f', granted, used, now + tonumber(ARGV[5])))
redis.call('PEXPIRE', KEYS[1], 172800000)
return string.format('%.0f', granted)
)lua";

}  // namespace

SharedLimits::SharedLimits(RedisAddress redis, std::string guard_id, policy::LimitBook& book, const Clock& clock,
                           std::function<void(const std::string&)> log)
    : guard_id_(std::move(guard_id)),
      book_(book),
      clock_(clock),
      log_(std::move(log)),
      money_(redis, clock),
      rates_(std::move(redis), clock) {
  book_.share(this);
  thread_ = std::thread([this] { run(); });
}

SharedLimits::~SharedLimits() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  renew(Renewal::kGiveBack);
  book_.share(nullptr);
}

void SharedLimits::tell(bool there, const std::string& sentence) {
  const std::lock_guard lock(telling_);
  if (there == there_) return;
  there_ = there;
  log_(there ? "Redis is there again: limits are shared."
             : sentence + " Rates go by this guard alone, money by what it was granted, until Redis is back.");
}

SharedLimits::Standing SharedLimits::standing() const {
  Standing standing;
  {
    const std::lock_guard lock(telling_);
    standing.connected = there_ && !money_gone_;
  }
  const double now_s = clock_.monotonic_s();
  const std::lock_guard lock(leases_mutex_);
  standing.leases = leases_.size();
  for (const auto& [key, lease] : leases_) {
    if (lease.ours_until_s > now_s) standing.granted += lease.granted;
  }
  return standing;
}

void SharedLimits::run() {
  int round = 0;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kExchangeEvery, [this] { return stopping_; })) {
    lock.unlock();
    share_rates();
    // A Redis that comes back may have forgotten: everyone tells it again, and soon.
    if (money_gone_) {
      if (money_is_back()) renew(Renewal::kAll);
    } else if (++round % kRenewEvery == 0) {
      renew(Renewal::kChanged);
    }
    lock.lock();
  }
}

void SharedLimits::share_rates() {
  std::vector<policy::RateUse> used = book_.take_used(clock_.monotonic_s() - kActive_s);
  if (used.empty()) return;
  const std::int64_t minute = clock_.unix_ms() / 60'000;
  std::vector<RedisLink::Command> commands;
  for (const policy::RateUse& own : used) {
    const std::string key = "retort:rate:" + std::to_string(minute) + ":" + own.account;
    commands.push_back({"HINCRBY", key, "requests", std::to_string(own.requests)});
    commands.push_back({"HINCRBY", key, "tokens", std::to_string(own.tokens)});
    commands.push_back({"PEXPIRE", key, kRatesExpire_ms});
  }
  const auto answers = rates_.ask(commands);
  if (!answers) {
    tell(false, answers.error().message);
    return;
  }
  tell(true, "");
  for (std::size_t i = 0; i < used.size(); ++i) {
    const auto& requests = (*answers)[3 * i];
    const auto& tokens = (*answers)[3 * i + 1];
    if (requests.size() != 1 || tokens.size() != 1) continue;
    Seen& seen = seen_[used[i].account];
    // A minute's counters begin at zero, for those that begin with it and for those that come late.
    if (seen.minute != minute) seen = {minute, 0, 0};
    book_.charge(
        {used[i].account, requests[0] - seen.requests - used[i].requests, tokens[0] - seen.tokens - used[i].tokens});
    seen.requests = requests[0];
    seen.tokens = tokens[0];
  }
  std::erase_if(seen_, [&](const auto& entry) { return entry.second.minute < minute - 2; });
}

bool SharedLimits::money_is_back() {
  const std::lock_guard lock(money_mutex_);
  if (!money_.ask({{"PING"}})) return false;
  money_gone_ = false;
  tell(true, "");
  return true;
}

Result<NanoUsd> SharedLimits::lease(const Key& key, NanoUsd budget, NanoUsd used, NanoUsd want) {
  const auto gone = [] { return world_error("Redis is not there at the moment."); };
  if (money_gone_) return gone();
  const std::lock_guard lock(money_mutex_);
  if (money_gone_) return gone();  // found by who held the lock
  const auto answers =
      money_.ask({{"EVAL", kLeaseScript, "1", "retort:money:" + std::to_string(key.second) + ":" + key.first, guard_id_,
                   std::to_string(used), std::to_string(want), std::to_string(budget), std::to_string(kLease_ms)}});
  if (!answers) {
    money_gone_ = true;
    tell(false, answers.error().message);
    return Failure(answers.error());
  }
  tell(true, "");
  if (answers->front().size() != 1) return world_error("Redis: the script gave no number.");
  return answers->front().front();
}

std::optional<NanoUsd> SharedLimits::allowance(const std::string& account, std::int64_t day, NanoUsd budget,
                                               NanoUsd used, NanoUsd wanted) {
  const Key key(account, day);
  const double now_s = clock_.monotonic_s();
  {
    const std::lock_guard lock(leases_mutex_);
    Lease& lease = leases_[key];
    lease.wanted_s = now_s;
    lease.budget = budget;
    if (lease.ours_until_s > now_s) {
      if (used + wanted <= lease.granted || now_s - lease.short_s < kAskAgain_s) return lease.granted;
    }
  }
  const auto granted = lease(key, budget, used, std::max(wanted, budget / kSlicesOfBudget));
  if (!granted) return std::nullopt;
  const std::lock_guard lock(leases_mutex_);
  Lease& kept = leases_[key];
  kept.granted = *granted;
  kept.told = used;
  kept.renewed_s = now_s;
  kept.ours_until_s = now_s + kOurs_s;
  if (used + wanted > *granted) kept.short_s = now_s;
  return kept.granted;
}

void SharedLimits::renew(Renewal how) {
  std::vector<Key> keys;
  {
    const std::lock_guard lock(leases_mutex_);
    const std::int64_t today = policy::LimitBook::day_of(clock_.unix_ms());
    std::erase_if(leases_, [&](const auto& entry) { return entry.first.second < today - 1; });
    for (const auto& [key, lease] : leases_) keys.push_back(key);
  }
  bool reached = true;
  for (const Key& key : keys) {
    if (!reached) return;
    // With the account locked: nothing is admitted between what is told and what is granted.
    book_.visit_money(key.first, key.second, [&](const policy::MoneyState& money) {
      reached = renew_one(key, money.settled + money.reserved, how);
    });
  }
}

bool SharedLimits::renew_one(const Key& key, NanoUsd used, Renewal how) {
  const double now_s = clock_.monotonic_s();
  Lease kept;
  {
    const std::lock_guard lock(leases_mutex_);
    kept = leases_[key];
  }
  const bool idle = how == Renewal::kGiveBack || now_s - kept.wanted_s > kIdle_s;
  const NanoUsd want = idle ? 0 : std::clamp<NanoUsd>(kept.granted - used, 0, kept.budget / kSlicesOfBudget);
  const bool changed = used != kept.told || used + want != kept.granted;
  if (how != Renewal::kAll && !changed && (idle || now_s - kept.renewed_s < kRenewUnchanged_s)) return true;
  const auto granted = lease(key, kept.budget, used, want);
  if (!granted) return false;
  const std::lock_guard lock(leases_mutex_);
  Lease& now = leases_[key];
  now.granted = *granted;
  now.told = used;
  now.renewed_s = now_s;
  now.ours_until_s = now_s + kOurs_s;
  return true;
}

}  // namespace retort::sharing
