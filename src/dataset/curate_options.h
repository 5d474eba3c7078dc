// The options of curation (recipe section `curate`), each declared once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "recipe/option_set.h"

namespace retort::dataset {

struct CurateOptions {
  // Length of the answer in tokens, its end token included.
  std::int64_t min_tokens = 4;
  std::optional<std::int64_t> max_tokens;
  // Answers cut at the token limit are kept by default: they are as good for distillation as whole ones.
  bool drop_truncated = false;
  // Loops (exchange/repetition.h): a stretch that repeats itself.
  bool drop_repetition = true;
  std::int64_t loop_tokens = 24;
  double loop_repeats = 3;
  // Share of the 4-grams of a text that occurred in it before.
  double max_repeated_share = 0.7;
  // "normalised": also when only case, spacing or punctuation differ; "exact"; "none".
  std::string deduplicate = "normalised";
};

const recipe::OptionSet<CurateOptions>& curate_option_set();

}  // namespace retort::dataset
