#include "model/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>

// GNU OpenMP's run time, which libtorch's CPU library is linked with: what a compiler makes of `#pragma omp parallel`.
extern "C" {
void GOMP_parallel(void (*function)(void*), void* data, unsigned threads, unsigned flags);
int omp_get_thread_num();
int omp_get_num_threads();
int omp_in_parallel();
}

#if defined(__SANITIZE_THREAD__)
#define RETORT_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RETORT_THREAD_SANITIZER
#endif
#endif
#ifdef RETORT_THREAD_SANITIZER
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace retort::model {
namespace {

// What one thread wrote before passed(at) another sees after taken(at): so it is, by that run time's barriers, of which
// the thread sanitizer doesn't know.
void passed([[maybe_unused]] void* at) {
#ifdef RETORT_THREAD_SANITIZER
  __tsan_release(at);
#endif
}
void taken([[maybe_unused]] void* at) {
#ifdef RETORT_THREAD_SANITIZER
  __tsan_acquire(at);
#endif
}

struct Task {
  std::int64_t begin, end, grain;
  const void* body;
  parallel::Call call;
  std::atomic_flag failed;
  std::exception_ptr thrown;
  char started = 0, done = 0;  // places to pass at
};

void work(void* data) {
  auto& task = *static_cast<Task*>(data);
  taken(&task.started);
  const std::int64_t count = task.end - task.begin;
  const std::int64_t most = (count + task.grain - 1) / task.grain;
  const std::int64_t threads = std::min<std::int64_t>(omp_get_num_threads(), most);
  const std::int64_t part = (count + threads - 1) / threads;
  const std::int64_t first = task.begin + omp_get_thread_num() * part;
  if (first < task.end) {
    try {
      task.call(task.body, first, std::min(task.end, first + part));
    } catch (...) {
      if (!task.failed.test_and_set()) task.thrown = std::current_exception();
    }
  }
  passed(&task.done);
}

}  // namespace

void parallel::run(std::int64_t begin, std::int64_t end, std::int64_t grain, const void* body, Call call) {
  if (begin >= end) return;
  grain = std::max<std::int64_t>(grain, 1);
  if (end - begin <= grain || at::get_num_threads() == 1 || omp_in_parallel() != 0) {
    call(body, begin, end);
    return;
  }
  Task task{begin, end, grain, body, call, {}, {}, 0, 0};
  passed(&task.started);
  GOMP_parallel(&work, &task, 0, 0);
  taken(&task.done);
  if (task.thrown) std::rethrow_exception(task.thrown);
}

int parallel_thread() { return omp_get_thread_num(); }

}  // namespace retort::model
