#include "train/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

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
  return metrics;
}

}  // namespace

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
