// `retort plan`: what a run would do, with its costs.
#include "pipeline/plan.h"

#include <cstdio>

#include "base/text.h"
#include "retort/recipe_flags.h"
#include "retort/verb.h"

namespace retort::app {
namespace {

std::string bytes(std::int64_t value) { return value > 0 ? human_bytes(static_cast<std::uint64_t>(value)) : ""; }

void print(std::ostream& out, const pipeline::Plan& plan) {
  out << "Run " << plan.name << " from " << plan.teacher << "\nCompute: " << plan.compute << "\n\n";
  char line[400];
  std::snprintf(line, sizeof(line), "  %-9s %12s %11s %10s %10s  %s\n", "stage", "time", "tokens", "memory", "disk",
                "");
  out << line;
  for (const pipeline::PlannedStage& stage : plan.stages) {
    const std::string time = stage.done ? "done" : human_seconds(stage.seconds);
    const std::string tokens = stage.tokens > 0 ? human_count(stage.tokens) : "";
    std::snprintf(line, sizeof(line), "  %-9s %12s %11s %10s %10s  %s\n", stage.name.c_str(), time.c_str(),
                  tokens.c_str(), bytes(stage.memory_bytes).c_str(), bytes(stage.disk_bytes).c_str(),
                  stage.what.c_str());
    out << line;
  }
  out << "\nAbout " << human_seconds(plan.seconds) << ", at most "
      << human_bytes(static_cast<std::uint64_t>(plan.memory_bytes)) << " of memory and "
      << human_bytes(static_cast<std::uint64_t>(plan.disk_bytes)) << " of disk (" << human_bytes(plan.free_disk_bytes)
      << " are free). Estimates, from a short measurement of this machine.\n";
  if (!plan.unchecked.empty()) out << '\n' << plan.unchecked << '\n';
  if (!plan.checks.empty()) out << "\nChecked, on exchanges that the teacher answered just now:\n";
  for (const train::Check& check : plan.checks) {
    out << (check.passed ? "  yes  " : "  NO   ") << check.question << "\n       " << check.measured << ".\n";
  }
}

}  // namespace

void register_plan(VerbSetup& verb) {
  const auto flags = std::make_shared<RecipeFlags>();
  add_recipe_flags(verb.app, *flags);
  add_until_flag(verb.app, *flags);
  verb.action = [flags](Context& context) -> Result<void> {
    RETORT_ASSIGN(const pipeline::RunRequest request, run_request(*flags, context));
    RETORT_ASSIGN(const pipeline::Plan plan, pipeline::plan(request, context.clock, context.progress, context.stop));
    if (context.json) {
      context.emit(pipeline::to_json(plan));
    } else {
      print(context.out, plan);
    }
    if (auto failure = train::failure_of(plan.checks)) return std::move(*failure);
    return {};
  };
}

}  // namespace retort::app
