// The frame around the verbs: finds the verb, parses its flags, runs its action, and turns errors into sentences and
// exit codes. Used by all programs; `retort` becomes `retort-torch` when a verb needs libtorch.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "frame/verb.h"

namespace retort::app {

using Registration = void (*)(VerbSetup&);

struct Verb {
  std::string_view name;
  std::string_view summary;   // a line for `retort help`
  bool needs_torch = false;   // lives in retort-torch
  Registration registration;  // null: not in this program
};

struct Program {
  std::string_view name;
  std::string_view summary;     // a line, after name and version
  std::string_view start_with;  // the last line of `help`
  std::span<const Verb> verbs;  // in the order of `help`
};

// What this program is: each defines it in its verbs.cc, the one place that names all its verbs.
const Program& program();

const Verb* find_verb(std::string_view name);

// Runs `arguments` (without the program's name) and returns the exit code. Sentences about errors go to `errors`.
int run_program(std::span<const std::string> arguments, Context& context, std::ostream& errors);

// True when this program doesn't have the verb and its companion retort-torch does.
bool belongs_to_companion(std::span<const std::string> arguments);

// What `retort help` prints.
std::string verb_list();

// The help page of one verb. Error: no such verb, with the nearest one.
Result<std::string> verb_help(const std::string& name);

}  // namespace retort::app
