// Starts this program several times on this machine, as ranks that train together: what `--ranks N` does.
#pragma once

#include <span>
#include <string>

#include "retort/verb.h"

namespace retort::app {

// Runs `arguments` (verb first) as `count` processes with the variables of torchrun, and waits for all of them; a stop
// is passed on. They write to this process's standard output and error. Errors: those of the ranks, which have said
// more themselves; a rank that was killed, by its number.
Result<void> start_ranks(int count, std::span<const std::string> arguments, const Context& context);

}  // namespace retort::app
