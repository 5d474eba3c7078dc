// The recipe's `export.…` keys.
#pragma once

#include <string>

#include "recipe/option_set.h"

namespace retort::exporter {

struct ExportOptions {
  // The type of the quantised file, beside F16 which is always written.
  std::string quantize = "Q8_0";
  bool huggingface = false;  // also a Hugging Face folder of the FP32 masters
};

const recipe::OptionSet<ExportOptions>& export_option_set();

}  // namespace retort::exporter
