// Training: a student learns the teacher's distribution on packed exchanges, with the teacher online or from what is
// kept of it. Held-out exchanges are always measured against the teacher itself, which reads them once. Without a
// teacher there is its text, and at most what a service told with it (options.signal is then text or logprobs): the
// cross-entropy of its answers is what is measured, and nothing that speaks of its whole distribution.
//
// The order of the data is a pure function of (seed, epoch); the loss of a step is the mean over the supervised tokens
// of the whole global batch, however it is split. `folder` receives
//   metrics.jsonl            a line a step (docs/formats/metrics.md)
//   checkpoint.safetensors   masters, moments and position; replaced atomically (docs/formats/checkpoint.md), and
//                            those before it as far as they are to be kept (train/checkpoints.h)
//   summary.json             the summary, when training is complete: with the times, which nothing else holds
//   preflight.json           the checks made before the first step
//   student.safetensors      the trained FP32 masters alone, written when training is complete
//                            (docs/formats/weights.md); with adapters the weights they were merged into
//   adapter/                 the adapters alone, where they are trained (model/peft_adapter.h)
// The same call on the same folder goes on from the checkpoint and gives the losses of an unbroken run; one that was
// complete returns its summary at once. A checkpoint of other options, data or models is refused.
//
// Several ranks train one student together when all of them make this call with the same arguments: the losses are
// those of one rank but for rounding, also when a training goes on with another number of them. The first one writes;
// the others' folder isn't looked at, and of their summaries only the counts are filled.
//
// The student arrives in FP32 (its weights become the masters) and is computed in the teacher's type, or as
// TrainHelpers says where there is none.
//
// One thread at a time; uses libtorch's threads inside. Owns the student; everything else is borrowed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json_fwd.h"
#include "base/progress.h"
#include "train/health.h"
#include "train/preflight.h"
#include "train/train_options.h"

namespace retort {
class Scorer;
}
namespace retort::model {
class Decoder;
}
namespace retort::dataset {
struct Example;
class SignalFile;
}  // namespace retort::dataset

namespace retort::train {

class Ranks;
class RolloutSource;

struct TrainSummary {
  std::int64_t steps = 0;
  std::int64_t tokens = 0;             // passed through the student, padding excluded
  std::int64_t supervised_tokens = 0;  // of those, the ones with a loss
  double seconds = 0;                  // of all sessions together, without the pauses between
  double tokens_per_s = 0;             // tokens / seconds of training steps alone
  double first_loss = 0;
  double final_loss = 0;  // mean of the last tenth of the steps
  // Nats per supervised token on the fixed part of the held-out examples; negative when there are none. Without a
  // teacher there is no KL but the cross-entropy of its answers.
  double held_out_kl_before = -1;
  double held_out_kl = -1;
  double held_out_cross_entropy_before = -1;
  double held_out_cross_entropy = -1;
  std::int64_t peak_rss_bytes = 0;                     // of the process
  std::int64_t peak_device_bytes = 0;                  // of a GPU's memory; 0 on the processor
  std::filesystem::path checkpoint;                    // student.safetensors
  std::string compute;                                 // "bfloat16" or "float32"
  std::optional<StudentHealth> health_before, health;  // on the held-out examples; absent when nothing is held out
  std::vector<std::string> warnings;                   // of the student's health, each with its step
};

Json to_json(const TrainSummary& summary);  // without the checkpoint's path

struct TrainExamples {
  std::span<const dataset::Example> train;
  std::span<const dataset::Example> held_out;  // may be empty: nothing is measured while training
  // What is kept of the teacher for `train`, where it is read from a file (reads_signal()): made for these examples,
  // this teacher and these options (dataset::check_fits).
  const dataset::SignalFile* signal = nullptr;
};

// What the caller lends to a training beside its data. All may be absent.
struct TrainHelpers {
  Ranks* ranks = nullptr;             // that train together; null: one process alone
  ComputedIn computed_in = {};        // how, without a teacher, whose way it is otherwise
  RolloutSource* rollouts = nullptr;  // needed when options.on_policy_from is below 1, of the rank that leads
  // Opens the same teacher on another engine, for the checks before the first step, and its name.
  std::function<Result<std::unique_ptr<Scorer>>()> open_other_engine;
  std::string other_engine_name;
  dataset::Decode decode;     // ids as text, for the same checks
  std::vector<Check> checks;  // made by the caller: they are said, kept and judged with the training's own
  // Makes the student that training begins with once more, where adapters are trained: its FP32 weights are needed only
  // at the end, to merge them into, and needn't be kept that long. Absent: they are kept.
  std::function<Result<model::Decoder>()> make_student_again = {};
  // For the student's health: what ends an answer, how the teacher's were drawn, and a text of the user's as examples
  // of which every token but the first is a target.
  std::vector<TokenId> end_ids = {};
  SamplingOptions answer_sampling = {};
  std::span<const dataset::Example> text = {};
};

// Before the first step of every session the training is checked on a few examples (train/preflight.h); the result is
// said, and written to preflight.json.
//
// Errors: kCaller when nothing is supervised, the vocabularies differ, or the folder holds another training's
// checkpoint; kWorld for the disk, for a check that failed and for a loss that is not finite; kInterrupted after saving
// when `stop` is requested of any rank.
Result<TrainSummary> train(std::optional<model::Decoder> teacher, model::Decoder student, const TrainExamples& examples,
                           const TrainOptions& options, const std::filesystem::path& folder, Clock& clock,
                           Progress& progress, std::stop_token stop, const TrainHelpers& helpers = {});

}  // namespace retort::train
