// Work on libtorch's own threads, so that they are not joined by others.
//
// Not at::parallel_for(): that is a template whose threads come from the compiler's OpenMP, and without its flag (which
// Clang and GCC give different run times) it silently computes on the calling thread alone. No libtorch in this header.
#pragma once

#include <cstdint>

namespace retort::model {

namespace parallel {
using Call = void (*)(const void* body, std::int64_t begin, std::int64_t end);
void run(std::int64_t begin, std::int64_t end, std::int64_t grain, const void* body, Call call);
}  // namespace parallel

// Calls body(first, last) for parts of [begin, end) that cover it once, on at most compute_threads() threads
// (model/compute_probe.h), in no more parts than have `grain` each, the last but for its rest; returns when all are
// done. On the calling thread alone where one part would do, and inside of another such call. What a body throws first
// is thrown here.
template <class Body>
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain, const Body& body) {
  parallel::run(begin, end, grain, &body, [](const void* of, std::int64_t first, std::int64_t last) {
    (*static_cast<const Body*>(of))(first, last);
  });
}

// Of the calling thread within such a call, from 0; 0 outside.
int parallel_thread();

}  // namespace retort::model
