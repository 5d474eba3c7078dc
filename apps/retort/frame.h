// The frame around the verbs: finds the verb, parses its flags, runs its action, and turns errors into sentences and
// exit codes. Used by both programs (retort and retort-torch); the first becomes the second when a verb needs libtorch.
#pragma once

#include <span>
#include <string>

#include "retort/verb.h"

namespace retort::app {

// Runs `arguments` (without the program's name) and returns the exit code. Sentences about errors go to `errors`.
int run_program(std::span<const std::string> arguments, Context& context, std::ostream& errors);

// True when this program doesn't have the verb and its companion retort-torch does.
bool belongs_to_companion(std::span<const std::string> arguments);

// What `retort help` prints.
std::string verb_list();

// The help page of one verb. Error: no such verb, with the nearest one.
Result<std::string> verb_help(const std::string& name);

}  // namespace retort::app
