#include "evaluate/evaluate_options.h"

namespace retort::evaluate {

const recipe::OptionSet<EvaluateOptions>& evaluate_option_set() {
  static const auto set =
      recipe::OptionSet<EvaluateOptions>("evaluate", "What is measured on the files that are shipped.")
          .add("held_out", &EvaluateOptions::held_out,
               {.unit = "exchanges",
                .help =
                    "Exchanges set aside and never trained on: what quality is measured on. Intervals narrow with the "
                    "square root of this; below 128 they are wide.",
                .minimum = 1,
                .maximum = 100000})
          .add("text", &EvaluateOptions::text,
               {.help = "A text file whose perplexity is measured for teacher and student, before and after training, "
                        "so that forgetting is visible. Empty: none."})
          .add("answers", &EvaluateOptions::answers,
               {.unit = "answers",
                .help =
                    "Answers that each model writes to held-out prompts, for their length, how many end by themselves "
                    "and how many fall into a loop. 0: none. Before training the student writes at most 16 of 128 "
                    "tokens.",
                .minimum = 0,
                .maximum = 10000})
          .add("shown_answers", &EvaluateOptions::shown_answers,
               {.unit = "answers",
                .help = "How many of these answers the report shows side by side.",
                .minimum = 0,
                .maximum = 100})
          .add("shown_exchanges", &EvaluateOptions::shown_exchanges,
               {.unit = "exchanges",
                .help = "How many held-out answers the report shows token by token.",
                .minimum = 0,
                .maximum = 100})
          .add("rival", &EvaluateOptions::rival,
               {.help = "Whether the teacher merely quantised to about the student's size is measured too."})
          .add("speed", &EvaluateOptions::speed,
               {.help =
                    "Whether prefill and decode speed are measured in llama.cpp, at equal type (F16 and Q8_0) and as "
                    "shipped."})
          .add("resamples", &EvaluateOptions::resamples,
               {.help = "Draws of the bootstrap over exchanges, for the 95 % intervals.",
                .minimum = 100,
                .maximum = 1000000})
          .add("seed", &EvaluateOptions::seed,
               {.help = "Decides the draws of the bootstrap and of the answers.", .minimum = 0});
  return set;
}

}  // namespace retort::evaluate
