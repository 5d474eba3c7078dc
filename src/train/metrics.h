// metrics.jsonl: one line a step, appended as training goes (docs/formats/metrics.md).
//
// A line that a kill left unfinished is dropped when the file is opened again, and so are lines after the step that
// training goes on from. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "train/health.h"

namespace retort::train {

struct StepMetrics {
  std::int64_t step = 0;    // from 1
  std::int64_t epoch = 0;   // from 1
  std::int64_t tokens = 0;  // through the student so far, padding excluded
  std::int64_t supervised_tokens = 0;
  std::string objective = "forward_kl";  // what the loss is: describe() of the mix
  double loss = 0;           // of the objective, without the hidden states' term; mean over the supervised tokens
  std::optional<double> kl;  // forward, nats per supervised token, at the objective's temperature; when known
  double cross_entropy = 0;  // nats per supervised token, at the objective's temperature
  std::optional<double>
      rollout_loss;  // the part of the student's own answers, per supervised token; when there are any
  std::optional<double>
      hidden_state_error;  // relative squared error, mean over layers and tokens; when it is trained on
  double learning_rate = 0;
  double gradient_norm = 0;                      // before clipping
  double tokens_per_s = 0;                       // of this step
  double elapsed_s = 0;                          // training so far, all sessions
  std::optional<double> held_out_kl;             // nats per supervised token, when measured after this step
  std::optional<double> held_out_cross_entropy;  // the same of the teacher's answers, where there is no KL to measure
  // Forward KL of the step by source, in nats per supervised token; on steps with rollouts, as far as known.
  std::optional<double> data_kl, rollout_kl;
  std::optional<OwnAnswers> rollouts;          // of the round that begins with this step
  std::optional<StudentHealth> health;         // beside held_out_kl
  std::optional<StudentHealth> health_before;  // on the first line: before any step
};

// A warning as it stands over the lines of a training.
struct StandingWarning {
  HealthWarning warning;        // as first given
  std::int64_t first_step = 0;  // after which it was given first
  bool gone = false;            // the last measurement of its kind no longer gives it
  std::string text() const;     // one sentence or two, with the step
};
std::vector<HealthWarning> warnings(const StepMetrics& line, const StudentHealth* before);
std::vector<StandingWarning> standing_warnings(std::span<const StepMetrics> lines);

class MetricsFile {
 public:
  // Keeps the lines of steps 1..last_step. Error: kWorld.
  static Result<MetricsFile> open(const std::filesystem::path& path, std::int64_t last_step);
  Result<void> append(const StepMetrics& metrics);

 private:
  explicit MetricsFile(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

// The whole lines of a file; an unfinished last line is left out. Error: kCaller when a line isn't one of ours.
Result<std::vector<StepMetrics>> read_metrics(const std::filesystem::path& path);

}  // namespace retort::train
