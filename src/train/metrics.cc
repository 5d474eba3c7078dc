#include "train/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/files.h"
#include "base/json.h"

namespace retort::train {
namespace {

Json to_json(const StepMetrics& metrics) {
  Json json = {{"step", metrics.step},
               {"epoch", metrics.epoch},
               {"tokens", metrics.tokens},
               {"supervised_tokens", metrics.supervised_tokens},
               {"objective", metrics.objective},
               {"loss", metrics.loss},
               {"kl", nullptr},
               {"cross_entropy", metrics.cross_entropy},
               {"learning_rate", metrics.learning_rate},
               {"gradient_norm", metrics.gradient_norm},
               {"tokens_per_s", metrics.tokens_per_s},
               {"elapsed_s", metrics.elapsed_s},
               {"held_out_kl", nullptr}};
  if (metrics.kl) json["kl"] = *metrics.kl;
  if (metrics.rollout_loss) json["rollout_loss"] = *metrics.rollout_loss;
  if (metrics.hidden_state_error) json["hidden_state_error"] = *metrics.hidden_state_error;
  if (metrics.held_out_kl) json["held_out_kl"] = *metrics.held_out_kl;
  if (metrics.held_out_cross_entropy) json["held_out_cross_entropy"] = *metrics.held_out_cross_entropy;
  if (metrics.data_kl) json["data_kl"] = *metrics.data_kl;
  if (metrics.rollout_kl) json["rollout_kl"] = *metrics.rollout_kl;
  if (metrics.rollouts) json["rollouts"] = to_json(*metrics.rollouts);
  if (metrics.health) json["health"] = to_json(*metrics.health);
  if (metrics.health_before) json["health_before"] = to_json(*metrics.health_before);
  return json;
}

Result<StepMetrics> from_json(const Json& json, const std::string& what) {
  StepMetrics metrics;
  RETORT_ASSIGN(metrics.step, member<std::int64_t>(json, "step", what));
  RETORT_ASSIGN(metrics.epoch, member<std::int64_t>(json, "epoch", what));
  RETORT_ASSIGN(metrics.tokens, member<std::int64_t>(json, "tokens", what));
  RETORT_ASSIGN(metrics.supervised_tokens, member<std::int64_t>(json, "supervised_tokens", what));
  // Lines of before there was a choice have no name for it.
  if (json.contains("objective")) {
    RETORT_ASSIGN(metrics.objective, member<std::string>(json, "objective", what));
  }
  RETORT_ASSIGN(metrics.loss, member<double>(json, "loss", what));
  if (json.contains("kl") && !json["kl"].is_null()) {
    RETORT_ASSIGN(metrics.kl, member<double>(json, "kl", what));
  }
  RETORT_ASSIGN(metrics.cross_entropy, member<double>(json, "cross_entropy", what));
  RETORT_ASSIGN(metrics.learning_rate, member<double>(json, "learning_rate", what));
  RETORT_ASSIGN(metrics.gradient_norm, member<double>(json, "gradient_norm", what));
  RETORT_ASSIGN(metrics.tokens_per_s, member<double>(json, "tokens_per_s", what));
  RETORT_ASSIGN(metrics.elapsed_s, member<double>(json, "elapsed_s", what));
  if (json.contains("rollout_loss")) {
    RETORT_ASSIGN(metrics.rollout_loss, member<double>(json, "rollout_loss", what));
  }
  if (json.contains("hidden_state_error")) {
    RETORT_ASSIGN(metrics.hidden_state_error, member<double>(json, "hidden_state_error", what));
  }
  if (json.contains("held_out_kl") && !json["held_out_kl"].is_null()) {
    RETORT_ASSIGN(metrics.held_out_kl, member<double>(json, "held_out_kl", what));
  }
  if (json.contains("held_out_cross_entropy")) {
    RETORT_ASSIGN(metrics.held_out_cross_entropy, member<double>(json, "held_out_cross_entropy", what));
  }
  if (json.contains("data_kl") && !json["data_kl"].is_null()) {
    RETORT_ASSIGN(metrics.data_kl, member<double>(json, "data_kl", what));
  }
  if (json.contains("rollout_kl") && !json["rollout_kl"].is_null()) {
    RETORT_ASSIGN(metrics.rollout_kl, member<double>(json, "rollout_kl", what));
  }
  if (json.contains("rollouts")) {
    RETORT_ASSIGN(metrics.rollouts, own_answers_from_json(json["rollouts"], what));
  }
  if (json.contains("health")) {
    RETORT_ASSIGN(metrics.health, student_health_from_json(json["health"], what));
  }
  if (json.contains("health_before")) {
    RETORT_ASSIGN(metrics.health_before, student_health_from_json(json["health_before"], what));
  }
  return metrics;
}

}  // namespace

std::vector<HealthWarning> warnings(const StepMetrics& line, const StudentHealth* before) {
  std::vector<HealthWarning> all;
  if (line.rollouts) all = warnings(*line.rollouts);
  if (line.health) {
    for (HealthWarning& warning : warnings(*line.health, before)) all.push_back(std::move(warning));
  }
  return all;
}

std::string StandingWarning::text() const {
  return "After step " + std::to_string(first_step) + ": " + warning.sentence +
         (gone ? " It has recovered since." : "");
}

std::vector<StandingWarning> standing_warnings(std::span<const StepMetrics> lines) {
  std::vector<StandingWarning> all;
  const StudentHealth* before = !lines.empty() && lines.front().health_before ? &*lines.front().health_before : nullptr;
  for (const StepMetrics& line : lines) {
    const bool answers = line.rollouts || (line.health && line.health->answers);
    for (StandingWarning& standing : all) {  // unless this line says it again
      if (standing.warning.of_answers ? answers : line.health.has_value()) standing.gone = true;
    }
    for (HealthWarning& warning : warnings(line, before)) {
      const auto known = std::find_if(all.begin(), all.end(), [&](const StandingWarning& standing) {
        return standing.warning.kind == warning.kind;
      });
      if (known != all.end()) {
        known->gone = false;
      } else {
        all.push_back({std::move(warning), line.step, false});
      }
    }
  }
  return all;
}

Result<std::vector<StepMetrics>> read_metrics(const std::filesystem::path& path) {
  RETORT_ASSIGN(const std::string text, read_file(path));
  std::vector<StepMetrics> all;
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    const std::string what = path.string() + ", line " + std::to_string(all.size() + 1);
    RETORT_ASSIGN(const Json json, parse_json(std::string_view(text).substr(begin, end - begin), what));
    RETORT_ASSIGN(StepMetrics metrics, from_json(json, what));
    all.push_back(metrics);
    begin = end + 1;
  }
  return all;
}

Result<MetricsFile> MetricsFile::open(const std::filesystem::path& path, std::int64_t last_step) {
  std::string kept;
  if (last_step > 0 && is_there(path)) {
    RETORT_ASSIGN(const std::vector<StepMetrics> all, read_metrics(path));
    for (const StepMetrics& metrics : all) {
      if (metrics.step <= last_step) kept += canonical_json(to_json(metrics)) + "\n";
    }
  }
  RETORT_TRY(write_file(path, kept));
  return MetricsFile(path);
}

Result<void> MetricsFile::append(const StepMetrics& metrics) {
  const std::string line = canonical_json(to_json(metrics)) + "\n";
  const int descriptor = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  const bool written =
      descriptor >= 0 && ::write(descriptor, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!written) {
    return world_error("A line could not be appended to " + path_.string() + ": " + std::strerror(reason) +
                       ". Make room or check the folder's permissions; the same command goes on from the last "
                       "checkpoint.");
  }
  return {};
}

}  // namespace retort::train
