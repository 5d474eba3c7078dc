// The look of the page, in one place; private to report.
#pragma once

#include <string_view>

namespace retort::report {

extern const std::string_view kStyle;   // CSS
extern const std::string_view kEmblem;  // inline SVG: a retort over its receiver

}  // namespace retort::report
