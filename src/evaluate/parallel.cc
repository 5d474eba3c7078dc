#include "evaluate/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace retort::evaluate {

void for_each_row(std::size_t count, int threads, const std::function<void(std::size_t)>& work) {
  const std::size_t wanted =
      threads > 0 ? static_cast<std::size_t>(threads) : std::max(1U, std::thread::hardware_concurrency());
  const std::size_t workers = std::min(wanted, count);
  if (workers <= 1) {
    for (std::size_t i = 0; i < count; ++i) work(i);
    return;
  }
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) work(i);
  };
  std::vector<std::jthread> others;
  others.reserve(workers - 1);
  for (std::size_t worker = 1; worker < workers; ++worker) others.emplace_back(run);
  run();
}

}  // namespace retort::evaluate
