#include "pipeline/pipeline.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "base/version.h"
#include "model/backend.h"
#include "pipeline/measured_models.h"
#include "pipeline/prompt_check.h"
#include "pipeline/run_files.h"
#include "pipeline/run_options.h"
#include "pipeline/stage.h"
#include "pipeline/student_start.h"
#include "pipeline/teacher.h"
#include "pipeline/train_help.h"
#include "train/memory.h"
#include "train/train_options.h"

namespace retort::pipeline {
namespace {

Result<void> check_until(const std::string& until) {
  if (until.empty()) return {};
  std::vector<std::string> names;
  for (const Stage& stage : stages()) names.emplace_back(stage.name);
  if (std::find(names.begin(), names.end(), until) != names.end()) return {};
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return caller_error("There is no stage '" + until + "'; expected one of: " + list + ".");
}

Result<void> remove_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return world_error("'" + path.string() + "' can't be removed: " + error.message() + ".");
  return {};
}

// Why a stage that was done must be done again; empty: it needn't.
Result<std::string> reason_to_repeat(const RunFolder& folder, const StageRecord* record, const Digest& key) {
  if (record == nullptr || !record->done) return std::string("not done yet");
  if (record->key != key) return std::string("its inputs changed");
  return find_changed_output(folder.path(), *record);
}

// Puts what a finished stage made on record.
Result<void> finish(StageRecord& record, const StageResult& result, const RunFolder& folder, const Clock& clock) {
  Json content = Json::array();
  std::vector<OutputRecord> outputs;
  for (const std::string& relative : result.content) {
    RETORT_ASSIGN(OutputRecord output, record_output(folder.path(), relative));
    content.push_back({{"path", relative}, {"sha256", output.digest.hex()}});
    outputs.push_back(std::move(output));
  }
  for (const std::string& relative : result.records) {
    RETORT_ASSIGN(OutputRecord output, record_output(folder.path(), relative));
    outputs.push_back(std::move(output));
  }
  record.outputs = std::move(outputs);
  record.content = sha256(canonical_json(content));
  record.tokens = result.tokens;
  record.summary = result.summary;
  record.finished_at = iso_time(clock.unix_ms());
  record.done = true;
  return {};
}

Result<StageOutcome> do_stage(const Stage& stage, StageContext& context) {
  const std::string name(stage.name);
  RunFolder& folder = context.folder;
  RETORT_ASSIGN(const Digest key, stage_key(stage, context.recipe, context.models, folder.manifest()));
  const StageRecord* earlier = folder.manifest().find(name);
  RETORT_ASSIGN(const std::string reason, reason_to_repeat(folder, earlier, key));
  StageOutcome outcome;
  outcome.name = name;
  if (reason.empty()) {
    outcome.kept = true;
    outcome.seconds = earlier->seconds;
    outcome.tokens = earlier->tokens;
    outcome.summary = earlier->summary;
    context.progress.note(name + ": unchanged, kept (" + earlier->summary + ")");
    return outcome;
  }
  if (earlier != nullptr && earlier->done) context.progress.note(name + ": " + reason + ", done again");

  const bool same_key = earlier != nullptr && earlier->key == key;
  const bool taken_up = same_key && !earlier->done && stage.leftovers != Stage::Leftovers::kRemove;
  const bool keep = stage.leftovers == Stage::Leftovers::kKeep ||
                    (stage.leftovers == Stage::Leftovers::kKeepForSameKey && same_key && !earlier->done);
  StageRecord& record = folder.manifest().at(name);
  const double seconds_before = taken_up ? record.seconds : 0;
  record = StageRecord{};
  record.name = name;
  record.key = key;
  record.seconds = seconds_before;
  record.started_at = iso_time(context.clock.unix_ms());
  // On record before anything is removed or made: a kill from here on is seen as "started, not finished".
  RETORT_TRY(folder.save());
  if (!keep) RETORT_TRY(remove_folder(folder.of(name)));
  RETORT_TRY(make_folder(folder.of(name)));

  const double started_s = context.clock.monotonic_s();
  train::reset_peak_memory();
  // On the caller's thread: large blocks of other threads' arenas are mapped anew each time, which costs training
  // dearly.
  Result<StageResult> result = stage.run(context);
  record.peak_bytes = train::peak_memory_bytes();
  train::release_memory();
  record.seconds = seconds_before + (context.clock.monotonic_s() - started_s);
  if (!result) {
    // What was done is on disk; the time it took is worth keeping, but not at the price of hiding the first error.
    static_cast<void>(folder.save());
    return with_context(result.error(), name);
  }
  RETORT_TRY(finish(record, *result, folder, context.clock));
  RETORT_TRY(folder.save());
  outcome.seconds = record.seconds;
  outcome.tokens = record.tokens;
  outcome.summary = record.summary;
  context.progress.note(name + ": " + record.summary + " (" + human_seconds(record.seconds) + ")");
  return outcome;
}

// The one file that every run ends with; the time in it is that of all stages so far.
Result<std::optional<Scorecard>> write_scorecard(const RunFolder& folder) {
  const StageRecord* evaluate = folder.manifest().find("evaluate");
  if (evaluate == nullptr || !evaluate->done) return std::optional<Scorecard>();
  RETORT_ASSIGN(const Json json, read_json(folder, "evaluate/scorecard.json"));
  RETORT_ASSIGN(Scorecard scorecard, scorecard_from_json(json));
  scorecard.wall_s = folder.manifest().total_seconds();
  RETORT_TRY(write_json(folder, "scorecard.json", to_json(scorecard)));
  return std::optional<Scorecard>(std::move(scorecard));
}

// Bytes a student's parameter takes on disk over the whole run: FP32 masters, two moments and the trained copy while it
// is trained, then the files of the student and of the untrained cut. (A bundle shares them where the disk allows.)
constexpr std::uint64_t kBytesPerParameter = 4 * 4 + 2 + 2;
constexpr std::uint64_t kBytesBesides = 20'000'000;  // exchanges, metrics, report

// A disk that can't hold the run is told before the first hour is spent, not after.
Result<void> check_disk(const recipe::Recipe& recipe, const LocalModel& local, const RunFolder& folder) {
  const auto student = planned_student(recipe, local);
  if (!student) {
    return caller_error("The student can't be made from '" + local.name + "' of " +
                        std::to_string(local.config.layers) + " layers as the recipe asks: " + student.error().message);
  }
  const StageRecord* exported = folder.manifest().find("export");
  if (exported != nullptr && exported->done) return {};
  const std::uint64_t needed =
      kBytesBesides + kBytesPerParameter * static_cast<std::uint64_t>(model::parameter_count(student->config));
  RETORT_ASSIGN(const std::uint64_t available, free_bytes(folder.path()));
  if (available >= needed) return {};
  return caller_error("The disk of '" + folder.path().string() + "' has " + human_bytes(available) +
                      " free, and the run needs about " + human_bytes(needed) +
                      ". Free some space, or give another place with --runs-dir.");
}

// The members of teacher.json that speak of a file.
Json to_json(const LocalModel& local) {
  return {{"name", local.name},
          {"file", local.file.path().filename().string()},
          {"file_sha256", local.digest.hex()},
          {"template_sha256", local.format.template_digest().hex()},
          {"type", local.file.file_type_name()},
          {"layers", local.config.layers},
          {"parameters", model::parameter_count(local.config)}};
}

// Who the teacher is and by what right it is learnt from: teacher.json.
Result<void> write_teacher(const RunFolder& folder, const Models& models) {
  const Teacher& teacher = models.teacher;
  Json json = teacher.at_hand ? to_json(models.local) : Json{{"name", teacher.name}};
  json["terms"] = terms::to_json(teacher.terms);
  if (teacher.served()) json["served"] = {{"api", teacher.asked.api}, {"model", teacher.asked.model}};
  if (!teacher.at_hand) json["base"] = to_json(models.local);
  return write_json(folder, "teacher.json", json);
}

// Before anything is spent: every rank is there and has the same teacher.
Result<void> check_teachers(train::Ranks& ranks, const Models& models) {
  const std::string own = models.teacher.identity.hex() + models.local.digest.hex();
  RETORT_ASSIGN(const std::string first, ranks.share(own));
  RETORT_ASSIGN(const bool differ, ranks.any(first != own));
  if (!differ) return {};
  return caller_error(
      "The ranks don't have the same teacher: the files differ. Put the same file in the same place on every machine.");
}

}  // namespace

Result<RunOutcome> run(const RunRequest& request, Clock& clock, Progress& progress, const std::stop_token& stop) {
  RETORT_TRY(check_until(request.until));
  const auto options = request.recipe.get(run_option_set());
  RETORT_ASSIGN(const Models models, open_models(request.recipe, request.cache_folder, clock));
  const LocalModel& local = models.local;
  const std::string wanted_device = request.recipe.get(train::train_option_set()).device;
  if (request.ranks.local_world > 1 && wanted_device != "cpu") model::see_one_device(request.ranks.local_rank);
  RETORT_ASSIGN(const std::unique_ptr<train::Ranks> ranks, train::join_ranks(request.ranks));
  RETORT_TRY(check_teachers(*ranks, models));
  RETORT_ASSIGN(const std::string device, device_for_all(*ranks, wanted_device));
  if (!ranks->leads()) {
    RETORT_TRY(help_to_train(*ranks, request.ranks.local_world, request.recipe, local, clock, progress, stop));
    return RunOutcome();
  }
  // Prompts that are answered already needn't be read.
  RETORT_ASSIGN(const auto kept, kept_stages(request.recipe, request.runs_folder / options.name, models));
  std::optional<CheckedPrompts> prompts;
  if (!kept.contains("collect")) {
    RETORT_ASSIGN(prompts, check_prompts(request.recipe, local, request.cache_folder));
  }
  RETORT_ASSIGN(RunFolder folder, RunFolder::open(request.runs_folder, options.name, clock));
  if (says_student(request.recipe.get(student_option_set()))) RETORT_TRY(check_disk(request.recipe, local, folder));
  folder.manifest().command = request.command;
  folder.manifest().recipe_digest = request.recipe.digest();
  RETORT_TRY(write_file(folder.of("recipe.yaml"), request.recipe.effective_yaml(true)));
  RETORT_TRY(write_teacher(folder, models));
  RETORT_TRY(folder.save());

  StageContext context{request.recipe,
                       folder,
                       models,
                       local,
                       models.teacher,
                       request.cache_folder,
                       clock,
                       progress,
                       stop,
                       *ranks,
                       request.ranks.local_world,
                       device,
                       request.environment,
                       prompts ? &*prompts : nullptr};
  RunOutcome outcome;
  outcome.folder = folder.path();
  for (const Stage& stage : stages()) {
    if (stop.stop_requested())
      return interrupted("Stopped before " + std::string(stage.name) + ". The same command goes on.");
    RETORT_ASSIGN(StageOutcome done, do_stage(stage, context));
    if (stage.name == "train" ? done.kept : stage.name == request.until) RETORT_TRY(dismiss(*ranks));
    outcome.stages.push_back(std::move(done));
    if (stage.name == "evaluate") RETORT_TRY(write_scorecard(folder));
    if (stage.name == request.until) break;
  }
  // What an earlier call made of another student isn't this call's.
  const auto came_to = [&](const char* name) {
    return std::any_of(outcome.stages.begin(), outcome.stages.end(),
                       [&](const StageOutcome& stage) { return stage.name == name; });
  };
  if (came_to("evaluate")) {
    RETORT_ASSIGN(outcome.scorecard, write_scorecard(folder));
  }
  outcome.wall_s = folder.manifest().total_seconds();
  if (const StageRecord* train = folder.manifest().find("train"); train != nullptr && train->done) {
    RETORT_ASSIGN(outcome.training, read_json(folder, kTrainSummaryFile));
  }
  if (came_to("bundle")) {
    RETORT_ASSIGN(const std::vector<ExportedFile> files, read_exported_files(folder));
    for (const ExportedFile& file : files) {
      if (file.shipped) outcome.model = folder.of("bundle") / std::filesystem::path(file.path).filename();
    }
  }
  return outcome;
}

}  // namespace retort::pipeline
