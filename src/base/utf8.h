// Bytes that may be no UTF-8, made into text. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace retort {

// What is no UTF-8 becomes U+FFFD, as in JSON that is written (base/json.h); valid text stays as it is.
std::string repaired_utf8(std::string_view text);

}  // namespace retort
