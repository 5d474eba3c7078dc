// `retort run`: carry out a recipe, or go on where it stopped.
#include <cstdio>

#include "base/text.h"
#include "pipeline/pipeline.h"
#include "retort/recipe_flags.h"
#include "retort/verb.h"

namespace retort::app {
namespace {

Json to_json(const pipeline::RunOutcome& outcome) {
  Json stages = Json::array();
  for (const pipeline::StageOutcome& stage : outcome.stages) {
    stages.push_back({{"name", stage.name},
                      {"kept", stage.kept},
                      {"seconds", stage.seconds},
                      {"tokens", stage.tokens},
                      {"summary", stage.summary}});
  }
  return {{"folder", outcome.folder.string()},
          {"stages", stages},
          {"wall_s", outcome.wall_s},
          {"model", outcome.model.string()},
          {"scorecard", outcome.scorecard ? retort::to_json(*outcome.scorecard) : Json()}};
}

void print_line(std::ostream& out, const char* label, const ModelScore& model) {
  if (model.file.empty()) {  // it answered over an API, and its file isn't at hand
    out << "  " << label << "  " << model.name << ", by its answers alone\n";
    return;
  }
  char text[200];
  std::snprintf(text, sizeof(text), "  %-8s %-5s %2lld layers  %9s", label, model.type.c_str(),
                static_cast<long long>(model.layers),
                model.size_bytes ? human_bytes(static_cast<std::uint64_t>(model.size_bytes->value)).c_str() : "");
  out << text;
  const auto print = [&](const char* name, int width, int decimals, const std::optional<Estimate>& estimate,
                         double factor = 1, const char* unit = "") {
    if (!estimate) return;
    std::snprintf(text, sizeof(text), "  %s %*.*f%s", name, width, decimals, factor * estimate->value, unit);
    out << text;
  };
  print("KL", 6, 3, model.kl_nats);
  print("agreement", 5, 1, model.top1_agreement, 100, " %");
  print("perplexity", 8, 2, model.perplexity);
  if (model.decode_tokens_per_s) {
    std::snprintf(text, sizeof(text), "  %5.0f tokens/s", model.decode_tokens_per_s->value);
    out << text;
  }
  out << '\n';
}

}  // namespace

void register_run(VerbSetup& verb) {
  const auto flags = std::make_shared<RecipeFlags>();
  add_recipe_flags(verb.app, *flags);
  add_until_flag(verb.app, *flags);
  add_ranks_flag(verb.app, *flags);
  verb.action = [flags](Context& context) -> Result<void> {
    RETORT_ASSIGN(const std::optional<pipeline::RunOutcome> carried_out, carry_out("run", *flags, context));
    if (!carried_out) return {};
    const pipeline::RunOutcome& outcome = *carried_out;
    if (context.json) {
      context.emit(to_json(outcome));
      return {};
    }
    std::ostream& out = context.out;
    out << "The run is in " << outcome.folder.string() << " (" << human_seconds(outcome.wall_s) << " of work).\n";
    if (outcome.scorecard) {
      print_line(out, "teacher", outcome.scorecard->teacher);
      print_line(out, "before", outcome.scorecard->before);
      print_line(out, "student", outcome.scorecard->student);
    }
    std::error_code error;
    if (std::filesystem::exists(outcome.folder / "report.html", error)) {
      out << "Report: " << (outcome.folder / "report.html").string() << '\n';
    }
    if (!outcome.model.empty()) {
      out << "Bundle: " << (outcome.folder / "bundle").string() << "\nTry it: retort chat " << outcome.model.string()
          << '\n';
    }
    return {};
  };
}

}  // namespace retort::app
