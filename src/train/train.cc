#include "train/train.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "dataset/example.h"
#include "dataset/teacher_signal.h"
#include "model/decoder.h"
#include "model/peft_adapter.h"
#include "model/safetensors.h"
#include "model/weights.h"
#include "train/cached_signal.h"
#include "train/checkpoints.h"
#include "train/fingerprint.h"
#include "train/health_answers.h"
#include "train/held_out.h"
#include "train/hidden_states.h"
#include "train/lora.h"
#include "train/memory.h"
#include "train/metrics.h"
#include "train/nccl_ranks.h"
#include "train/preflight.h"
#include "train/ranks.h"
#include "train/rollouts.h"
#include "train/schedule.h"
#include "train/step.h"
#include "train/step_plan.h"
#include "train/teacher_states.h"

namespace retort::train {
namespace {

// What the loss is, and how much of the teacher it knows.
std::string loss_name(const TrainExamples& examples, const TrainOptions& options) {
  std::string name = describe(objective_mix(options));
  if (examples.signal == nullptr) return name;
  const dataset::SignalHeader& header = examples.signal->header();
  const std::string slots = std::to_string(header.slots);
  switch (header.kind) {
    case dataset::SignalKind::kSampled: return name + ", estimated from " + slots + " drawn tokens a place";
    case dataset::SignalKind::kTopK: return name + ", over the " + slots + " likeliest tokens and the rest as one";
    case dataset::SignalKind::kLogprobs:
      return name + ", estimated from what was told of the likeliest tokens and the drawn one (at most " + slots + ")";
  }
  return name;
}

Result<TrainSummary> summary_from_json(const Json& json, const std::string& what) {
  TrainSummary summary;
  RETORT_ASSIGN(summary.steps, member<std::int64_t>(json, "steps", what));
  RETORT_ASSIGN(summary.tokens, member<std::int64_t>(json, "tokens", what));
  RETORT_ASSIGN(summary.supervised_tokens, member<std::int64_t>(json, "supervised_tokens", what));
  RETORT_ASSIGN(summary.seconds, member<double>(json, "seconds", what));
  RETORT_ASSIGN(summary.tokens_per_s, member<double>(json, "tokens_per_s", what));
  RETORT_ASSIGN(summary.first_loss, member<double>(json, "first_loss", what));
  RETORT_ASSIGN(summary.final_loss, member<double>(json, "final_loss", what));
  RETORT_ASSIGN(summary.held_out_kl_before, member<double>(json, "held_out_kl_before", what));
  RETORT_ASSIGN(summary.held_out_kl, member<double>(json, "held_out_kl", what));
  RETORT_ASSIGN(summary.peak_rss_bytes, member<std::int64_t>(json, "peak_rss_bytes", what));
  RETORT_ASSIGN(summary.compute, member<std::string>(json, "compute", what));
  // Older ones have none of these.
  summary.peak_device_bytes = json.value("peak_device_bytes", std::int64_t{0});
  if (json.contains("held_out_cross_entropy")) {
    RETORT_ASSIGN(summary.held_out_cross_entropy, member<double>(json, "held_out_cross_entropy", what));
    RETORT_ASSIGN(summary.held_out_cross_entropy_before, member<double>(json, "held_out_cross_entropy_before", what));
  }
  if (json.contains("health_before")) {
    RETORT_ASSIGN(summary.health_before, student_health_from_json(json["health_before"], what));
  }
  if (json.contains("health")) {
    RETORT_ASSIGN(summary.health, student_health_from_json(json["health"], what));
  }
  if (json.contains("warnings")) {
    RETORT_ASSIGN(summary.warnings, member<std::vector<std::string>>(json, "warnings", what));
  }
  return summary;
}

struct Files {
  std::filesystem::path metrics, student, summary, preflight, adapter;
  explicit Files(const std::filesystem::path& folder)
      : metrics(folder / "metrics.jsonl"),
        student(folder / "student.safetensors"),
        summary(folder / "summary.json"),
        preflight(folder / "preflight.json"),
        adapter(folder / "adapter") {}
};

// What can be said before anything is spent.
Result<void> check(const model::Decoder* teacher, const model::Decoder& student, const StepPlan& plan,
                   const TrainExamples& examples, const TrainOptions& options) {
  RETORT_CHECK(teacher != nullptr || ((options.signal == "text" || options.signal == "logprobs") &&
                                      options.hidden_state_weight == 0 && options.on_policy_from >= 1));
  if (teacher != nullptr && teacher->config().vocabulary != student.config().vocabulary) {
    return caller_error("The teacher's vocabulary has " + std::to_string(teacher->config().vocabulary) +
                        " tokens and the student's " + std::to_string(student.config().vocabulary) +
                        "; the objective needs the same one. Take a student cut from this teacher.");
  }
  RETORT_CHECK(reads_signal(options) == (examples.signal != nullptr));
  if (options.hidden_state_weight > 0) {
    RETORT_TRY(check_hidden_states(teacher->config(), student.config()));
  }
  if (plan.steps().empty()) {
    return caller_error(
        "There is nothing to train on: of " + std::to_string(examples.train.size()) +
        " exchanges none has a supervised token within train.max_length = " + std::to_string(options.max_length) +
        ". Collect more, raise train.max_length, or see train.supervise.");
  }
  const auto vocabulary = static_cast<TokenId>(student.config().vocabulary);
  for (const auto& part : {examples.train, examples.held_out}) {
    for (const dataset::Example& example : part) {
      for (const TokenId id : example.ids) {
        if (id >= 0 && id < vocabulary) continue;
        return caller_error("The exchange " + example.exchange_id.short_hex() + " holds the token id " +
                            std::to_string(id) + "; the vocabulary ends at " + std::to_string(vocabulary - 1) +
                            ". It was made with another tokenizer: collect anew.");
      }
    }
  }
  return {};
}

std::string detail(const StepMetrics& metrics, const char* measured, double held_out) {
  char text[96];
  if (held_out >= 0) {
    std::snprintf(text, sizeof(text), "loss %.3f, held-out %s %.3f", metrics.loss, measured, held_out);
  } else {
    std::snprintf(text, sizeof(text), "loss %.3f", metrics.loss);
  }
  return text;
}

class Training {
 public:
  Training(std::optional<model::Decoder> teacher, const TrainExamples& examples, const TrainOptions& options,
           const std::filesystem::path& folder, Ranks& ranks, Clock& clock, Progress& progress, std::stop_token stop,
           const TrainHelpers& helpers)
      : teacher_(std::move(teacher)),
        examples_(examples),
        options_(options),
        files_(folder),
        checkpoints_(folder, options.keep_checkpoints),
        ranks_(ranks),
        clock_(clock),
        progress_(progress),
        stop_(std::move(stop)),
        helpers_(helpers),
        computed_in_(teacher_ ? ComputedIn{teacher_->compute_type(), teacher_->backend()} : helpers.computed_in),
        plan_(examples.train, options),
        objective_name_(loss_name(examples, options)) {}

  Result<TrainSummary> run(std::optional<model::Decoder> student) {
    const model::Decoder* teacher = teacher_ ? &*teacher_ : nullptr;
    RETORT_TRY(check(teacher, *student, plan_, examples_, options_));
    position_.fingerprint = fingerprint(teacher, *student, computed_in_.type, examples_, options_);
    RETORT_TRY(agree());
    const bool complete_here = ranks_.leads() && is_there(files_.student);
    RETORT_ASSIGN(const bool is_complete, ranks_.any(complete_here));
    if (is_complete) return ranks_.leads() ? finished() : TrainSummary();
    const model::DecoderConfig config = student->config();
    std::optional<TeacherStates> states = kept_states();
    std::optional<CachedSignal> cached;
    if (options_.signal != "online") cached.emplace(examples_.signal, examples_.train, options_.max_length);
    if (trains_adapters(options_)) {
      tell_adapters(config);
      // What is computed with are the weights themselves in FP32; else they can be made again, or must be kept.
      const bool needed = ranks_.leads() && computed_in_.type != model::ComputeType::kFloat32;
      if (needed && !helpers_.make_student_again) start_ = *student;
    }
    StepRunner runner = teacher_ ? StepRunner(*teacher_, std::move(*student), options_, clock_,
                                              states ? &*states : nullptr, &ranks_, cached ? &*cached : nullptr)
                                 : StepRunner(computed_in_, std::move(*student), options_, clock_, &ranks_, *cached);
    student = std::nullopt;  // the runner has what it needs of it
    RETORT_TRY(resume(runner));
    RETORT_TRY(prove(runner));
    runner.sharding().forget_gradients();
    release_memory();  // what the checks had, and the student before the runner took it over
    started_s_ = clock_.monotonic_s() - position_.seconds;
    const HeldOut held_out(runner, examples_.held_out, helpers_.text, helpers_.end_ids, options_, ranks_);
    if (ranks_.leads()) {
      health_answers_.emplace(examples_.held_out, options_, helpers_.answer_sampling, helpers_.end_ids,
                              static_cast<std::size_t>(config.context));
    }
    if (position_.step == 0) {
      RETORT_ASSIGN(const HeldOutFigures before, measure(runner, held_out, true));
      position_.held_out_kl_before = before.loss;
      health_before_ = before.health;
    }
    held_out_ = position_.held_out_kl_before;
    if (ranks_.leads()) {
      RETORT_ASSIGN(metrics_, MetricsFile::open(files_.metrics, position_.step));
      if (position_.step > 0) {
        RETORT_ASSIGN(const std::vector<StepMetrics> lines, read_metrics(files_.metrics));
        if (!lines.empty()) health_before_ = lines.front().health_before;
      }
    }
    RETORT_TRY(prepare_rollouts());
    // What is kept says the rest; the held-out measure needs no more than its head.
    if (teacher_ && cached && !rollouts_) teacher_->forget_blocks();
    RETORT_TRY(steps(runner, held_out));
    return complete(runner, config);
  }

 private:
  // All ranks must be about to do the same.
  Result<void> agree() {
    RETORT_ASSIGN(const std::string leaders, ranks_.share(position_.fingerprint));
    RETORT_ASSIGN(const bool differ, ranks_.any(leaders != position_.fingerprint));
    if (!differ) return {};
    return caller_error(
        "The ranks don't agree on the training: options, exchanges, teacher or student differ between them. Start all "
        "of "
        "them by the same command, with the same files and the same version of the program.");
  }

  Result<TrainSummary> finished() const {
    RETORT_ASSIGN(const model::SafetensorsReader reader, model::SafetensorsReader::open(files_.student));
    const std::string what = files_.student.string();
    const auto found = reader.metadata().find("training");
    RETORT_ASSIGN(const Json json, parse_json(found == reader.metadata().end() ? "{}" : found->second, what));
    RETORT_ASSIGN(const std::string made_by, member<std::string>(json, "fingerprint", what));
    if (made_by != position_.fingerprint) return another_training(files_.student);
    RETORT_ASSIGN(const std::string text, read_file(files_.summary));
    RETORT_ASSIGN(const Json written, parse_json(text, files_.summary.string()));
    RETORT_ASSIGN(TrainSummary summary, summary_from_json(written, files_.summary.string()));
    summary.checkpoint = files_.student;
    return summary;
  }

  void tell_adapters(const model::DecoderConfig& config) const {
    const model::AdapterConfig adapters = adapter_config(options_);
    progress_.note("Adapters of rank " + std::to_string(adapters.rank) + " are trained beside " +
                   std::to_string(adapted_matrices(config, adapters).size()) +
                   " matrices: " + human_count(adapter_parameter_count(config, adapters)) +
                   " parameters; the student's " + human_count(parameter_count(config)) + " stay as they are.");
  }

  // The student's FP32 weights with the adapters merged into them. At the end: the runner's may be written over.
  Result<std::vector<model::NamedTensor>> merged(const StepRunner& runner,
                                                 const std::vector<model::NamedTensor>& adapters) {
    const model::AdapterConfig config = adapter_config(options_);
    RETORT_TRY(model::write_peft_adapter(files_.adapter, config, adapters));
    std::optional<model::Decoder> again;
    const model::Decoder* base = start_ ? &*start_ : &runner.student();
    if (base->compute_type() != model::ComputeType::kFloat32) {
      RETORT_ASSIGN(again, helpers_.make_student_again());
      base = &*again;
    }
    std::vector<model::NamedTensor> weights = base->named_parameters();
    if (!are_weights_of(runner.student(), weights)) {
      return world_error(
          "The adapters can't be merged: the model the student was made from is not what it was when training began. "
          "Put the old file back and give the same command again; the training itself is kept.");
    }
    merge_adapters(weights, adapters, config.scale());
    return weights;
  }

  // Room for the teacher's states, when there is a second pass to use them in and they fit.
  std::optional<TeacherStates> kept_states() const {
    if (plan_.steps().back().epoch == 0 || options_.teacher_states_mb == 0) return std::nullopt;
    if (options_.hidden_state_weight > 0) return std::nullopt;  // needs more of the teacher than is kept
    if (ranks_.world() > 1) return std::nullopt;                // an example comes to another rank in every pass
    if (options_.signal != "online") return std::nullopt;       // the teacher isn't asked
    const std::int64_t hidden = teacher_->config().hidden;
    const at::ScalarType dtype = model::dtype_of(computed_in_.type);
    const std::int64_t bytes = TeacherStates::bytes(examples_.train, options_.max_length, hidden, dtype);
    if (bytes > options_.teacher_states_mb * 1'000'000) {
      progress_.note("The teacher reads every exchange in every pass: its states would take " +
                     human_bytes(static_cast<std::uint64_t>(bytes)) + ", more than train.teacher_states_mb allows.");
      return std::nullopt;
    }
    return std::make_optional<TeacherStates>(examples_.train, options_.max_length, hidden, dtype);
  }

  // A training that was resumed lacks states of its first pass: they are worked out as that pass did, batch by batch,
  // so that the losses are those of an unbroken run. Before the second pass, once.
  void complete_states(StepRunner& runner) {
    states_complete_ = true;
    for (std::size_t i = 0; plan_.steps()[i].epoch == 0 && !stop_.stop_requested(); ++i) {
      runner.keep_states(plan_.rows(i));
    }
  }

  // The checks before anything is spent; each rank makes them for itself.
  Result<void> prove(StepRunner& runner) {
    const PreflightInput input{teacher_ ? &*teacher_ : nullptr, examples_.train, helpers_.open_other_engine,
                               helpers_.other_engine_name, helpers_.decode};
    RETORT_ASSIGN(const std::vector<Check> own, preflight(runner, options_, input));
    std::vector<Check> checks = helpers_.checks;
    checks.insert(checks.end(), own.begin(), own.end());
    Json json = Json::array();
    for (const Check& check : checks) {
      progress_.note((check.passed ? "checked: " : "FAILED: ") + check.question + " " + check.measured + ".");
      json.push_back(to_json(check));
    }
    if (ranks_.leads()) RETORT_TRY(write_file(files_.preflight, canonical_json(json) + "\n"));
    const std::optional<Failure> failure = failure_of(checks);
    RETORT_ASSIGN(const bool any, ranks_.any(failure.has_value()));
    if (failure) return *failure;
    if (any) return world_error("Another rank's checks failed; its own output says which.");
    return {};
  }

  Result<void> prepare_rollouts() {
    if (plan_.first_on_policy() == plan_.steps().size()) return {};
    if (helpers_.rollouts == nullptr && ranks_.leads()) {
      return caller_error(
          "train.on_policy_from asks for the student's own answers; nobody here can ask for them. Set it to 1.");
    }
    rollouts_.emplace(helpers_.rollouts, ranks_, plan_, options_, position_.fingerprint, examples_.train,
                      helpers_.end_ids);
    return {};
  }

  Result<void> resume(StepRunner& runner) {
    std::vector<model::NamedTensor> states;
    std::string found;
    if (ranks_.leads()) {
      states = runner.sharding().whole_states();
      RETORT_ASSIGN(const std::optional<TrainPosition> saved,
                    checkpoints_.load(states, position_.fingerprint, progress_));
      if (saved) found = canonical_json(to_json(*saved));
    }
    RETORT_ASSIGN(found, ranks_.share(found));
    if (found.empty()) return {};
    RETORT_ASSIGN(const Json json, parse_json(found, "checkpoint"));
    RETORT_ASSIGN(position_, position_from_json(json, "checkpoint"));
    if (!ranks_.leads()) states = runner.sharding().whole_states();
    RETORT_TRY(runner.sharding().scatter_states(states));
    runner.optimiser().set_steps_done(position_.step);
    runner.optimiser().refresh_compute();
    RETORT_TRY(runner.sharding().spread_weights());
    progress_.note("Training goes on from step " + std::to_string(position_.step) + " of " +
                   std::to_string(plan_.steps().size()) + ".");
    return {};
  }

  Result<void> save(StepRunner& runner) {
    position_.seconds = clock_.monotonic_s() - started_s_;
    RETORT_ASSIGN(const std::vector<StateTensor> states, runner.sharding().gather_states());
    if (!ranks_.leads()) return {};
    return checkpoints_.save(states, position_);
  }

  Result<void> steps(StepRunner& runner, const HeldOut& held_out) {
    const auto total_steps = static_cast<std::int64_t>(plan_.steps().size());
    const Schedule schedule{
        options_.learning_rate, options_.final_learning_rate_fraction,
        static_cast<std::int64_t>(std::ceil(options_.warmup_fraction * static_cast<double>(total_steps))), total_steps};
    if (plan_.cut_examples() > 0) {
      progress_.note(human_count(plan_.cut_examples()) +
                     " exchanges are longer than train.max_length = " + std::to_string(options_.max_length) +
                     " and lose " + human_count(plan_.cut_tokens()) + " tokens at their ends.");
    }
    progress_.begin("train", static_cast<double>(plan_.tokens()), "tokens");
    while (position_.step < total_steps) {
      RETORT_ASSIGN(const bool stopped, ranks_.any(stop_.stop_requested()));
      if (stopped) {
        RETORT_TRY(save(runner));
        progress_.end("stopped at step " + std::to_string(position_.step));
        return interrupted("Training was stopped after step " + std::to_string(position_.step) + " of " +
                           std::to_string(total_steps) + " and saved; the same command goes on from there.");
      }
      const bool first_pass = plan_.steps()[static_cast<std::size_t>(position_.step)].epoch == 0;
      if (!first_pass && !states_complete_) {
        complete_states(runner);
        continue;
      }
      StepRows rows{plan_.rows(static_cast<std::size_t>(position_.step)), {}};
      if (rollouts_ && plan_.steps()[static_cast<std::size_t>(position_.step)].rollout_tokens > 0) {
        auto own = rollouts_->of_step(static_cast<std::size_t>(position_.step), runner.student(), stop_);
        if (!own && own.error().fault == Fault::kInterrupted) continue;  // saved above
        if (!own) return Failure(std::move(own.error()));
        rows.rollouts = *own;
        tell(rollouts_->last());
      }
      RETORT_TRY(one_step(runner, rows, held_out, schedule));
      const bool last = position_.step == total_steps;
      if (!last && options_.checkpoint_every > 0 && position_.step % options_.checkpoint_every == 0) {
        RETORT_TRY(save(runner));
      }
    }
    return {};
  }

  // Where the trouble showed first, as far as it can be known.
  Failure not_finite(const StepRunner& runner, const StepResult& result, const StepMetrics& line) const {
    const std::string step = " at step " + std::to_string(position_.step + 1);
    const std::string place = " of " + std::to_string(result.sums.tokens) + " supervised tokens" + step;
    if (result.sums.bad_teacher_rows > 0) {
      return world_error("The teacher logits hold NaN or infinity at " + std::to_string(result.sums.bad_teacher_rows) +
                         place + ". Nothing was written over: check the teacher's file, or set train.compute to fp32.");
    }
    if (result.sums.bad_student_rows > 0) {
      return world_error("The student logits hold NaN or infinity at " + std::to_string(result.sums.bad_student_rows) +
                         place + " (learning rate " + std::to_string(line.learning_rate) +
                         "). Nothing was written over: lower train.learning_rate, or set train.clip_norm.");
    }
    if (!std::isfinite(line.loss) || !std::isfinite(line.kl.value_or(0))) {
      return world_error("The loss is no longer a finite number" + step +
                         ", though all logits are: the student rules "
                         "out (-inf) a token that the teacher expects. Nothing was written over: check that both have "
                         "the same vocabulary.");
    }
    const std::string parameter = runner.not_finite_gradient();
    return world_error("The gradient" + (parameter.empty() ? std::string() : " of " + parameter) +
                       " is no longer a finite number" + step + " (learning rate " +
                       std::to_string(line.learning_rate) +
                       "). Nothing was written over: lower train.learning_rate, or set train.clip_norm.");
  }

  void tell(const RolloutRows::Round& round) {
    if (!round.fresh) return;
    const AnswerFigures& own = round.answers.student;
    char text[200];
    std::snprintf(text, sizeof(text), "Round %lld of the student's own answers: %lld, %.0f tokens each, %.0f %% empty.",
                  static_cast<long long>(round.number) + 1, static_cast<long long>(own.answers), own.tokens,
                  100 * own.empty);
    progress_.note(text);
  }

  // The held-out figures; `ask`: with the student's own answers, on the rank that leads.
  Result<HeldOutFigures> measure(StepRunner& runner, const HeldOut& held_out, bool ask) {
    RETORT_ASSIGN(HeldOutFigures figures, held_out.measure(runner));
    if (ask && figures.health && health_answers_ && !health_answers_->empty()) {
      // Logits that aren't finite can't be drawn from; the next step stops at them and says more.
      const auto answers = health_answers_->measure(runner.student());
      if (answers) figures.health->answers = *answers;
    }
    return figures;
  }

  // Each kind once a session; the lines keep them all.
  void warn(const StepMetrics& line) {
    for (const HealthWarning& warning : warnings(line, health_before_ ? &*health_before_ : nullptr)) {
      if (!warned_.insert(warning.kind).second) continue;
      progress_.note("warning: after step " + std::to_string(line.step) + ": " + warning.sentence);
    }
  }

  Result<void> one_step(StepRunner& runner, const StepRows& rows, const HeldOut& held_out, const Schedule& schedule) {
    const auto index = static_cast<std::size_t>(position_.step);
    const PlannedStep& planned = plan_.steps()[index];
    StepMetrics line;
    line.learning_rate = schedule.learning_rate(position_.step);
    const double before_s = clock_.monotonic_s();
    RETORT_ASSIGN(const StepResult result, runner.step(rows, line.learning_rate));
    const double step_s = clock_.monotonic_s() - before_s;

    const auto targets = static_cast<double>(result.sums.tokens);
    if (options_.signal != "text") line.kl = result.sums.kl / targets;
    line.cross_entropy = result.sums.cross_entropy / targets;
    line.loss = result.sums.loss / targets;
    line.objective = objective_name_;
    if (result.rollouts.tokens > 0) {
      const auto own = static_cast<double>(result.rollouts.tokens);
      line.rollout_loss = result.rollouts.loss / own;
      line.rollout_kl = result.rollouts.kl / own;
      if (line.kl && targets > own) line.data_kl = (result.sums.kl - result.rollouts.kl) / (targets - own);
      if (rollouts_->last().begins) line.rollouts = rollouts_->last().answers;
    }
    if (options_.hidden_state_weight > 0) line.hidden_state_error = result.hidden_state_error;
    line.gradient_norm = result.gradient_norm;
    if (!std::isfinite(line.loss) || !std::isfinite(line.kl.value_or(0)) || !std::isfinite(line.gradient_norm)) {
      return not_finite(runner, result, line);
    }
    position_.step += 1;
    std::int64_t tokens = planned.tokens;
    for (const dataset::PackedRow& row : rows.rollouts) tokens += row.used;
    position_.tokens += tokens;
    position_.supervised_tokens += result.sums.tokens;
    position_.step_seconds += step_s;
    if (position_.step == 1) position_.first_loss = line.loss;
    line.step = position_.step;
    line.epoch = planned.epoch + 1;
    line.tokens = position_.tokens;
    line.supervised_tokens = position_.supervised_tokens;
    line.tokens_per_s = step_s > 0 ? static_cast<double>(tokens) / step_s : 0;
    const bool last = index + 1 == plan_.steps().size();
    const bool due = options_.held_out_every > 0 && position_.step % options_.held_out_every == 0;
    if (!held_out.empty() && (last || due)) {
      const bool ask = last || position_.step % (kHealthAnswersEvery * options_.held_out_every) == 0;
      RETORT_ASSIGN(const HeldOutFigures figures, measure(runner, held_out, ask));
      held_out_ = figures.loss;
      (teacher_ ? line.held_out_kl : line.held_out_cross_entropy) = held_out_;
      line.health = figures.health;
    }
    if (line.step == 1) line.health_before = health_before_;
    line.elapsed_s = clock_.monotonic_s() - started_s_;
    if (metrics_) {
      RETORT_TRY(metrics_->append(line));
      warn(line);
    }
    progress_.advance(static_cast<double>(position_.tokens),
                      detail(line, teacher_ ? "KL" : "cross-entropy", held_out_));
    return {};
  }

  Result<TrainSummary> complete(StepRunner& runner, const model::DecoderConfig& config) {
    TrainSummary summary;
    summary.steps = position_.step;
    summary.tokens = position_.tokens;
    summary.supervised_tokens = position_.supervised_tokens;
    summary.seconds = clock_.monotonic_s() - started_s_;
    summary.tokens_per_s =
        position_.step_seconds > 0 ? static_cast<double>(position_.tokens) / position_.step_seconds : 0;
    summary.first_loss = position_.first_loss;
    (teacher_ ? summary.held_out_kl_before : summary.held_out_cross_entropy_before) = position_.held_out_kl_before;
    (teacher_ ? summary.held_out_kl : summary.held_out_cross_entropy) = held_out_;
    summary.compute = std::string(name_of(computed_in_.type));
    summary.checkpoint = files_.student;
    RETORT_ASSIGN(std::vector<model::NamedTensor> masters, runner.sharding().take_masters());
    if (!ranks_.leads()) return summary;
    if (trains_adapters(options_)) {
      RETORT_ASSIGN(masters, merged(runner, masters));
    }
    RETORT_ASSIGN(const std::vector<StepMetrics> lines, read_metrics(files_.metrics));
    const std::size_t tail = std::min(lines.size(), std::max<std::size_t>(1, lines.size() / 10));
    for (std::size_t i = lines.size() - tail; i < lines.size(); ++i) {
      summary.final_loss += lines[i].loss / static_cast<double>(tail);
    }
    summary.health_before = health_before_;
    if (!lines.empty()) summary.health = lines.back().health;
    for (const StandingWarning& warning : standing_warnings(lines)) summary.warnings.push_back(warning.text());
    summary.peak_rss_bytes = peak_memory_bytes();
    summary.peak_device_bytes = model::peak_device_memory_bytes(computed_in_.backend);
    // Times are in the summary alone: the same training gives the same student, to the last byte.
    RETORT_TRY(write_file(files_.summary, to_json(summary).dump(1) + "\n"));
    const Json training = {{"fingerprint", position_.fingerprint},
                           {"steps", summary.steps},
                           {"tokens", summary.tokens},
                           {"supervised_tokens", summary.supervised_tokens}};
    RETORT_TRY(model::save_weights(files_.student, config, masters, {{"training", canonical_json(training)}}));
    checkpoints_.remove_all();  // the state between steps has no further use
    progress_.end(human_count(summary.tokens) + " tokens in " + human_seconds(summary.seconds) + ", " +
                  human_count(std::llround(summary.tokens_per_s)) + " tokens/s");
    return summary;
  }

  std::optional<model::Decoder> teacher_;  // none: its text alone
  TrainExamples examples_;
  TrainOptions options_;
  Files files_;
  Checkpoints checkpoints_;
  Ranks& ranks_;
  Clock& clock_;
  Progress& progress_;
  std::stop_token stop_;
  TrainHelpers helpers_;
  ComputedIn computed_in_;
  StepPlan plan_;
  std::string objective_name_;
  TrainPosition position_;
  std::optional<model::Decoder> start_;  // FP32: what adapters will be merged into, where it had to be kept
  std::optional<RolloutRows> rollouts_;
  std::optional<HealthAnswers> health_answers_;  // on the rank that leads
  std::optional<StudentHealth> health_before_;
  std::set<std::string> warned_;
  std::optional<MetricsFile> metrics_;  // on the rank that leads
  double started_s_ = 0;
  double held_out_ = -1;  // HeldOutFigures::loss as last measured
  bool states_complete_ = false;
};

}  // namespace

Json to_json(const TrainSummary& summary) {
  Json json = {{"steps", summary.steps},
               {"tokens", summary.tokens},
               {"supervised_tokens", summary.supervised_tokens},
               {"seconds", summary.seconds},
               {"tokens_per_s", summary.tokens_per_s},
               {"first_loss", summary.first_loss},
               {"final_loss", summary.final_loss},
               {"held_out_kl_before", summary.held_out_kl_before},
               {"held_out_kl", summary.held_out_kl},
               {"peak_rss_bytes", summary.peak_rss_bytes},
               {"peak_device_bytes", summary.peak_device_bytes},
               {"compute", summary.compute},
               {"warnings", summary.warnings}};
  if (summary.held_out_cross_entropy >= 0) {
    json["held_out_cross_entropy_before"] = summary.held_out_cross_entropy_before;
    json["held_out_cross_entropy"] = summary.held_out_cross_entropy;
  }
  if (summary.health_before) json["health_before"] = to_json(*summary.health_before);
  if (summary.health) json["health"] = to_json(*summary.health);
  return json;
}

Result<TrainSummary> train(std::optional<model::Decoder> teacher, model::Decoder student, const TrainExamples& examples,
                           const TrainOptions& options, const std::filesystem::path& folder, Clock& clock,
                           Progress& progress, std::stop_token stop, const TrainHelpers& helpers) {
  const std::unique_ptr<Ranks> alone = helpers.ranks == nullptr ? one_rank() : nullptr;
  Ranks& met = helpers.ranks == nullptr ? *alone : *helpers.ranks;
  if (met.leads()) RETORT_TRY(make_folder(folder));
  try {
    std::unique_ptr<Ranks> on_devices;
    const model::Backend backend = teacher ? teacher->backend() : helpers.computed_in.backend;
    if (met.world() > 1 && backend == model::Backend::kCuda) {
      RETORT_ASSIGN(DeviceLink link, open_device_link());
      RETORT_ASSIGN(on_devices, join_on_devices(met, std::move(link)));
    }
    Training training(std::move(teacher), examples, options, folder, on_devices ? *on_devices : met, clock, progress,
                      std::move(stop), helpers);
    return training.run(std::move(student));
  } catch (const std::bad_alloc&) {
    return world_error(
        "There is not enough memory to train. Lower train.micro_batch_tokens or train.head_rows, or set "
        "train.recompute "
        "or train.optimiser_bits.");
  } catch (const c10::Error& error) {
    return world_error("The training could not be computed: " + std::string(error.what_without_backtrace()));
  }
}

}  // namespace retort::train
