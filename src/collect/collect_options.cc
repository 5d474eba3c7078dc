#include "collect/collect_options.h"

namespace retort::collect {

SamplingOptions answer_sampling(const CollectOptions& options) {
  SamplingOptions sampling;
  sampling.temperature = options.temperature;
  sampling.top_p = options.top_p;
  sampling.top_k = static_cast<std::int32_t>(options.top_k);
  sampling.min_p = options.min_p;
  sampling.max_tokens = static_cast<std::int32_t>(options.max_tokens);
  return sampling;
}

const recipe::OptionSet<CollectOptions>& collect_option_set() {
  static const auto set =
      recipe::OptionSet<CollectOptions>("collect", "What the teacher is asked for.")
          .add(
              "prompts", &CollectOptions::prompts,
              {.help =
                   "Where prompts come from. `self_generated`: the teacher writes the user's turn itself, from its own "
                   "chat template (Magpie, arXiv 2406.08464), so that no data is needed. A file: JSON lines with "
                   "`messages` or `prompt`, or plain lines; rows that end with an assistant's turn are used as they "
                   "are.",
               .choices = {"self_generated"},
               .formats = {"auto", "jsonl", "lines"}})
          .add("count", &CollectOptions::count,
               {.unit = "exchanges",
                .help = "How many exchanges to collect. 0: every row of the prompt file.",
                .minimum = 0,
                .maximum = 100'000'000})
          .add("max_tokens", &CollectOptions::max_tokens,
               {.unit = "tokens",
                .help =
                    "An answer is cut here. A cut answer still teaches: its tokens are kept, without an invented end.",
                .minimum = 1,
                .maximum = 1'000'000})
          .add("max_user_tokens", &CollectOptions::max_user_tokens,
               {.unit = "tokens",
                .help = "A self-generated user's turn that doesn't end within so many tokens is drawn again.",
                .minimum = 1,
                .maximum = 1'000'000})
          .add("temperature", &CollectOptions::temperature,
               {.help = "Divides the logits before a token is drawn. 0: always the most likely token.",
                .minimum = 0,
                .maximum = 10})
          .add("top_p", &CollectOptions::top_p,
               {.help = "Draws from the fewest tokens that together have this probability. 1: from all.",
                .minimum = 0,
                .maximum = 1,
                .above_minimum = true})
          .add("top_k", &CollectOptions::top_k,
               {.unit = "tokens",
                .help = "Draws from that many most likely tokens. 0: no such limit.",
                .minimum = 0,
                .maximum = 1'000'000})
          .add("min_p", &CollectOptions::min_p,
               {.help = "Leaves out tokens less likely than this share of the most likely one's probability. 0: none.",
                .minimum = 0,
                .maximum = 0.999})
          .add("seed", &CollectOptions::seed,
               {.help = "The same seed asks the same things and splits them the same way."})
          .add("system", &CollectOptions::system,
               {.help =
                    "System message for self-generated prompts and for rows without one. Empty: what the chat template "
                    "itself adds."})
          .add("attempts", &CollectOptions::attempts,
               {.unit = "draws",
                .help =
                    "How often an empty, endless or broken self-generated user's turn is drawn before it is given up.",
                .minimum = 1,
                .maximum = 100})
          .check([](const CollectOptions& options, recipe::Problems& problems) {
            if (options.self_generated() && options.count == 0) {
              problems.add("collect.count",
                           "is 0; expected how many exchanges the teacher shall write itself, because "
                           "collect.prompts is self_generated");
            }
            if (options.self_generated() && options.temperature == 0) {
              problems.add("collect.temperature",
                           "is 0, which makes the teacher write the same prompt every time; expected more than 0 with "
                           "self_generated prompts");
            }
          });
  return set;
}

const recipe::OptionSet<TermsOptions>& terms_option_set() {
  static const auto set =
      recipe::OptionSet<TermsOptions>("terms", "Who answers for the use of a teacher whose licence Retort can't judge.")
          .add("accepted_by", &TermsOptions::accepted_by,
               {.help =
                    "The name of the person who read the teacher's licence and takes responsibility for this use. "
                    "Recorded in every exchange and in the exported model. Needed when the file names no licence, one "
                    "that Retort doesn't know, or one that permits this use only in part."})
          .add(
              "accepted_licence", &TermsOptions::accepted_licence,
              {.help = "The licence that person read, as the file names it (\"apache-2.0\"), or its name when the file "
                       "doesn't say."});
  return set;
}

}  // namespace retort::collect
