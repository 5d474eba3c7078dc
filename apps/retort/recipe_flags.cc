#include "retort/recipe_flags.h"

#include "pipeline/run_options.h"

namespace retort::app {

void add_recipe_flags(CLI::App& app, RecipeFlags& flags) {
  app.add_option("recipe", flags.recipe, "The recipe, a YAML file")->type_name("RECIPE")->required();
  app.add_option("--set", flags.overrides, "Override a key of the recipe, as in --set train.epochs=3; repeatable")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--until", flags.until, "Stop after this stage")->type_name("STAGE");
  app.add_option("--runs-dir", flags.runs_folder, "Where the folders of runs lie")
      ->type_name("FOLDER")
      ->capture_default_str();
}

Result<pipeline::RunRequest> run_request(const RecipeFlags& flags, const Context& context) {
  RETORT_ASSIGN(recipe::Recipe recipe, recipe::Recipe::load(flags.recipe, pipeline::recipe_schema(), flags.overrides));
  std::string command = "retort run " + flags.recipe;
  for (const std::string& override_text : flags.overrides) command += " --set '" + override_text + "'";
  if (flags.runs_folder != "runs") command += " --runs-dir " + flags.runs_folder;
  return pipeline::RunRequest{std::move(recipe), flags.runs_folder, context.cache_folder, flags.until,
                              std::move(command)};
}

}  // namespace retort::app
