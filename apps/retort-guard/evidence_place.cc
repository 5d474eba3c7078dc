#include "retort-guard/evidence_place.h"

#include <vector>

#include "base/files.h"
#include "recipe/yaml_reader.h"

namespace retort::app {

Result<std::filesystem::path> evidence_folder(const std::string& given) {
  const std::filesystem::path path = given;
  std::error_code none;
  if (std::filesystem::is_directory(path, none)) return path;
  if (path.extension() != ".yaml" && path.extension() != ".yml") {
    return caller_error("'" + given +
                        "' is no folder; expected the folder of evidence, or the guard.yaml that names it.");
  }
  RETORT_ASSIGN(const std::string text, read_file(path));
  std::vector<recipe::YamlFault> faults;
  const Result<recipe::Node> read = recipe::read_yaml(text, faults);
  if (!read) return with_context(read.error(), "'" + given + "'");
  const recipe::Node* const section = read->find("evidence");
  const recipe::Node* const folder = section == nullptr ? nullptr : section->find("path");
  if (folder == nullptr || folder->text.empty()) {
    return caller_error("'" + given + "' keeps no evidence: it has no key evidence.path. Give the folder itself.");
  }
  return path.parent_path() / folder->text;
}

}  // namespace retort::app
