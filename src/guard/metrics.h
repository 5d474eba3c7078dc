// What the guard counts, in Prometheus' text form. Any thread; counting is an atomic addition.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace retort::guard {

class Metrics {
 public:
  using Counter = std::atomic<std::uint64_t>;

  Counter input_tokens = 0;
  Counter output_tokens = 0;
  Counter reasoning_tokens = 0;
  Counter upstream_failures = 0;
  Counter client_aborts = 0;
  Counter handed_over = 0;
  Counter auth_request_questions = 0;
  Counter ext_authz_questions = 0;
  Counter evidence_records = 0;
  Counter evidence_failures = 0;
  Counter sealed_blobs = 0;
  Counter refused_blobs = 0;
  Counter reloads = 0;
  Counter failed_reloads = 0;
  Counter overshoot_nano_usd = 0;
  Counter settled_batches = 0;
  Counter batches_nano_usd = 0;  // that those were billed
  std::atomic<std::int64_t> under_way = 0;
  std::atomic<std::int64_t> streams = 0;

  // An answered request, by the status its caller saw.
  void answered(int status);
  // A refusal of the guard's own, by the rule that decided.
  void refused(std::string_view rule);
  // Microseconds that the guard itself took before the request went on.
  void admitted_after(double us);

  std::string prometheus() const;

 private:
  static constexpr std::array<double, 10> kBuckets_us = {10, 20, 50, 100, 200, 500, 1000, 5000, 20'000, 100'000};
  std::array<Counter, 600> by_status_{};
  std::array<Counter, kBuckets_us.size() + 1> admission_{};
  std::atomic<double> admission_sum_us_ = 0;
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t, std::less<>> by_rule_;
};

}  // namespace retort::guard
