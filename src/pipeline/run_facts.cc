#include "pipeline/run_facts.h"

#include <utility>

#include "base/files.h"
#include "base/version.h"
#include "dataset/curate.h"
#include "dataset/dataset.h"
#include "dataset/teacher_signal.h"
#include "pipeline/compute_choice.h"
#include "pipeline/evaluation_details.h"
#include "pipeline/manifest.h"
#include "pipeline/run_files.h"
#include "pipeline/teacher_signal.h"
#include "train/metrics.h"

namespace retort::pipeline {
namespace {

Result<Json> read(const std::filesystem::path& folder, const char* relative) {
  RETORT_ASSIGN(const std::string text, read_file(folder / relative));
  return parse_json(text, (folder / relative).string());
}

Result<void> load_collect(const std::filesystem::path& folder, RunFacts& facts) {
  RETORT_ASSIGN(const Json summary, read(folder, "collect/summary.json"));
  const std::string what = "collect/summary.json";
  RETORT_ASSIGN(facts.prompt_source, member<std::string>(summary, "prompt_source", what));
  RETORT_ASSIGN(facts.asked, member<std::int64_t>(summary, "asked", what));
  RETORT_ASSIGN(facts.reused, member<std::int64_t>(summary, "reused", what));
  RETORT_ASSIGN(facts.from_file, member<std::int64_t>(summary, "from_file", what));
  RETORT_ASSIGN(facts.collected, member<std::int64_t>(summary, "exchanges", what));
  RETORT_ASSIGN(facts.truncated_answers, member<std::int64_t>(summary, "truncated_answers", what));
  RETORT_ASSIGN(facts.user_tokens, member<std::int64_t>(summary, "user_tokens", what));
  RETORT_ASSIGN(facts.answer_tokens, member<std::int64_t>(summary, "answer_tokens", what));
  const Json prompts = summary.value("prompt_file", Json::object());  // runs of earlier versions don't say
  facts.skipped_rows = prompts.value("skipped", std::int64_t{0});
  facts.dropped_rows = prompts.value("rows_dropped", std::int64_t{0});
  facts.personal_data = prompts.value("personal_data_words", "");
  facts.personal_data_mode = prompts.value("personal_data_mode", "");
  RETORT_ASSIGN(const Json full, member<Json>(summary, "full", what));
  RETORT_ASSIGN(const double tokens, member<double>(full, "tokens", what));
  RETORT_ASSIGN(const double seconds, member<double>(full, "seconds", what));
  facts.collect_tokens_per_s = seconds > 0 ? tokens / seconds : 0;

  if (!is_there(folder / "collect/engine.json")) return {};  // asked over an API
  RETORT_ASSIGN(const Json engine, read(folder, "collect/engine.json"));
  const std::string chosen = engine.value("type", "");
  for (const Json& entry : engine.value("measured", Json::array())) {
    TypeSpeedFacts speed{entry.value("type", ""), entry.value("tokens_per_s", 0.0)};
    if (speed.type == chosen) {
      facts.type_speeds.insert(facts.type_speeds.begin(), std::move(speed));
    } else {
      facts.type_speeds.push_back(std::move(speed));
    }
  }
  return {};
}

Result<void> load_dataset(const std::filesystem::path& folder, RunFacts& facts) {
  RETORT_ASSIGN(const Json json, read(folder, kCurationFile));
  RETORT_ASSIGN(const dataset::Curation curation, dataset::curation_from_json(json));
  facts.kept = static_cast<std::int64_t>(curation.kept.size());
  for (const dataset::DropReason reason : dataset::kDropReasons) {
    facts.dropped.push_back({std::string(dataset::name_of(reason)), curation.count(reason)});
  }
  RETORT_ASSIGN(const dataset::Dataset dataset, dataset::load(folder / kDatasetFile));
  facts.train_exchanges = static_cast<std::int64_t>(dataset.train.size());
  facts.held_out_exchanges = static_cast<std::int64_t>(dataset.held_out.size());
  return {};
}

Result<void> load_train(const std::filesystem::path& folder, RunFacts& facts) {
  RETORT_ASSIGN(const Json layers, read(folder, kLayersFile));
  RETORT_ASSIGN(facts.layer_method, member<std::string>(layers, "method", kLayersFile));
  RETORT_ASSIGN(const Json scores, member<Json>(layers, "scores", kLayersFile));
  for (const Json& entry : scores) {
    LayerFacts layer;
    RETORT_ASSIGN(layer.layer, member<std::int64_t>(entry, "layer", kLayersFile));
    RETORT_ASSIGN(layer.kept, member<bool>(entry, "kept", kLayersFile));
    // Absent or null where it wasn't measured.
    const auto number = [&](const char* key, double fallback) {
      const auto found = entry.find(key);
      return found != entry.end() && found->is_number() ? found->get<double>() : fallback;
    };
    layer.block_influence = number("block_influence", 0);
    layer.removed_at = static_cast<std::int64_t>(number("removed_at", -1));
    layer.kl_after_removal = number("kl_after_removal", 0);
    facts.layers.push_back(layer);
  }
  if (is_there(folder / kFitFile)) {
    RETORT_ASSIGN(const Json json, read(folder, kFitFile));
    FitFacts& fit = facts.fit.emplace();
    RETORT_ASSIGN(fit.tokens, member<std::int64_t>(json, "tokens", kFitFile));
    RETORT_ASSIGN(const Json fitted, member<Json>(json, "layers", kFitFile));
    for (const Json& entry : fitted) {
      RETORT_ASSIGN(fit.errors_before.emplace_back(), member<double>(entry, "error_before", kFitFile));
      RETORT_ASSIGN(fit.errors_after.emplace_back(), member<double>(entry, "error_after", kFitFile));
    }
    if (json.contains("held_out_kl_before")) {
      RETORT_ASSIGN(fit.kl_before, member<double>(json, "held_out_kl_before", kFitFile));
      RETORT_ASSIGN(fit.kl_after, member<double>(json, "held_out_kl_after", kFitFile));
    }
  }
  RETORT_ASSIGN(const std::vector<train::StepMetrics> metrics, train::read_metrics(folder / kMetricsFile));
  for (const train::StepMetrics& step : metrics) {
    MetricFacts line;
    line.step = step.step;
    line.tokens = step.tokens;
    line.loss = step.loss;
    line.kl = step.kl;
    line.learning_rate = step.learning_rate;
    line.gradient_norm = step.gradient_norm;
    line.tokens_per_s = step.tokens_per_s;
    line.held_out_kl = step.held_out_kl;
    line.held_out_cross_entropy = step.held_out_cross_entropy;
    line.rollout_loss = step.rollout_loss;
    line.data_kl = step.data_kl;
    line.rollout_kl = step.rollout_kl;
    line.rollouts = step.rollouts;
    line.health = step.health;
    line.health_before = step.health_before;
    facts.metrics.push_back(line);
    facts.objective = step.objective;
  }
  for (const train::StandingWarning& warning : train::standing_warnings(metrics)) {
    facts.training_warnings.push_back(warning.text());
  }
  if (is_there(folder / kPreflightFile)) {  // older runs have none
    RETORT_ASSIGN(const Json checks, read(folder, kPreflightFile));
    for (const Json& entry : checks) {
      CheckFacts check;
      RETORT_ASSIGN(check.question, member<std::string>(entry, "question", kPreflightFile));
      RETORT_ASSIGN(check.measured, member<std::string>(entry, "measured", kPreflightFile));
      facts.checks.push_back(std::move(check));
    }
  }
  RETORT_ASSIGN(const Json summary, read(folder, kTrainSummaryFile));
  RETORT_ASSIGN(facts.trained_tokens, member<std::int64_t>(summary, "tokens", kTrainSummaryFile));
  RETORT_ASSIGN(facts.train_tokens_per_s, member<double>(summary, "tokens_per_s", kTrainSummaryFile));
  RETORT_ASSIGN(facts.peak_memory_bytes, member<std::int64_t>(summary, "peak_rss_bytes", kTrainSummaryFile));
  RETORT_ASSIGN(const Json compute_json, read(folder, "train/compute.json"));
  RETORT_ASSIGN(const ComputeChoice compute, compute_choice_from_json(compute_json, "train/compute.json"));
  facts.compute_type = model::name_of(compute.type);
  facts.compute_reason = compute.reason;
  return {};
}

// What teacher.json says of a file.
struct FileFacts {
  ModelIdentity identity;
  std::string type;
  std::int64_t layers = 0, parameters = 0;
};
Result<FileFacts> file_facts(const Json& json, const std::string& what) {
  FileFacts file;
  RETORT_ASSIGN(file.identity.name, member<std::string>(json, "name", what));
  RETORT_ASSIGN(const std::string file_digest, member<std::string>(json, "file_sha256", what));
  RETORT_ASSIGN(file.identity.file_digest, Digest::from_hex(file_digest));
  RETORT_ASSIGN(const std::string template_digest, member<std::string>(json, "template_sha256", what));
  RETORT_ASSIGN(file.identity.template_digest, Digest::from_hex(template_digest));
  RETORT_ASSIGN(file.type, member<std::string>(json, "type", what));
  RETORT_ASSIGN(file.layers, member<std::int64_t>(json, "layers", what));
  RETORT_ASSIGN(file.parameters, member<std::int64_t>(json, "parameters", what));
  return file;
}

Result<void> load_teacher(const std::filesystem::path& folder, RunFacts& facts) {
  constexpr const char* kTeacherFile = "teacher.json";
  RETORT_ASSIGN(const Json json, read(folder, kTeacherFile));
  RETORT_ASSIGN(facts.terms, member<Json>(json, "terms", kTeacherFile));
  if (json.contains("served")) {
    RETORT_ASSIGN(facts.served_as, member<std::string>(json["served"], "model", kTeacherFile));
    RETORT_ASSIGN(facts.served_api, member<std::string>(json["served"], "api", kTeacherFile));
  }
  if (json.contains("base")) {
    facts.text_alone = true;
    RETORT_ASSIGN(facts.teacher.name, member<std::string>(json, "name", kTeacherFile));
    RETORT_ASSIGN(const FileFacts base, file_facts(json["base"], kTeacherFile));
    facts.base = base.identity;
    facts.base_type = base.type;
    if (is_there(folder / kSignalFile)) {  // with such a teacher there is no other kind
      RETORT_ASSIGN(const dataset::SignalFile signal, dataset::SignalFile::open(folder / kSignalFile));
      facts.learnt_from_logprobs = signal.header().kind == dataset::SignalKind::kLogprobs;
    }
    return {};
  }
  RETORT_ASSIGN(const FileFacts file, file_facts(json, kTeacherFile));
  facts.teacher = file.identity;
  facts.teacher_type = file.type;
  facts.teacher_layers = file.layers;
  facts.teacher_parameters = file.parameters;
  if (facts.served_as.empty()) {
    facts.teacher.run_as = facts.type_speeds.empty() ? facts.teacher_type : facts.type_speeds.front().type;
  }
  RETORT_ASSIGN(const Json lineage, read(folder, kLineageFile));
  if (lineage.is_object()) facts.duties = lineage.value("obligations", Json::array());
  return {};
}

}  // namespace

Result<RunFacts> load_run_facts(const std::filesystem::path& run_folder) {
  std::error_code error;
  if (!std::filesystem::exists(run_folder / "manifest.json", error)) {
    return caller_error("'" + run_folder.string() + "' is not the folder of a run: it has no manifest.json.");
  }
  RETORT_ASSIGN(const Manifest manifest, load_manifest(run_folder / "manifest.json"));
  for (const char* stage : {"collect", "curate", "dataset", "train", "export", "evaluate"}) {
    const StageRecord* record = manifest.find(stage);
    if (record == nullptr || !record->done) {
      return caller_error("The run '" + manifest.name + "' has not finished its stage " + stage +
                          ", which the report needs. Go on with: " + manifest.command);
    }
  }
  RunFacts facts;
  facts.name = manifest.name;
  facts.code_version = manifest.code_version;
  facts.started_at = manifest.created_at;
  facts.command = manifest.command;
  RETORT_ASSIGN(facts.recipe_yaml, read_file(run_folder / "recipe.yaml"));
  for (const StageRecord& stage : manifest.stages) {
    if (stage.done && stage.name != "report") {
      facts.stages.push_back({stage.name, stage.seconds, stage.tokens, stage.summary});
    }
  }
  RETORT_TRY(load_collect(run_folder, facts));
  RETORT_TRY(load_dataset(run_folder, facts));
  RETORT_TRY(load_train(run_folder, facts));
  RETORT_TRY(load_teacher(run_folder, facts));
  RETORT_ASSIGN(const Json files, read(run_folder, kExportFile));
  RETORT_ASSIGN(facts.proof, member<std::string>(files, "proof", kExportFile));
  RETORT_ASSIGN(facts.student_parameters, member<std::int64_t>(files, "parameters", kExportFile));
  facts.machine = facts.compute_reason;

  RETORT_ASSIGN(const Json card, read(run_folder, kScorecardFile));
  RETORT_ASSIGN(facts.scorecard, scorecard_from_json(card));
  facts.scorecard.wall_s = manifest.total_seconds();
  RETORT_ASSIGN(const Json details_json, read(run_folder, kDetailsFile));
  RETORT_ASSIGN(EvaluationDetails details, details_from_json(details_json, kDetailsFile));
  facts.teacher_reference = std::move(details.reference);
  facts.share_of_kl_closed = details.share_of_kl_closed;
  facts.health = std::move(details.health);
  facts.compared = std::move(details.compared);
  facts.answers = std::move(details.answers);
  return facts;
}

}  // namespace retort::pipeline
