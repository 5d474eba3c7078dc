// The grammar of documents as data (docs/formats/report.md), and the check against it; private to report.
#pragma once

#include <string>

#include "base/error.h"
#include "base/json.h"

namespace retort::report {

inline constexpr int kDocumentVersion = 1;

// Document, sections and every block. The error names the place, the member, what was expected and what was found.
Result<void> check_document(const Json& document);

}  // namespace retort::report
