// The text of the Apache License 2.0, to go with students of teachers under it. Made at build time from the
// repository's own LICENSE. Immutable; any thread.
#pragma once

#include <string_view>

namespace retort::exporter {

extern const std::string_view kApacheLicence;

}  // namespace retort::exporter
