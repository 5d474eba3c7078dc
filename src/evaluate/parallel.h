// Rows shared out over threads; private to evaluate. `work(i)` for i in [0, count), any order, must not throw.
#pragma once

#include <cstddef>
#include <functional>

namespace retort::evaluate {

// threads 0: as many as the machine has.
void for_each_row(std::size_t count, int threads, const std::function<void(std::size_t)>& work);

}  // namespace retort::evaluate
