// The flags that `run`, `train` and `plan` share: the recipe, its overrides, where runs lie; and carrying it out, alone
// or as one of several ranks.
#pragma once

#include <optional>
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
  int ranks = 0;  // --ranks: so many processes on this machine; 0: as the environment says
};

void add_recipe_flags(CLI::App& app, RecipeFlags& flags);
void add_until_flag(CLI::App& app, RecipeFlags& flags);
void add_ranks_flag(CLI::App& app, RecipeFlags& flags);
// Reads and checks the recipe. `collect_only`: it needs no student.
Result<pipeline::RunRequest> run_request(const RecipeFlags& flags, const Context& context, bool collect_only = false);

// Carries the recipe out up to `flags.until`. Nothing comes back on a rank that only helped, or after starting others
// to do it.
Result<std::optional<pipeline::RunOutcome>> carry_out(const std::string& verb, const RecipeFlags& flags,
                                                      Context& context);

}  // namespace retort::app
