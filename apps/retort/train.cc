// `retort train`: a recipe up to and including training, alone or as one of several ranks.
#include "base/text.h"
#include "pipeline/pipeline.h"
#include "retort/recipe_flags.h"
#include "retort/verb.h"

namespace retort::app {

void register_train(VerbSetup& verb) {
  const auto flags = std::make_shared<RecipeFlags>();
  flags->until = "train";
  add_recipe_flags(verb.app, *flags);
  add_ranks_flag(verb.app, *flags);
  verb.action = [flags](Context& context) -> Result<void> {
    RETORT_ASSIGN(const std::optional<pipeline::RunOutcome> outcome, carry_out("train", *flags, context));
    if (!outcome) return {};
    const pipeline::StageOutcome& stage = outcome->stages.back();
    if (context.json) {
      context.emit({{"folder", outcome->folder.string()},
                    {"kept", stage.kept},
                    {"seconds", stage.seconds},
                    {"tokens", stage.tokens},
                    {"summary", stage.summary},
                    {"training", outcome->training}});
      return {};
    }
    context.out << "Trained in " << (outcome->folder / "train").string() << ": " << stage.summary << " ("
                << human_seconds(stage.seconds) << ").\n";
    return {};
  };
}

}  // namespace retort::app
