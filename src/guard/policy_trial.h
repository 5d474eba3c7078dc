// A policy tried on recorded exchanges: what would change, and what a harvester could still take.
//
// Exchanges are lines as `retort-guard export` writes them, in order of time. Each is decided as if it came again: by
// the tier of its account, what is exposed, and the limits of a book that begins empty. Steps and networks are left
// out: they are of the moment. One trial, one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/request_facts.h"
#include "base/json.h"
#include "guard/rules.h"
#include "policy/decide.h"
#include "policy/limits.h"

namespace retort::guard {

// What one account can take in a day, or took. Nothing: there is no bound.
struct Harvest {
  std::optional<double> tokens;            // of answers
  std::optional<double> reasoning_tokens;  // readable ones
  std::optional<double> logprobs;          // single values
};
// The most that a tier's policy lets one account take in a day, whatever it asks.
Harvest most_in_a_day(const policy::TierPolicy& tier, const std::map<std::string, policy::Price>& prices);

class PolicyTrial {
 public:
  // `tiers`: account -> tier; accounts that aren't there have `other_tier`. `before`: the policy to compare with; null:
  // none.
  PolicyTrial(std::shared_ptr<const Rules> rules, std::shared_ptr<const Rules> before,
              std::map<std::string, std::string> tiers, std::string other_tier);

  // Error (kCaller): not an exchange, with what is wrong.
  Result<void> take(std::string_view line);

  // {"exchanges","unchanged","changed","refused","by_rule":{…},"withheld":{…},"examples":[…],
  //  "tiers":[{"tier","most_in_a_day":{"before":{…},"after":{…}},"recorded":{"before":{…},"after":{…}}}]}
  Json result() const;

 private:
  struct Taken {
    double tokens = 0, reasoning_tokens = 0, logprobs = 0;
    void add(const Taken& other);
  };
  struct Tier {
    std::map<std::pair<std::string, std::int64_t>, Taken> before, after;  // by account and UTC day
  };
  void count(const std::string& outcome, const std::string& id, const std::string& account, const std::string& tier,
             const policy::Decision& decision);

  std::shared_ptr<const Rules> rules_, before_;
  std::map<std::string, std::string> account_tiers_;
  std::string other_tier_;
  api::RequestReader reader_;
  policy::LimitBook limits_;
  std::map<std::string, Tier> tiers_;
  std::map<std::string, std::int64_t> outcomes_, by_rule_, withheld_;
  Json examples_ = Json::array();
  std::int64_t exchanges_ = 0;
};

}  // namespace retort::guard
