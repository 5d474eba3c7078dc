// One account's limits over several guards, by way of Redis. docs/GUARD-PLANES.md says what it promises.
//
// Rates: every guard decides by its own buckets; ten times a second each tells what it let pass and takes from its
// buckets what the others did. Without Redis each goes on alone.
//
// Money: a guard commits only what Redis has leased to it. A lease is one field of the account's hash of the day, under
// the guard's id: "granted used expiry", absolute numbers, so that telling it twice changes nothing. One Lua script
// renews it, settles and asks for more: the sum of what live leases are granted and ended ones used never exceeds the
// budget. A guard that dies keeps its lease for kLease_ms, and from then on only what it last said it used (settled and
// reserved). A guard that can't reach Redis spends what it was granted while that is its own, and then nothing more.
//
// allowance() is called by any thread with the account locked, and may wait for Redis: 0.15 s at most, and once
// an outage. The destructor gives back what isn't used. The book must outlive this.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "policy/limits.h"
#include "sharing/redis_link.h"

namespace retort::sharing {

class SharedLimits final : public policy::BudgetShare {
 public:
  static constexpr std::int64_t kLease_ms = 60'000;

  // `guard_id`: differs between guards; stays over a restart where the book's money does. `log`: a sentence when Redis
  // goes or comes back, from any thread.
  SharedLimits(RedisAddress redis, std::string guard_id, policy::LimitBook& book, const Clock& clock,
               std::function<void(const std::string&)> log);
  ~SharedLimits() override;
  SharedLimits(const SharedLimits&) = delete;
  SharedLimits& operator=(const SharedLimits&) = delete;

  std::optional<policy::NanoUsd> allowance(const std::string& account, std::int64_t day, policy::NanoUsd budget,
                                           policy::NanoUsd used, policy::NanoUsd wanted) override;

  struct Standing {
    bool connected = true;        // Redis answered when it was asked last
    std::size_t leases = 0;       // accounts' days that money was asked for
    policy::NanoUsd granted = 0;  // to this guard, over all of them, as far as the grants are still its own
  };
  Standing standing() const;

 private:
  struct Lease {
    policy::NanoUsd granted = 0;
    policy::NanoUsd told = 0;  // what was last said to be used
    policy::NanoUsd budget = 0;
    double ours_until_s = 0;
    double renewed_s = 0;
    double wanted_s = 0;    // when it was last needed
    double short_s = -1e9;  // when Redis last granted less than was needed
  };
  using Key = std::pair<std::string, std::int64_t>;  // account and day

  void run();
  void share_rates();
  enum class Renewal : std::uint8_t { kChanged, kAll, kGiveBack };
  void renew(Renewal how);
  bool money_is_back();
  bool renew_one(const Key& key, policy::NanoUsd used, Renewal how);
  Result<policy::NanoUsd> lease(const Key& key, policy::NanoUsd budget, policy::NanoUsd used, policy::NanoUsd want);
  void tell(bool there, const std::string& sentence);

  const std::string guard_id_;
  policy::LimitBook& book_;
  const Clock& clock_;
  const std::function<void(const std::string&)> log_;

  std::mutex money_mutex_;  // of the link for money
  RedisLink money_;
  RedisLink rates_;  // the thread's own
  mutable std::mutex leases_mutex_;
  std::map<Key, Lease> leases_;
  struct Seen {
    std::int64_t minute = 0;
    std::int64_t requests = 0;
    std::int64_t tokens = 0;
  };
  std::map<std::string, Seen> seen_;  // what all guards together had used by the last exchange; the thread's own

  mutable std::mutex telling_;
  bool there_ = true;
  // Set by whoever finds Redis gone; from then on only the thread asks, until it is back.
  std::atomic<bool> money_gone_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace retort::sharing
