// `retort cache`: write what a run keeps of its teacher, so that training needs not run it.
#include "base/text.h"
#include "pipeline/teacher_signal.h"
#include "retort/recipe_flags.h"
#include "retort/verb.h"

namespace retort::app {

void register_cache(VerbSetup& verb) {
  const auto flags = std::make_shared<RecipeFlags>();
  add_recipe_flags(verb.app, *flags);
  verb.action = [flags](Context& context) -> Result<void> {
    RETORT_ASSIGN(const pipeline::RunRequest request, run_request(*flags, context));
    RETORT_ASSIGN(const pipeline::CachedSignalOutcome outcome,
                  pipeline::cache_signal(request, context.clock, context.progress, context.stop));
    const dataset::SignalHeader& header = outcome.header;
    const auto bytes = static_cast<std::uint64_t>(std::filesystem::file_size(outcome.path));
    if (context.json) {
      context.emit({{"path", outcome.path.string()},
                    {"kind", dataset::name_of(header.kind)},
                    {"slots", header.slots},
                    {"tokens", header.rows},
                    {"bytes", bytes},
                    {"bytes_per_token", header.row_bytes()},
                    {"temperature", header.temperature},
                    {"kept", outcome.kept},
                    {"seconds", outcome.seconds}});
      return {};
    }
    context.out << outcome.path.string() << ": " << human_count(header.rows) << " tokens, " << header.slots << " "
                << (header.kind == dataset::SignalKind::kSampled ? "drawn" : "likeliest") << " words each, "
                << human_bytes(bytes) << " (" << header.row_bytes() << " bytes a token)"
                << (outcome.kept ? "; it was there already.\n" : ", in " + human_seconds(outcome.seconds) + ".\n");
    return {};
  };
}

}  // namespace retort::app
