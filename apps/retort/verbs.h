// The list of verbs: the one place that names them all.
#pragma once

#include <span>
#include <string_view>

#include "retort/verb.h"

namespace retort::app {

using Registration = void (*)(VerbSetup&);

struct Verb {
  std::string_view name;
  std::string_view summary;   // a line for `retort help`
  bool needs_torch = false;   // lives in retort-torch
  Registration registration;  // null: not in this program
};

// In the order of `retort help`.
std::span<const Verb> verbs();
const Verb* find_verb(std::string_view name);

}  // namespace retort::app
