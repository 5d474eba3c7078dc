#include "base/utf8.h"

#include "base/json.h"
#include "base/text.h"

namespace retort {

std::string repaired_utf8(std::string_view text) {
  if (is_valid_utf8(text)) return std::string(text);
  const auto repaired = parse_json(canonical_json(Json(std::string(text))), "text");
  return repaired && repaired->is_string() ? repaired->get<std::string>() : std::string();
}

}  // namespace retort
