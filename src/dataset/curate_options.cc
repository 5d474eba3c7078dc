#include "dataset/curate_options.h"

namespace retort::dataset {

const recipe::OptionSet<CurateOptions>& curate_option_set() {
  static const auto set =
      recipe::OptionSet<CurateOptions>("curate",
                                       "Which exchanges are fit to learn from. What is dropped is counted by "
                                       "reason, and the reason is kept in `curation.json`.")
          .add("min_tokens", &CurateOptions::min_tokens,
               {.unit = "tokens", .help = "Drop answers shorter than this, their end token included.", .minimum = 1})
          .add("max_tokens", &CurateOptions::max_tokens,
               {.unit = "tokens", .help = "Drop answers longer than this. null: no limit.", .minimum = 1})
          .add("drop_truncated", &CurateOptions::drop_truncated,
               {.help = "Drop answers that were cut at the token limit. They are kept by default: every token of the "
                        "teacher's is as good a target, and no end is invented for them."})
          .add("drop_repetition", &CurateOptions::drop_repetition,
               {.help = "Drop exchanges whose answer, or whose self-generated user's turn, fell into a loop."})
          .add("loop_tokens", &CurateOptions::loop_tokens,
               {.unit = "tokens",
                .help = "A loop is a stretch of at least this length that repeats a block of 1 to 64 tokens.",
                .minimum = 2})
          .add("loop_repeats", &CurateOptions::loop_repeats,
               {.help = "A loop holds its block at least this many times.", .minimum = 2})
          .add("max_repeated_share", &CurateOptions::max_repeated_share,
               {.help = "A text is a loop, too, when more than this share of its 4-grams occurred in it before. 1: "
                        "never.",
                .minimum = 0,
                .maximum = 1})
          .add("deduplicate", &CurateOptions::deduplicate,
               {.help = "Of exchanges with the same messages and answer keep the first. normalised: also when only "
                        "case, spacing or the punctuation of sentences differ.",
                .choices = {"normalised", "exact", "none"}})
          .check([](const CurateOptions& options, recipe::Problems& problems) {
            if (options.max_tokens && *options.max_tokens < options.min_tokens) {
              problems.add("curate.max_tokens", "is " + std::to_string(*options.max_tokens) +
                                                    ", less than curate.min_tokens (" +
                                                    std::to_string(options.min_tokens) +
                                                    "); expected at least as many, or nothing would be kept");
            }
          });
  return set;
}

}  // namespace retort::dataset
