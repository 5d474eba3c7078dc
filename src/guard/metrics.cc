#include "guard/metrics.h"

#include <sstream>

namespace retort::guard {

void Metrics::answered(int status) {
  if (status > 0 && static_cast<std::size_t>(status) < by_status_.size()) {
    by_status_[static_cast<std::size_t>(status)].fetch_add(1, std::memory_order_relaxed);
  }
}

void Metrics::refused(std::string_view rule) {
  const std::lock_guard lock(mutex_);
  const auto found = by_rule_.find(rule);
  if (found != by_rule_.end()) {
    ++found->second;
  } else {
    by_rule_.emplace(rule, 1);
  }
}

void Metrics::admitted_after(double us) {
  std::size_t bucket = 0;
  while (bucket < kBuckets_us.size() && us > kBuckets_us[bucket]) ++bucket;
  admission_[bucket].fetch_add(1, std::memory_order_relaxed);
  admission_sum_us_.fetch_add(us, std::memory_order_relaxed);
}

std::string Metrics::prometheus() const {
  std::ostringstream text;
  const auto head = [&](const char* name, const char* type, const char* help) {
    text << "# HELP retort_guard_" << name << ' ' << help << "\n# TYPE retort_guard_" << name << ' ' << type << '\n';
  };
  const auto one = [&](const char* name, const char* type, const char* help, auto value) {
    head(name, type, help);
    text << "retort_guard_" << name << ' ' << value << '\n';
  };
  head("answers_total", "counter", "Requests answered, by the status their caller saw.");
  for (std::size_t status = 0; status < by_status_.size(); ++status) {
    const std::uint64_t count = by_status_[status].load();
    if (count > 0) text << "retort_guard_answers_total{status=\"" << status << "\"} " << count << '\n';
  }
  head("refusals_total", "counter", "Requests the guard refused, by the rule that decided.");
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [rule, count] : by_rule_) {
      text << "retort_guard_refusals_total{rule=\"" << rule << "\"} " << count << '\n';
    }
  }
  head("admission_seconds", "histogram", "What the guard took before a request went on.");
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < admission_.size(); ++i) {
    sum += admission_[i].load();
    text << "retort_guard_admission_seconds_bucket{le=\"";
    if (i < kBuckets_us.size()) {
      text << kBuckets_us[i] / 1e6;
    } else {
      text << "+Inf";
    }
    text << "\"} " << sum << '\n';
  }
  text << "retort_guard_admission_seconds_sum " << admission_sum_us_.load() / 1e6
       << "\nretort_guard_admission_seconds_count " << sum << '\n';
  one("under_way", "gauge", "Requests being answered.", under_way.load());
  one("streams", "gauge", "Event streams being sent.", streams.load());
  one("input_tokens_total", "counter", "Tokens of prompts, as upstream counted them.", input_tokens.load());
  one("output_tokens_total", "counter", "Tokens of answers, reasoning included.", output_tokens.load());
  one("reasoning_tokens_total", "counter", "Tokens of reasoning, as far as told.", reasoning_tokens.load());
  one("upstream_failures_total", "counter", "Answers that upstream did not give whole.", upstream_failures.load());
  one("client_aborts_total", "counter", "Answers whose caller left before their end.", client_aborts.load());
  one("handed_over_total", "counter", "Requests let through that another proxy sends on.", handed_over.load());
  head("questions_total", "counter", "Requests that other proxies asked about, by the way they asked.");
  text << "retort_guard_questions_total{way=\"auth_request\"} " << auth_request_questions.load()
       << "\nretort_guard_questions_total{way=\"ext_authz\"} " << ext_authz_questions.load() << '\n';
  one("evidence_records_total", "counter", "Records of evidence written.", evidence_records.load());
  one("evidence_failures_total", "counter", "Records of evidence that could not be written.", evidence_failures.load());
  one("sealed_blobs_total", "counter", "Opaque reasoning sealed.", sealed_blobs.load());
  one("refused_blobs_total", "counter", "Sealed reasoning that came back from where it must not.",
      refused_blobs.load());
  one("reloads_total", "counter", "Configurations taken over while running.", reloads.load());
  one("failed_reloads_total", "counter", "Configurations that could not be taken over.", failed_reloads.load());
  one("overshoot_usd_total", "counter", "What upstream billed above reserved worst cases.",
      static_cast<double>(overshoot_nano_usd.load()) / 1e9);
  one("settled_batches_total", "counter", "Batches whose reservations were settled with what they were billed.",
      settled_batches.load());
  one("batches_usd_total", "counter", "What those were billed.", static_cast<double>(batches_nano_usd.load()) / 1e9);
  return text.str();
}

}  // namespace retort::guard
