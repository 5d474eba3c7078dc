#include "collect/collect_options.h"

namespace retort::collect {

const recipe::MapShape<LimitOptions>& limit_shape() {
  static const auto shape = recipe::MapShape<LimitOptions>()
                                .add("requests_per_minute", &LimitOptions::requests_per_minute, {.minimum = 0})
                                .add("tokens_per_minute", &LimitOptions::tokens_per_minute, {.minimum = 0});
  return shape;
}

const recipe::MapShape<BudgetOptions>& budget_shape() {
  static const auto shape = recipe::MapShape<BudgetOptions>()
                                .add("usd", &BudgetOptions::usd, {.minimum = 0})
                                .add("tokens", &BudgetOptions::tokens, {.minimum = 0})
                                .add("requests", &BudgetOptions::requests, {.minimum = 0});
  return shape;
}

const recipe::MapShape<PriceOptions>& price_shape() {
  static const auto shape = recipe::MapShape<PriceOptions>()
                                .add("input_per_mtok", &PriceOptions::input_per_mtok, {.minimum = 0})
                                .add("output_per_mtok", &PriceOptions::output_per_mtok, {.minimum = 0})
                                .add("batch_discount", &PriceOptions::batch_discount, {.minimum = 0, .maximum = 1});
  return shape;
}

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
          .add("prompts", &CollectOptions::prompts,
               {.help =
                    "Where prompts come from. `self_generated`: the teacher writes the user's turn itself, so that no "
                    "data is needed: from its own chat template (Magpie, arXiv 2406.08464) where it is a file or api "
                    "openai_completions; asked for it in words, by a table of tasks, subjects, writers and forms, "
                    "where it is behind a chat API (docs/decisions/0017). A file "
                    "(docs/formats/prompts.md): JSON rows with `messages`, `prompt` or ShareGPT's `conversations`, a "
                    "column of a CSV or TSV file, or plain lines; rows that end with an assistant's turn are used as "
                    "they are. skip_broken leaves out rows that can't be read, and counts them."})
          .add("personal_data", &CollectOptions::personal_data,
               {.help = "What becomes of e-mail addresses, phone numbers, IP addresses, card and account numbers, "
                        "keys, tokens and passwords in the prompts and answers of a file. mask: each is replaced by a "
                        "word such as [EMAIL]; drop: its row is left out; keep: asked and stored as it stands. All "
                        "are counted.",
                .choices = {"mask", "drop", "keep"}})
          .add("count", &CollectOptions::count,
               {.unit = "exchanges",
                .help = "How many exchanges to collect. 0: every row of the prompt file, as often as "
                        "samples_per_prompt says.",
                .minimum = 0,
                .maximum = 100'000'000})
          .add("max_tokens", &CollectOptions::max_tokens,
               {.unit = "tokens",
                .help =
                    "An answer is cut here. A cut answer still teaches: its tokens are kept, without an invented end.",
                .minimum = 1,
                .maximum = 1'000'000})
          .add(
              "max_user_tokens", &CollectOptions::max_user_tokens,
              {.unit = "tokens",
               .help =
                   "A self-generated user's turn that doesn't end within so many tokens is drawn again. What a teacher "
                   "that reasons writes before it counts too.",
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
          .add("samples_per_prompt", &CollectOptions::samples_per_prompt,
               {.unit = "answers",
                .help = "How many answers to ask for each prompt of a file, each with a seed of its own.",
                .minimum = 1,
                .maximum = 1024})
          .add("mode", &CollectOptions::mode,
               {.help = "Of a served teacher: direct asks for each answer by a request of its own; batch hands many "
                        "requests over at once through the provider's batch API, which answers within a day and for "
                        "less (collect.prices: batch_discount). limits, concurrency and stream don't apply to it.",
                .choices = {"direct", "batch"}})
          .add("batch_requests", &CollectOptions::batch_requests,
               {.unit = "requests",
                .help = "With collect.mode batch: how many requests one batch holds at most. What they and their "
                        "answers say is in memory one batch at a time.",
                .minimum = 1,
                .maximum = 50'000})
          .add("batch_poll_s", &CollectOptions::batch_poll_s,
               {.unit = "seconds",
                .help = "With collect.mode batch: a batch is looked at after 2 seconds, then ever less often, down to "
                        "once in so many.",
                .minimum = 0.05,
                .maximum = 3600})
          .add(
              "concurrency", &CollectOptions::concurrency,
              {.unit = "requests",
               .help = "Of a served teacher: how many requests are in flight at most. How many pay is found by trying.",
               .minimum = 1,
               .maximum = 4096})
          .add("limits", &CollectOptions::limits,
               {.help = "Of a served teacher: how much is asked of it in a minute, over all its endpoints. Limits that "
                        "its answers tell are kept too. Absent: as fast as it answers."})
          .add("budget", &CollectOptions::budget,
               {.help =
                    "A cap in dollars, tokens (input and output) or requests that is never passed: the worst case of "
                    "a request is reserved before it is sent, and the collection stops where the next would not "
                    "fit. Absent: none."})
          .add("prices", &CollectOptions::prices,
               {.help = "Of a served teacher: dollars for a million tokens of input and of output. A cap in dollars "
                        "needs both, here or in collect.price_file. batch_discount is the share that batches cost less "
                        "(0.5: half price)."})
          .add("price_file", &CollectOptions::price_file,
               {.help =
                    "Of a served teacher: a JSON file of prices, {MODEL: {input_per_mtok, output_per_mtok}}, for where "
                    "collect.prices doesn't say them."})
          .add("timeout_s", &CollectOptions::timeout_s,
               {.unit = "seconds",
                .help = "Of a served teacher: an answer that takes longer is given up and asked again.",
                .minimum = 0.1,
                .maximum = 86400})
          .add("ready_s", &CollectOptions::ready_s,
               {.unit = "seconds",
                .help = "Of a served teacher on a server of one's own: how long it is waited for while it loads its "
                        "model (it answers 503, or nothing listens yet), before the first request. 0: not at all. A "
                        "hosted provider is never waited for.",
                .minimum = 0,
                .maximum = 86400})
          .add("patience_s", &CollectOptions::patience_s,
               {.unit = "seconds",
                .help = "Of a served teacher: when it only fails for so long, the collection stops; the same command "
                        "goes on later.",
                .minimum = 0,
                .maximum = 86400})
          .add("stream", &CollectOptions::stream,
               {.help = "Of a served teacher: answers come piece by piece, so that one which stands still is noticed "
                        "before its time is over. The answers are the same."})
          .add("logprobs", &CollectOptions::logprobs,
               {.unit = "tokens",
                .help =
                    "Of a served teacher: keep the log-probability of each sampled token, and of so many most likely "
                    "ones at each place; 0: of the sampled ones alone. null: none. A teacher that doesn't give them "
                    "is refused before anything is asked.",
                .minimum = 0,
                .maximum = 20})
          .add("durability", &CollectOptions::durability,
               {.help = "What an answer survives once it counts. process: this program being killed; full: the machine "
                        "losing power, at the price of a disk flush for each group of answers.",
                .choices = {"process", "full"}})
          .add("attempts", &CollectOptions::attempts,
               {.unit = "draws",
                .help =
                    "How often an empty, endless or broken self-generated user's turn is drawn before it is given up.",
                .minimum = 1,
                .maximum = 100})
          .check([](const CollectOptions& options, recipe::Problems& problems) {
            const PriceOptions& prices = options.prices;
            if (options.budget.usd > 0 && options.price_file.empty() &&
                !(prices.input_per_mtok && prices.output_per_mtok)) {
              problems.add("collect.budget",
                           "caps dollars, but collect.prices doesn't say what a million tokens cost; expected both "
                           "input_per_mtok and output_per_mtok");
            }
            if (options.self_generated() && options.samples_per_prompt > 1) {
              problems.add("collect.samples_per_prompt",
                           "is more than 1, but self_generated prompts are drawn anew for each exchange; expected 1, "
                           "or prompts from a file");
            }
            if (!options.self_generated() && options.samples_per_prompt > 1 && options.temperature == 0) {
              problems.add("collect.samples_per_prompt",
                           "is more than 1, but at temperature 0 all answers to a prompt are the same; expected 1, or "
                           "a temperature above 0");
            }
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
      recipe::OptionSet<TermsOptions>("terms", "Under which licence a teacher is that doesn't say so itself.")
          .add("accepted_by", &TermsOptions::accepted_by,
               {.help = "The name of the person who says under which licence the teacher is, when its file or endpoint "
                        "doesn't. "
                        "Recorded in every exchange and in the exported model. It doesn't lift what that licence says: "
                        "teacher.terms.authorisation does."})
          .add("accepted_licence", &TermsOptions::accepted_licence,
               {.help = "That licence, by its id (\"apache-2.0\") or name. One that Retort doesn't know needs an "
                        "authorisation."});
  return set;
}

}  // namespace retort::collect
