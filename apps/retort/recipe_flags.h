// The flags that `run` and `plan` share: the recipe, its overrides, where runs lie.
#pragma once

#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "retort/verb.h"

namespace retort::app {

struct RecipeFlags {
  std::string recipe;
  std::vector<std::string> overrides;
  std::string runs_folder = "runs";
  std::string until;
};

void add_recipe_flags(CLI::App& app, RecipeFlags& flags);
// Reads and checks the recipe.
Result<pipeline::RunRequest> run_request(const RecipeFlags& flags, const Context& context);

}  // namespace retort::app
