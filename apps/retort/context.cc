#include <iostream>
#include <iterator>

#include "catalogue/catalogue.h"
#include "retort/verb.h"

namespace retort::app {

void Context::emit(const Json& document) const { out << canonical_json(document) << '\n' << std::flush; }

Result<std::filesystem::path> Context::model(const std::string& path_or_name) const {
  return catalogue::find_model(path_or_name, cache_folder);
}

Result<std::string> Context::read_input() const {
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad()) return world_error("Standard input could not be read to its end.");
  return bytes;
}

}  // namespace retort::app
