// How a training program should ask the system for memory, and how much it had of it. Process-wide.
#pragma once

#include <cstdint>

namespace retort::train {

// Tells the C library to keep freed memory for the next request instead of giving it back: activations and gradients of
// a step are large, and fetching their pages anew each time costs up to a third of the time (page faults). Does nothing
// where the C library isn't glibc. Has oneDNN forget the products of other shapes soon, unless the environment says
// otherwise (ONEDNN_PRIMITIVE_CACHE_CAPACITY). For programs, at their start.
void keep_freed_memory();
// Gives back what was freed, between two pieces of work that have little in common.
void release_memory();

// The most memory this process had in use (resident pages, mapped files among them) since the last reset; since its
// start where the system can't forget.
std::int64_t peak_memory_bytes();
void reset_peak_memory();

}  // namespace retort::train
