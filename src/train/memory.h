// How a training program should ask the system for memory. Process-wide: for programs, at their start.
#pragma once

namespace retort::train {

// Tells the C library to keep freed memory for the next request instead of giving it back: activations and gradients of
// a step are large, and fetching their pages anew each time costs up to a third of the time (page faults). Does nothing
// where the C library isn't glibc.
void keep_freed_memory();

}  // namespace retort::train
