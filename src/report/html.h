// Text and numbers as they stand in the page; private to report. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace retort::report {

// Safe as element text and as a quoted attribute's value. Control characters become their Unicode pictures (U+2400…),
// but for newline and tab; characters that turn the direction of writing are spelt out (⟦U+202E⟧); bytes that aren't
// UTF-8 become U+FFFD.
std::string escape(std::string_view text);

// As escape(), with newline and tab made visible too ("↵", "⇥"), for attributes and single tokens.
std::string escape_visible(std::string_view text);

// For people: about three significant digits, thousands separated, never "-0"; "1.2M" from a million on.
std::string number_text(double value);
// A coordinate: two decimals at most, no exponent.
std::string coordinate(double value);

// A member as text, or "" when it is absent or null.
std::string text_of(const Json& object, const char* key);
// A member as bool or number; the fallback when it is absent or null.
bool flag_of(const Json& object, const char* key);
double number_of(const Json& object, const char* key, double fallback);
// text_of(), escaped.
std::string html_of(const Json& object, const char* key);

}  // namespace retort::report
