// A form with files (multipart/form-data, RFC 7578), read so that no two readers can take it for two things.
//
// Refused: what stands before the first boundary or after the last, a boundary anywhere else (also behind a bare line
// feed), a part without one name, a name twice, encodings of parts. Views into the body; pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace retort::api {

struct FormPart {
  std::string name;
  bool file = false;         // it has a filename
  std::string_view content;  // within the body
};

// `content_type`: of the request. Error (kCaller): a sentence for the client.
Result<std::vector<FormPart>> read_form(std::string_view content_type, std::string_view body);

}  // namespace retort::api
