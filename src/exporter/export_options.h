// The recipe's `export.…` keys.
#pragma once

#include <string>

#include "recipe/option_set.h"

namespace retort::exporter {

struct ExportOptions {
  // The type of the quantised file, beside F16 which is always written.
  std::string quantize = "Q8_0";
};

const recipe::OptionSet<ExportOptions>& export_option_set();

}  // namespace retort::exporter
