// A JSON document rendered as one self-contained HTML page: no network, no script, plots as inline SVG, readable on a
// phone, on paper, in light and dark, and without seeing colours.
//
// The grammar of documents is docs/formats/report.md. Every string of the document is data: it is escaped where it
// stands, and control characters are made visible, so that hostile text in an answer stays text. Pure; any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/json_fwd.h"

namespace retort::report {

// Errors (kCaller): a member that is missing or of the wrong type, an unknown block or version; the block is named by
// its place ("section 3, block 2 (line_chart)").
Result<std::string> render_html(const Json& document);

}  // namespace retort::report
