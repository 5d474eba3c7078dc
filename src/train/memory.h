// What a training program does about memory, and how much it had of it. Process-wide.
//
// Programs that link this get their memory from tcmalloc (cmake/RetortAllocator.cmake): it gives freed memory
// back only slowly, for fetching pages anew costs a training up to a third of its time, and joins it at once, so that
// requests of ever other sizes don't make it grow (docs/decisions/0025). Programs built with sanitizers keep theirs.
#pragma once

#include <cstdint>

namespace retort::train {

// Has oneDNN forget the products of other shapes soon, unless the environment says otherwise
// (ONEDNN_PRIMITIVE_CACHE_CAPACITY). For programs, at their start.
void forget_old_shapes();
// Gives back what was freed, between two pieces of work that have little in common.
void release_memory();

// The most memory this process had in use (resident pages, mapped files among them) since the last reset; since its
// start where the system can't forget.
std::int64_t peak_memory_bytes();
void reset_peak_memory();

}  // namespace retort::train
