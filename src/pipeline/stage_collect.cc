// collect: ask the teacher, on this machine in the file type it runs fastest in, or over its API.
//
// Leaves collect/exchanges.sqlite (the store: what is in it is never asked again), collect/collection.json (the ids, in
// order), collect/summary.json (counts and speeds) and, of a teacher on this machine, collect/engine.json (the type the
// probe chose, kept so that a run that is taken up again goes on with the same engine).
#include <algorithm>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "collect/collect.h"
#include "collect/remote_estimate.h"
#include "llama/engine.h"
#include "llama/speed.h"
#include "pipeline/collection_files.h"
#include "pipeline/remote_collection.h"
#include "pipeline/run_files.h"
#include "pipeline/stage.h"
#include "pipeline/teacher_type.h"

namespace retort::pipeline {
namespace {

constexpr std::size_t kMostParallel = 64;
constexpr std::uint64_t kMostCacheBytes = 2'000'000'000;

struct ChosenType {
  std::filesystem::path path;
  std::string type;
  Json measured = Json::array();
};

Json to_json(const ChosenType& chosen, const Digest& teacher) {
  return {{"teacher", teacher.hex()}, {"type", chosen.type}, {"measured", chosen.measured}};
}

Result<ChosenType> choose_type(StageContext& context) {
  const LocalModel& local = context.local;
  constexpr const char* kFile = "collect/engine.json";
  if (std::error_code error; std::filesystem::exists(context.folder.of(kFile), error)) {
    RETORT_ASSIGN(const Json json, read_json(context.folder, kFile));
    if (json.value("teacher", "") == local.digest.hex()) {
      ChosenType chosen;
      chosen.type = json.value("type", "");
      chosen.measured = json.value("measured", Json::array());
      chosen.path = local.file.path();
      if (chosen.type != local.file.file_type_name()) {
        RETORT_ASSIGN(const gguf::TensorType type, gguf::tensor_type_from_name(chosen.type));
        RETORT_ASSIGN(chosen.path, converted_copy(local, type, context.cache_folder));
      }
      return chosen;
    }
  }
  RETORT_ASSIGN(const llama::TypeProbe probe,
                fastest_type_once(local, context.cache_folder, context.clock, context.progress, context.stop));
  ChosenType chosen{probe.fastest.path, std::string(gguf::name_of(probe.fastest.type)), Json::array()};
  for (const llama::TypeSpeed& speed : probe.measured) {
    chosen.measured.push_back({{"type", gguf::name_of(speed.type)}, {"tokens_per_s", speed.tokens_per_s}});
  }
  RETORT_TRY(write_json(context.folder, kFile, to_json(chosen, local.digest)));
  return chosen;
}

// What was collected, and from whom in words.
struct Collected {
  collect::CollectSummary summary;
  std::string from;
  Json service;  // null when it was asked here
};

Result<Collected> ask_here(StageContext& context, store::ExchangeStore& store, const CheckedPrompts& prompts) {
  RETORT_ASSIGN(const ChosenType chosen, choose_type(context));
  const CollectSequences sequences = collect_sequences(context.local.config, prompts.needed_tokens);
  llama::EngineOptions engine_options;
  engine_options.context_tokens = sequences.context_tokens;
  engine_options.parallel = sequences.parallel;
  RETORT_ASSIGN(const std::unique_ptr<llama::Engine> engine, llama::Engine::open(chosen.path, engine_options));
  const collect::Source source{context.local.identity(chosen.type), context.teacher.terms.record()};
  const auto options = context.recipe.get(collect::collect_option_set());
  RETORT_ASSIGN(collect::CollectSummary summary,
                collect::collect(*engine, context.local.format, source, options, prompts.rows(), store, context.clock,
                                 context.progress, context.stop));
  return Collected{std::move(summary), "teacher in " + chosen.type, Json()};
}

Result<Collected> ask_over_api(StageContext& context, store::ExchangeStore& store, const CheckedPrompts& prompts) {
  const Teacher& teacher = context.teacher;
  ServicePrompts asked{prompts.rows()};
  if (asked.read == nullptr) {
    RETORT_ASSIGN(asked.turns, self_generated_turns(context.recipe, context.local));
  }
  RETORT_ASSIGN(RemoteCollection collection,
                ask_service(context.recipe, teacher.terms.record(), asked, context.folder, store, context.cache_folder,
                            context.environment, context.clock, context.progress, context.stop));
  if (!collection.summary.complete) {
    const std::string& why = collection.summary.why;
    return collection.summary.stopped == collect::Stopped::kSignal ? interrupted(why) : world_error(why);
  }
  Json told = collect::to_json(collection.summary);
  const store::Totals totals = collection.summary.totals;
  std::string from = "from " + teacher.asked.model + " over the " + teacher.asked.api + " API (" +
                     human_count(totals.attempts) + " requests, " + human_count(totals.input_tokens) + " tokens in, " +
                     human_count(totals.output_tokens) + " out";
  if (totals.nano_usd > 0) from += ", " + collect::dollars(totals.nano_usd) + " spent";
  from += ")";
  return Collected{collect_summary(std::move(collection)), std::move(from), std::move(told)};
}

}  // namespace

CollectSequences collect_sequences(const model::DecoderConfig& config, std::size_t needed) {
  CollectSequences result;
  result.context_tokens = std::min<std::size_t>((needed + 255) / 256 * 256, static_cast<std::size_t>(config.context));
  const std::size_t bytes_of_one = static_cast<std::size_t>(config.layers * 2 * config.kv_heads * config.head_dim) *
                                   sizeof(std::uint16_t) * result.context_tokens;
  const std::size_t fitting = kMostCacheBytes / std::max<std::size_t>(1, bytes_of_one);
  result.parallel = std::clamp<std::size_t>(fitting, 1, kMostParallel);
  result.cache_bytes = result.parallel * bytes_of_one;
  return result;
}

Result<StageResult> run_collect(StageContext& context) {
  const auto options = context.recipe.get(collect::collect_option_set());
  std::optional<CheckedPrompts> own;
  if (context.prompts == nullptr) {
    RETORT_ASSIGN(own, check_prompts(context.recipe, context.local, context.cache_folder));
  }
  const CheckedPrompts& prompts = own ? *own : *context.prompts;
  RETORT_ASSIGN(store::ExchangeStore store, store::ExchangeStore::open(context.folder.of(kStoreFile)));
  RETORT_ASSIGN(const Collected collected,
                context.teacher.served() ? ask_over_api(context, store, prompts) : ask_here(context, store, prompts));
  const collect::CollectSummary& summary = collected.summary;
  RETORT_TRY(store.checkpoint());

  RETORT_TRY(write_collection(context.folder, summary, options, collected.service));

  StageResult result;
  result.content = {"collect/collection.json"};
  result.records = {"collect/summary.json"};
  if (!context.teacher.served()) result.records.emplace_back("collect/engine.json");
  result.tokens = summary.user_tokens + summary.answer_tokens;
  result.summary = human_count(static_cast<std::int64_t>(summary.ids.size())) + " exchanges, " +
                   human_count(result.tokens) + " tokens, " + collected.from;
  if (summary.full.sampled_tokens > 0) {
    result.summary += " at " + human_count(static_cast<std::int64_t>(summary.full.tokens_per_s())) + " tokens/s";
  }
  const collect::PromptIntake& intake = summary.intake;
  if (intake.file.skipped > 0) {
    result.summary += "; " + human_count(intake.file.skipped) + " broken rows left out, the first at line " +
                      std::to_string(intake.file.first_skipped.front().line);
  }
  if (intake.personal_data.total() > 0) {
    result.summary += "; personal_data " + options.personal_data + ": " + intake.personal_data.words();
  }
  return result;
}

}  // namespace retort::pipeline
