#include "pipeline/earlier_batches.h"

#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/text.h"
#include "collect/collect_options.h"
#include "collect/prompt_spool.h"
#include "pipeline/run_options.h"
#include "store/batches.h"

namespace retort::pipeline {
namespace {

constexpr const char* kBatchesRecipe = "collect/batches.yaml";

Result<collect::RemoteSummary> fetch(const recipe::Recipe& recipe, const std::string& terms, const RunFolder& folder,
                                     store::ExchangeStore& store, net::Transport& transport,
                                     const std::filesystem::path& cache_folder, const Environment& environment,
                                     const Clock& clock, Progress& progress, std::stop_token stop) {
  RETORT_ASSIGN(const Service service, service_of(recipe, terms, environment));
  const auto& [options, source] = service;
  if (options.self_generated()) {
    return world_error(
        "its prompts were self-generated, and go on by that recipe alone. Put it back as it was, and the same command "
        "fetches them.");
  }
  RETORT_ASSIGN(const collect::PromptSpool prompts, collect::PromptSpool::make(options, folder.of("collect")));
  collect::RemotePrompts asked{prompts, options.prompts_file(), prompts.rows_digest()};
  asked.nothing_new = true;
  return collect::collect_remote(source, asked, options, store, transport, cache_folder / "capabilities", clock,
                                 progress, std::move(stop));
}

}  // namespace

Result<void> fetch_earlier_batches(const recipe::Recipe& recipe, const std::string& terms, const RunFolder& folder,
                                   store::ExchangeStore& store, net::Transport& transport,
                                   const std::filesystem::path& cache_folder, const Environment& environment,
                                   const Clock& clock, Progress& progress, std::stop_token stop) {
  RETORT_ASSIGN(store::Ledger ledger, store::Ledger::open(store));
  const store::Batches batches(ledger);
  RETORT_ASSIGN(std::vector<store::BatchRecord> under_way, batches.under_way_of_others(""));
  const std::filesystem::path file = folder.of(kBatchesRecipe);
  const std::string own = recipe.effective_yaml(true);
  if (!under_way.empty() && is_there(file)) {
    RETORT_ASSIGN(const std::string text, read_file(file));
    if (text == own) return {};
    RETORT_ASSIGN(const recipe::Recipe earlier, recipe::Recipe::parse(text, file.string(), collection_schema()));
    progress.note(human_count(static_cast<std::int64_t>(under_way.size())) +
                  " batches of an earlier recipe of this run are looked at first.");
    const auto fetched =
        fetch(earlier, terms, folder, store, transport, cache_folder, environment, clock, progress, std::move(stop));
    if (!fetched) {
      return with_context(fetched.error(), "Batches that " + file.string() +
                                               " handed over are under way, and can't be fetched (`retort "
                                               "collect --reconcile worst|nothing` gives them up)");
    }
    RETORT_ASSIGN(under_way, batches.under_way_of_others(""));
  }
  if (!under_way.empty() || !recipe.get(collect::collect_option_set()).batched()) return {};
  return write_file(file, own);
}

}  // namespace retort::pipeline
