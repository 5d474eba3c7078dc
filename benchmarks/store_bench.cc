// A store of so many exchanges of 1 KB: written in groups with their slots, read back, and resumed; seconds and
// resident memory as JSON. Memory must not grow with the number.
//
//   store_bench EXCHANGES STORE.sqlite
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "store/exchange_store.h"

namespace {

double resident_mb() {
  std::ifstream statm("/proc/self/statm");
  long total = 0;
  long resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

retort::Exchange exchange_of(std::int64_t number) {
  using namespace retort;
  Exchange exchange;
  exchange.prompt = {{{Role::kUser, "question " + std::to_string(number)}}};
  exchange.completion = {std::string(600, 'a') + std::to_string(number), FinishReason::kEnd};
  exchange.provenance.prompt_source = "prompts.jsonl";
  exchange.provenance.code_version = "bench";
  exchange.provenance.created_at = "2026-01-01T00:00:00Z";
  exchange.provenance.served = ServedBy{"openai.chat", "http://127.0.0.1:1/v1", "m", "m", "chatcmpl-1", 20, 200, 0};
  return exchange;
}

retort::Result<void> measure(std::int64_t count, const std::string& path) {
  using namespace retort;
  constexpr std::int64_t kGroup = 64;
  const SystemClock clock;
  double resident_after_tenth = 0;
  double started_s = clock.monotonic_s();
  {
    RETORT_ASSIGN(store::ExchangeStore store, store::ExchangeStore::open(path));
    for (std::int64_t begin = 0; begin < count; begin += kGroup) {
      std::vector<store::NewExchange> group;
      for (std::int64_t i = begin; i < std::min(count, begin + kGroup); ++i) {
        group.push_back({exchange_of(i), store::Slot{"job", i}});
      }
      const auto added = store.add(group);
      if (!added) return Failure(added.error());
      if (begin <= count / 10) resident_after_tenth = resident_mb();
    }
    std::printf("{\"written\": {\"seconds\": %.1f, \"resident_mb_after_a_tenth\": %.1f, \"resident_mb\": %.1f},\n",
                clock.monotonic_s() - started_s, resident_after_tenth, resident_mb());
  }
  started_s = clock.monotonic_s();
  RETORT_ASSIGN(const store::ExchangeStore store, store::ExchangeStore::open_read_only(path));
  std::vector<bool> done(static_cast<std::size_t>(count), false);
  RETORT_TRY(store.for_each_slot("job", [&](const store::SlotEntry& entry) -> Result<void> {
    done[static_cast<std::size_t>(entry.slot)] = true;
    return {};
  }));
  std::printf(" \"resumed\": {\"seconds\": %.2f, \"resident_mb\": %.1f},\n", clock.monotonic_s() - started_s,
              resident_mb());
  started_s = clock.monotonic_s();
  std::int64_t read = 0;
  RETORT_TRY(store.for_each([&](const Digest&, const Exchange&) -> Result<void> {
    if (++read == count / 10) resident_after_tenth = resident_mb();
    return {};
  }));
  std::printf(
      " \"read\": {\"exchanges\": %lld, \"seconds\": %.1f, \"resident_mb_after_a_tenth\": %.1f, \"resident_mb\": "
      "%.1f}}\n",
      static_cast<long long>(read), clock.monotonic_s() - started_s, resident_after_tenth, resident_mb());
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto done = measure(std::stoll(argv[1]), argv[2]);
  if (!done) std::cerr << done.error().message << '\n';
  return done ? 0 : 1;
}
