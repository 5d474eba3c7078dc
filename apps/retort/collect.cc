// `retort collect`: ask the teacher for what a recipe wants collected, and keep it; nothing is trained.
#include "base/files.h"
#include "base/text.h"
#include "collect/remote_estimate.h"
#include "pipeline/pipeline.h"
#include "pipeline/remote_collection.h"
#include "pipeline/run_options.h"
#include "retort/recipe_flags.h"
#include "retort/verb.h"

namespace retort::app {
namespace {

struct CollectFlags {
  RecipeFlags recipe;
  std::string reconcile;  // "worst" or "nothing"
};

void tell(const pipeline::RemoteCollection& collection, const std::string& name, Context& context) {
  const collect::RemoteSummary& summary = collection.summary;
  const store::Totals& totals = summary.totals;
  context.out << name << ": " << human_count(summary.committed) << " of " << human_count(summary.planned)
              << " answers are kept (" << human_count(summary.asked) << " of them new, in "
              << human_seconds(summary.seconds) << ").\n"
              << "  requests   " << human_count(totals.attempts) << ", of which " << human_count(totals.answered)
              << " were answered\n"
              << "  tokens     " << human_count(totals.input_tokens) << " in, " << human_count(totals.output_tokens)
              << " out\n";
  if (totals.nano_usd > 0 || totals.reserved_nano_usd > 0) {
    context.out << "  spent      " << collect::dollars(totals.nano_usd) << "\n";
  }
  if (summary.given_up > 0) {
    context.out << "  given up   " << human_count(summary.given_up) << " prompts that the service refuses"
                << (summary.dropped_turns ? ", or that never came well\n" : "\n");
  }
  if (const auto& dropped = summary.dropped_turns; dropped && dropped->total() > 0) {
    context.out << "  dropped    " << human_count(dropped->total())
                << " users' turns, and drew others: " << dropped->cut << " too long, " << dropped->refused
                << " refused, " << dropped->empty << " empty, " << dropped->broken << " no message\n";
  }
  if (totals.open_attempts > 0) {
    context.out << "  unsettled  " << human_count(totals.open_attempts)
                << " requests whose end was never heard; they count as " << human_count(totals.reserved_tokens)
                << " tokens" << (totals.reserved_nano_usd > 0 ? ", " + collect::dollars(totals.reserved_nano_usd) : "")
                << " until `retort collect --reconcile` settles them\n";
  }
}

// What ended the collection early, as the program ends with it.
Result<void> ending(const collect::RemoteSummary& summary) {
  if (summary.complete) return {};
  if (summary.stopped == collect::Stopped::kSignal) return interrupted(summary.why);
  return world_error(summary.why.empty() ? "The collection isn't complete." : summary.why);
}

Result<void> collect_over_api(const CollectFlags& flags, const recipe::Recipe& recipe, Context& context) {
  if (!flags.reconcile.empty()) {
    RETORT_ASSIGN(const std::int64_t lines,
                  pipeline::reconcile(recipe, flags.recipe.runs_folder, flags.reconcile == "worst", context.clock));
    if (context.json) {
      context.emit({{"reconciled", lines}});
    } else {
      context.out << human_count(lines) << " requests were settled as "
                  << (flags.reconcile == "worst" ? "what they can have cost at most.\n" : "never billed.\n");
    }
    return {};
  }
  RETORT_ASSIGN(const pipeline::RemoteCollection collection,
                pipeline::collect_alone(recipe, flags.recipe.runs_folder, context.cache_folder, context.environment,
                                        context.clock, context.progress, context.stop));
  if (context.json) {
    context.emit(collect::to_json(collection.summary));
  } else {
    tell(collection, recipe.get(pipeline::run_option_set()).name, context);
  }
  return ending(collection.summary);
}

Result<void> collect_here(CollectFlags& flags, Context& context) {
  flags.recipe.until = "collect";
  RETORT_ASSIGN(const std::optional<pipeline::RunOutcome> outcome, carry_out("collect", flags.recipe, context));
  if (!outcome) return {};
  const pipeline::StageOutcome& stage = outcome->stages.back();
  if (context.json) {
    const std::string path = (outcome->folder / "collect/summary.json").string();
    RETORT_ASSIGN(const std::string text, read_file(path));
    RETORT_ASSIGN(const Json counts, parse_json(text, path));
    const std::int64_t done =
        counts.value("exchanges", std::int64_t{0}) + counts.value("slots_given_up", std::int64_t{0});
    // As of a service, which costs nothing and fails never.
    context.emit({{"planned", done},
                  {"committed", done},
                  {"attempts", counts.value("asked", std::int64_t{0})},
                  {"failed", 0},
                  {"input_tokens", 0},
                  {"output_tokens", stage.tokens},
                  {"spent_usd", 0.0},
                  {"reserved_usd", 0.0},
                  {"complete", true},
                  {"stopped", nullptr},
                  {"folder", outcome->folder.string()},
                  {"seconds", stage.seconds},
                  {"summary", stage.summary}});
  } else {
    context.out << "Collected in " << (outcome->folder / "collect").string() << ": " << stage.summary << "\n";
  }
  return {};
}

}  // namespace

void register_collect(VerbSetup& verb) {
  const auto flags = std::make_shared<CollectFlags>();
  add_recipe_flags(verb.app, flags->recipe);
  verb.app
      .add_option("--reconcile", flags->reconcile,
                  "Settle requests whose end was never heard, after a look at the service's own records: as the worst "
                  "case, or as nothing. Asks for nothing")
      ->type_name("worst|nothing")
      ->check(CLI::IsMember({"worst", "nothing"}));
  verb.action = [flags](Context& context) -> Result<void> {
    RETORT_ASSIGN(const recipe::Recipe recipe,
                  recipe::Recipe::load(flags->recipe.recipe, pipeline::collection_schema(), flags->recipe.overrides));
    if (recipe.get(pipeline::run_option_set()).teacher.served()) return collect_over_api(*flags, recipe, context);
    return collect_here(*flags, context);
  };
}

}  // namespace retort::app
