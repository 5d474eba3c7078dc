// The recipe's `evaluate.…` keys: what is measured on the shipped files.
#pragma once

#include <cstdint>
#include <string>

#include "recipe/option_set.h"

namespace retort::evaluate {

struct EvaluateOptions {
  // Exchanges set aside and never trained on: what quality is measured on. At least 128 for a figure worth quoting.
  std::int64_t held_out = 128;
  // A text file of the user's whose perplexity is measured for every model, so that forgetting is visible. Empty: none.
  std::string text;
  // Answers each model writes itself for length, ends and repetition; 0: none.
  std::int64_t answers = 32;
  // Answers shown side by side in the report.
  std::int64_t shown_answers = 6;
  // Held-out answers shown token by token in the report.
  std::int64_t shown_exchanges = 4;
  // Score the teacher merely quantised to about the student's size as well.
  bool rival = true;
  // Measure prefill and decode speed in llama.cpp: as shipped, and student and teacher at equal type.
  bool speed = true;
  // Draws of the bootstrap over exchanges.
  std::int64_t resamples = 2000;
  std::int64_t seed = 1;
};

const recipe::OptionSet<EvaluateOptions>& evaluate_option_set();

}  // namespace retort::evaluate
