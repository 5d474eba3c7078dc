// One step of training: forward and backward of a global batch, and the update.
//
// The student's forward and backward run through autograd block by block; embedding and head are done by hand, so that
// a tied head has one gradient and (tokens, vocabulary) never exists. A block's gradients are added up, and in the last
// micro-batch begin to travel to the other ranks, while the blocks before it are still computed. With recomputation a
// block keeps nothing but its input until its turn comes (Chen et al., arXiv 1604.06174).
//
// Where adapters are trained (train/lora.h), they are the optimiser's parameters, and the weights are kept in the type
// that is computed in and nowhere else.
//
// Where the teacher gave its text alone, nobody's distribution is known: a step then learns from an empty CachedSignal,
// and what asks for the teacher must not be called.
//
// Ranks divide the rows of a step; what a step's losses and gradients are divided by is counted over all of its rows.
// Owns the student and the optimiser; borrows the teacher, if there is one. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "dataset/pack.h"
#include "model/decoder.h"
#include "train/adamw.h"
#include "train/batch.h"
#include "train/cached_signal.h"
#include "train/computed_in.h"
#include "train/objective.h"
#include "train/ranks.h"
#include "train/sharding.h"
#include "train/step_plan.h"
#include "train/teacher_states.h"
#include "train/train_options.h"

namespace retort::train {

// What a step learns from: rows of exchanges, and rows of the student's own answers.
struct StepRows {
  std::span<const dataset::PackedRow> data;
  std::span<const dataset::PackedRow> rollouts;
};

struct StepResult {               // of all ranks
  LossSums sums;                  // of all rows, before the update
  LossSums rollouts;              // of those, the student's own
  double loss = 0;                // nats per supervised token, with the hidden states' term: what the gradient is of
  double hidden_state_error = 0;  // mean over compared layers and tokens; 0 when it isn't trained on
  double gradient_norm = 0;       // before clipping
};

// Where the time of the steps went, in seconds of the clock.
struct StepPhases {
  double teacher_s = 0;
  double forward_s = 0;  // the student's
  double head_s = 0;     // both heads, the loss, and the gradients of the student's head
  double backward_s = 0;
  double optimiser_s = 0;

  StepPhases operator-(const StepPhases& other) const {
    return {teacher_s - other.teacher_s, forward_s - other.forward_s, head_s - other.head_s,
            backward_s - other.backward_s, optimiser_s - other.optimiser_s};
  }
};

class StepRunner {
 public:
  // The student's FP32 weights become the masters, or with adapters aren't needed any more, and it is computed in the
  // teacher's type. Its memory goes meanwhile, where nobody else holds it.
  // Both must have the same vocabulary. `states` (borrowed, may be null) saves the teacher's work from the second pass
  // on. `ranks` (borrowed, may be null: alone) train together; all of them make the same calls. `cached` (borrowed, may
  // be null) stands for the teacher in every step.
  StepRunner(const model::Decoder& teacher, model::Decoder student, const TrainOptions& options, const Clock& clock,
             TeacherStates* states = nullptr, Ranks* ranks = nullptr, const CachedSignal* cached = nullptr);
  // The same without a teacher: its text, or what a service told with it, is all there is.
  StepRunner(ComputedIn computed_in, model::Decoder student, const TrainOptions& options, const Clock& clock,
             Ranks* ranks, const CachedSignal& cached);

  bool has_teacher() const { return teacher_ != nullptr; }

  // `rows`: of the global batch. Error (kWorld): a rank was lost.
  Result<StepResult> step(const StepRows& rows, double learning_rate);

  // Of these rows on this rank alone, without a word to the others: leaves the gradient of `loss` in the optimiser, or
  // (loss()) nothing. gradient_norm isn't filled.
  StepResult gradients(const StepRows& rows, std::int64_t micro_batch_tokens);
  double loss(const StepRows& rows);

  // Fills the kept states of these rows where they are missing, computed in the micro-batches of step().
  void keep_states(std::span<const dataset::PackedRow> rows);

  // The teacher's hidden states at the supervised places [n, hidden].
  at::Tensor teacher_hidden(const Batch& batch) const;
  // The same of the student, without gradients.
  at::Tensor student_hidden(const Batch& batch) const;
  // Forward KL and cross-entropy at temperature 1, whatever is trained, without gradient or update; `teacher_hidden`
  // as above.
  LossSums measure(const Batch& batch, const at::Tensor& teacher_hidden);
  LossSums measure(const at::Tensor& student_hidden, const at::Tensor& teacher_hidden, std::span<const TokenId> targets,
                   const VisitLogits& visit = {});
  // The loss that trains, on logits that are there already (Objective::on_logits).
  LossSums on_logits(at::Tensor& student, const at::Tensor& teacher, std::span<const TokenId> targets,
                     std::int64_t tokens_in_step) {
    return objective_.on_logits(student, teacher, targets, tokens_in_step);
  }
  // The same against what is kept of the teacher, where it stands for it: row i for target i.
  LossSums on_logits(at::Tensor& student, const SparseSignal& signal, std::span<const TokenId> targets,
                     std::int64_t tokens_in_step) {
    return objective_.on_logits(student, signal, targets, tokens_in_step);
  }
  const CachedSignal* cached() const { return cached_; }
  // How surprised the teacher, or the student, is by `targets`: its cross-entropy alone.
  LossSums measure_teacher(const at::Tensor& teacher_hidden, std::span<const TokenId> targets);
  LossSums measure_student(const at::Tensor& student_hidden, std::span<const TokenId> targets,
                           const VisitLogits& visit = {});

  const StepPhases& phases() const { return phases_; }  // of all steps so far
  // A GPU works on while the next is asked for, so its phases show who waited, not what took long; waiting for it at
  // the end of each shows that, and costs speed. On a processor nothing changes.
  void wait_in_every_phase(bool wait) { laps_wait_for_ = wait ? student_.backend() : model::Backend::kKernels; }
  const model::Decoder& student() const { return student_; }
  AdamW& optimiser() { return optimiser_; }
  // For checks of the loss's parts one by one; options.hidden_state_weight to begin with.
  double hidden_state_weight() const { return options_.hidden_state_weight; }
  void set_hidden_state_weight(double weight) { options_.hidden_state_weight = weight; }
  // The first parameter whose gradient of the last step holds NaN or infinity, of the parts that this
  // rank updates; empty: none does.
  std::string not_finite_gradient() const;
  Sharding& sharding() { return *sharding_; }

 private:
  StepRunner(const model::Decoder* teacher, ComputedIn computed_in, model::Decoder student, const TrainOptions& options,
             const Clock& clock, TeacherStates* states, Ranks* ranks, const CachedSignal* cached);
  struct Totals {  // of a step, over its micro-batches
    std::int64_t tokens = 0;
    std::int64_t targets = 0;
    bool sums_are_single = true;  // no rank adds up several micro-batches
  };
  // What the teacher says of a micro-batch: hidden states at the supervised places, and between layers where wanted.
  struct TeacherSignal {
    at::Tensor hidden;
    std::vector<at::Tensor> layers;
    SparseSignal sparse;  // instead of both, with a kept signal
  };
  // `keep`: use and fill the kept states.
  TeacherSignal teacher_signal(RowSource source, std::span<const dataset::PackedRow> rows, const Batch& batch,
                               bool keep);
  struct MicroBatch {
    RowSource source = RowSource::kData;
    std::span<const dataset::PackedRow> rows;
  };
  // Those of a rank that have something to learn; nothing is computed for others.
  static std::vector<MicroBatch> micro_batches_of(const StepRows& rows, int rank, int world, std::int64_t tokens);
  static void count(std::span<const MicroBatch> batches, Totals& totals);
  // Of the parameters [first, last), whose gradients on this rank are complete.
  void begin_sums(std::size_t first, std::size_t last, const Totals& totals);
  enum class Pass { kLoss, kGradients, kLastGradients };  // the last of a rank in a step: sums begin to travel
  StepResult alone(const StepRows& rows, std::int64_t micro_batch_tokens, Pass pass);
  // Forward and backward of a micro-batch; gradients and losses are added up.
  void accumulate(const MicroBatch& micro_batch, const Totals& totals, Pass pass, bool keep, StepResult& result);
  void add_weights(model::Decoder student);  // as the optimiser's parameters
  void add_adapters();
  // The sums that a GPU still owed: see Objective::take_sums().
  void take_late_sums(StepResult& result);
  void finish(const Totals& totals, StepResult& result) const;  // sums become means
  void take_gradients(std::size_t first, std::size_t last);     // of parameters that autograd has been through

  const model::Decoder* teacher_;  // null: its text alone
  model::Decoder student_;
  TrainOptions options_;
  const Clock& clock_;
  TeacherStates* states_;
  const CachedSignal* cached_;
  StepPhases phases_;
  model::Backend laps_wait_for_ = model::Backend::kKernels;
  AdamW optimiser_;
  std::unique_ptr<Ranks> alone_;
  Ranks& ranks_;
  std::optional<Sharding> sharding_;  // once all parameters are added
  Objective objective_;
  std::vector<model::NamedTensor> parameters_;   // in the optimiser's order
  std::vector<std::size_t> blocks_;              // where each block's begin; then those after the last block
  std::optional<std::size_t> embedding_, head_;  // indices into them; none where adapters are trained
};

}  // namespace retort::train
