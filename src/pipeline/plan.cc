#include "pipeline/plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "collect/collect_options.h"
#include "collect/prompt_intake.h"
#include "collect/self_generated.h"
#include "collect/slot_plan.h"
#include "collect/spending.h"
#include "dataset/curate_options.h"
#include "evaluate/evaluate_options.h"
#include "pipeline/compute_choice.h"
#include "pipeline/manifest.h"
#include "pipeline/measured_models.h"
#include "pipeline/plan_checks.h"
#include "pipeline/plan_rates.h"
#include "pipeline/prompt_check.h"
#include "pipeline/run_files.h"
#include "pipeline/run_options.h"
#include "pipeline/stage.h"
#include "pipeline/student_start.h"
#include "pipeline/teacher.h"
#include "pipeline/train_prediction.h"
#include "train/train_options.h"

namespace retort::pipeline {
namespace {

// What can't be known before it is sampled: assumed values, not yet held against a run.
constexpr double kUserTokens = 30;      // mean length of a self-generated user's turn
constexpr double kAnswerShare = 0.85;   // mean length of an answer as a share of collect.max_tokens
constexpr double kScaffoldTokens = 30;  // of the template, with its default system message
// Of the measured rate of a full batch: prompts are read too, and the batch drains at the end.
constexpr double kCollectEfficiency = 0.85;
// Engines that hold weights at a time while the shipped files are compared: reference, untrained cut, student.
constexpr std::int64_t kFixedMemory_bytes = 600'000'000;

struct Amounts {
  std::int64_t exchanges = 0;
  double sampled_tokens = 0;
  double tokens_per_exchange = 0;
  std::size_t needed_tokens = 0;                   // of a sequence that is asked here
  std::optional<collect::RemoteEstimate> service;  // of a teacher behind an API
};

// One reading of the prompts tells all that a plan must know of them.
Result<Amounts> amounts(const recipe::Recipe& recipe, const LocalModel& local) {
  auto collect = recipe.get(collect::collect_option_set());
  const collect::TeacherOptions teacher = recipe.get(run_option_set()).teacher;
  if (teacher.served()) {
    RETORT_ASSIGN(collect.prices, collect::prices_of(collect, teacher.model));
  }
  const double answer = kAnswerShare * static_cast<double>(collect.max_tokens);
  Amounts result;
  PromptCheck check(collect, local);
  if (collect.self_generated()) {
    result.exchanges = collect.count;
    result.sampled_tokens = static_cast<double>(collect.count) * (kUserTokens + answer);
    result.tokens_per_exchange = kScaffoldTokens + kUserTokens + answer;
    RETORT_ASSIGN(result.needed_tokens, check.needed_tokens());
    if (teacher.served()) {
      RETORT_ASSIGN(const std::shared_ptr<const collect::TurnWriter> turns, self_generated_turns(recipe, local));
      result.service = collect::estimate_self_generated(*turns, collect);
    }
    return result;
  }
  double tokens = 0;
  std::int64_t row_number = 0;
  const auto samples = [&](bool answered) {
    const collect::SlotPlan plan(collect, row_number + 1);  // as far as this row
    return static_cast<std::int64_t>(plan.slots_of(row_number, answered).size());
  };
  collect::RemoteEstimator estimator(collect);
  RETORT_TRY(collect::for_each_taken_prompt(collect, [&](const collect::PromptRow& row) -> Result<void> {
    RETORT_ASSIGN(const std::size_t prompt_tokens, check.see(row));
    estimator.see(row);
    const std::int64_t asked = samples(row.answer.has_value());
    ++row_number;
    if (asked == 0) return {};
    result.exchanges += asked;
    double answer_tokens = answer;
    if (row.answer) {
      RETORT_ASSIGN(const std::vector<TokenId> answer_ids, local.format.tokenizer().encode(*row.answer));
      answer_tokens = static_cast<double>(answer_ids.size());
    } else {
      result.sampled_tokens += answer * static_cast<double>(asked);
    }
    tokens += (static_cast<double>(prompt_tokens) + answer_tokens) * static_cast<double>(asked);
    return {};
  }));
  result.tokens_per_exchange = tokens / static_cast<double>(std::max<std::int64_t>(1, result.exchanges));
  RETORT_ASSIGN(result.needed_tokens, check.needed_tokens());
  if (teacher.served()) result.service = estimator.estimate();
  return result;
}

double collect_seconds(const Amounts& amount, const PlanRates& rates) {
  return amount.sampled_tokens / (kCollectEfficiency * rates.collecting.decode_tokens_per_s);
}

// `share`: of the teacher's parameters in the student.
double evaluate_seconds(const evaluate::EvaluateOptions& options, const Amounts& amount, const PlanRates& rates,
                        double share, bool teacher_at_hand) {
  const auto exchanges = static_cast<double>(options.held_out);
  const double read_fast_s = amount.tokens_per_exchange / rates.collecting.read_tokens_per_s;  // an exchange
  const double read_reference_s = amount.tokens_per_exchange / rates.reference.read_tokens_per_s;
  // Student and untrained cut on all exchanges.
  double seconds = exchanges * 2 * share * read_fast_s;
  // What each writes itself, and the teacher's opinion of it. Batches are smaller than in collecting.
  const auto answers = static_cast<double>(std::max(options.answers, options.shown_answers));
  const double answer_tokens = amount.sampled_tokens / static_cast<double>(std::max<std::int64_t>(1, amount.exchanges));
  seconds += answers * share * (answer_tokens / (0.5 * rates.collecting.decode_tokens_per_s) + read_fast_s);
  int fast_models = 2;
  if (teacher_at_hand) {
    // The reference, and on some exchanges the student in F16, the teacher's file and two of its types.
    const double others = std::min(exchanges, static_cast<double>(kOtherExchanges));
    seconds += exchanges * read_reference_s + others * (share * read_reference_s + 3 * read_fast_s);
    seconds += answers * (answer_tokens / rates.reference.decode_tokens_per_s + 2 * read_reference_s);
    fast_models = 7;
  }
  // As llama-bench does, with a sixth of a batch's rate where there is one sequence.
  const llama::SpeedOptions speed;
  const double speed_s = static_cast<double>(speed.prefill_tokens) / rates.collecting.read_tokens_per_s +
                         static_cast<double>(speed.decode_tokens) / (rates.collecting.decode_tokens_per_s / 6);
  return seconds + (options.speed ? fast_models * 3 * speed_s : 0);
}

std::string description_of(const Models& models) {
  const LocalModel& local = models.local;
  const Teacher& teacher = models.teacher;
  const std::string shape =
      " (" + local.file.file_type_name() + ", " + std::to_string(local.config.layers) + " layers)";
  std::string text = teacher.at_hand ? teacher.name + shape : teacher.name;
  if (teacher.served()) text += ", asked as '" + teacher.asked.model + "' over the " + teacher.asked.api + " API";
  text += "; licence " + teacher.terms.record();
  if (!teacher.at_hand) text += "; the student begins from " + local.name + shape;
  return text;
}

std::int64_t whole(double value) { return static_cast<std::int64_t>(value); }

}  // namespace

Result<Plan> plan(const RunRequest& request, Clock& clock, Progress& progress, std::stop_token stop) {
  const recipe::Recipe& recipe = request.recipe;
  const auto options = recipe.get(run_option_set());
  const auto evaluate = recipe.get(evaluate::evaluate_option_set());
  const auto train_options = recipe.get(train::train_option_set());
  RETORT_ASSIGN(const Models models, open_models(recipe, request.cache_folder, clock));
  const LocalModel& local = models.local;
  const Teacher& teacher = models.teacher;
  const std::filesystem::path folder = request.runs_folder / options.name;
  RETORT_ASSIGN(const auto kept, kept_stages(recipe, folder, models));
  RETORT_ASSIGN(const Amounts amount, amounts(recipe, local));

  RETORT_ASSIGN(const PlannedStudent to_train, planned_student(recipe, local));
  const model::DecoderConfig& student = to_train.config;
  const std::int64_t student_parameters = model::parameter_count(student);
  const std::int64_t teacher_parameters = model::parameter_count(local.config);

  RETORT_ASSIGN(const ComputeChoice compute,
                choose_compute(train_options.compute, train_options.device, local.config, request.cache_folder, clock));
  const CollectSequences sequences = collect_sequences(local.config, amount.needed_tokens);
  RETORT_ASSIGN(const PlanRates rates,
                measure_rates(local, sequences.parallel,
                              std::min<std::size_t>(static_cast<std::size_t>(amount.tokens_per_exchange / 2) + 1,
                                                    sequences.context_tokens / 2),
                              collect::answer_sampling(recipe.get(collect::collect_option_set())), request.cache_folder,
                              clock, progress, stop));

  Plan result;
  result.name = options.name;
  result.teacher = description_of(models);
  result.compute = compute.reason;
  const auto half_precision_bytes = [](std::int64_t parameters) { return parameters * 2; };

  std::map<std::string, PlannedStage> planned;
  {
    PlannedStage& stage = planned["collect"];
    stage.tokens = whole(amount.sampled_tokens);
    stage.disk_bytes = amount.exchanges * 8'000;
    stage.what = std::to_string(amount.exchanges) + " exchanges";
    if (teacher.served()) {
      stage.memory_bytes = kFixedMemory_bytes;
      result.service = amount.service;
      stage.what = result.service->sentence() + "; how long that takes is the service's to say";
    } else {
      stage.seconds = collect_seconds(amount, rates);
      stage.memory_bytes = kFixedMemory_bytes + half_precision_bytes(teacher_parameters) +
                           static_cast<std::int64_t>(sequences.cache_bytes);
      stage.what += " at " + std::to_string(whole(rates.collecting.decode_tokens_per_s)) + " tokens/s (measured)";
    }
  }
  planned["curate"] = {
      .name = "curate", .seconds = 1, .disk_bytes = amount.exchanges * 200, .what = "drop what is unfit"};
  planned["dataset"] = {.name = "dataset",
                        .seconds = 1,
                        .disk_bytes = amount.exchanges * 70,
                        .what = std::to_string(evaluate.held_out) + " held out"};
  {
    const auto training = std::max<std::int64_t>(0, amount.exchanges - evaluate.held_out);
    std::int64_t dataset_tokens = whole(static_cast<double>(training) * amount.tokens_per_exchange);
    if (const auto curated = kept.find("curate"); curated != kept.end()) {
      dataset_tokens = curated->second.tokens * training / std::max<std::int64_t>(1, amount.exchanges);
    }
    RETORT_ASSIGN(const TrainPrediction prediction, predict_training(recipe, local, compute, dataset_tokens, clock));
    const train::TrainCost& cost = prediction.cost;
    PlannedStage& stage = planned["train"];
    stage.tokens = cost.tokens;
    stage.seconds = cost.seconds + prediction.layer_choice_s + prediction.layer_fit_s;
    stage.memory_bytes = prediction.peak_bytes;
    stage.disk_bytes = cost.disk_bytes + prediction.start_bytes;
    stage.what =
        std::to_string(cost.steps) + " steps, " + std::to_string(student.layers) + " of " +
        std::to_string(local.config.layers) + " layers, " + human_count(student_parameters) + " parameters" +
        (train_options.lora_rank > 0 ? ", adapters of rank " + std::to_string(train_options.lora_rank) : "") + ", " +
        std::string(model::name_of(compute.type)) +
        (prediction.timed ? "" : ", its time guessed from matrix products alone") +
        (prediction.device_bytes > 0
             ? " on a GPU, " + human_bytes(static_cast<std::uint64_t>(prediction.device_bytes)) + " of its memory"
             : "");
  }
  {
    PlannedStage& stage = planned["export"];
    stage.disk_bytes = half_precision_bytes(student_parameters) * 2;
    stage.memory_bytes = student_parameters * 8;
    stage.seconds = 5 + static_cast<double>(student_parameters) / 20e6;
    stage.what = "GGUF files of the student as trained and as it began, proved";
  }
  {
    PlannedStage& stage = planned["evaluate"];
    const double tokens = static_cast<double>(evaluate.held_out) * amount.tokens_per_exchange;
    const double share = static_cast<double>(student_parameters) / static_cast<double>(teacher_parameters);
    stage.tokens = whole(tokens);
    stage.seconds = evaluate_seconds(evaluate, amount, rates, share, teacher.at_hand);
    stage.memory_bytes = kFixedMemory_bytes + half_precision_bytes(teacher_parameters) + 2 * student_parameters;
    stage.disk_bytes = 1'000'000;
    stage.what = std::to_string(evaluate.held_out) +
                 (teacher.at_hand ? " exchanges, teacher, student before and after training, and their equals"
                                  : " exchanges, student before and after training on the teacher's answers");
  }
  planned["bundle"] = {.name = "bundle",
                       .seconds = 3,
                       .disk_bytes = half_precision_bytes(student_parameters) * 3 / 2,
                       .what = "model card, lineage, digests"};
  planned["report"] = {.name = "report", .seconds = 1, .disk_bytes = 1'000'000, .what = "one HTML page"};

  for (const Stage& stage : stages()) {
    PlannedStage entry = planned[std::string(stage.name)];
    entry.name = stage.name;
    entry.done = kept.contains(entry.name);
    if (!entry.done) {
      result.seconds += entry.seconds;
      result.disk_bytes += entry.disk_bytes;
      result.memory_bytes = std::max(result.memory_bytes, entry.memory_bytes);
    }
    result.stages.push_back(std::move(entry));
    if (stage.name == request.until) break;
  }
  RETORT_ASSIGN(result.free_disk_bytes, free_bytes(request.runs_folder));
  if (teacher_parameters > kComputedParameters) {
    result.unchecked = "The training wasn't checked here: this teacher's " + human_count(teacher_parameters) +
                       " parameters would take too long for a plan. The run checks it before its first step.";
    return result;
  }
  if (!teacher.at_hand) {
    result.unchecked =
        "The training wasn't checked here: the teacher gives its text alone, and answers nothing for a plan. The run "
        "checks it before its first step.";
    return result;
  }
  progress.note("Checking the training on a few exchanges that the teacher answers now.");
  RETORT_ASSIGN(result.checks, plan_checks(recipe, local, compute, request.cache_folder, clock, stop));
  return result;
}

Json to_json(const Plan& plan) {
  Json checks = Json::array();
  for (const train::Check& check : plan.checks) checks.push_back(to_json(check));
  Json stages = Json::array();
  for (const PlannedStage& stage : plan.stages) {
    stages.push_back({{"name", stage.name},
                      {"done", stage.done},
                      {"seconds", stage.seconds},
                      {"tokens", stage.tokens},
                      {"memory_bytes", stage.memory_bytes},
                      {"disk_bytes", stage.disk_bytes},
                      {"what", stage.what}});
  }
  Json service;
  if (plan.service) {
    const auto range = [](const collect::AmountRange& amount) {
      return Json{{"low", amount.low}, {"high", amount.high}};
    };
    service = {{"requests", plan.service->requests},
               {"input_tokens", range(plan.service->input_tokens)},
               {"output_tokens", range(plan.service->output_tokens)}};
    if (const auto& usd = plan.service->nano_usd) {
      service["usd"] = {{"low", static_cast<double>(usd->low) / 1e9}, {"high", static_cast<double>(usd->high) / 1e9}};
    }
  }
  return {{"name", plan.name},
          {"service", service},
          {"teacher", plan.teacher},
          {"compute", plan.compute},
          {"stages", stages},
          {"seconds", plan.seconds},
          {"memory_bytes", plan.memory_bytes},
          {"disk_bytes", plan.disk_bytes},
          {"free_disk_bytes", plan.free_disk_bytes},
          {"checks", checks},
          {"unchecked", plan.unchecked}};
}

}  // namespace retort::pipeline
