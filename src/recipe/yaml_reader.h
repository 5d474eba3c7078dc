// The YAML edge: text to Node, the only file that knows yaml-cpp.
//
// Refuses what a recipe never needs and what could be used to harm: more than 1 MB, more than 20,000 values (aliases
// that multiply), nesting deeper than 32, several documents, the same key twice in a map. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "recipe/node.h"

namespace retort::recipe {

struct YamlFault {
  int line = 0;
  std::string key;       // dotted path, when it is known
  std::string sentence;  // follows the key
};

// The value of the text, or null when it holds none. What can be said about single places is added to `faults` and
// reading goes on. Error (a sentence without the text's name): not YAML at all, or over a limit.
Result<Node> read_yaml(std::string_view text, std::vector<YamlFault>& faults);

}  // namespace retort::recipe
