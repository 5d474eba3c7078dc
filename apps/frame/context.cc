#include <iostream>
#include <iterator>

#include "frame/verb.h"

namespace retort::app {

void Context::emit(const Json& document) const { out << canonical_json(document) << '\n' << std::flush; }

Result<std::string> Context::read_input() const {
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) return world_error("Standard input could not be read to its end.");
  return bytes;
}

}  // namespace retort::app
