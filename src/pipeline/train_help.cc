#include "pipeline/train_help.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/json.h"
#include "dataset/teacher_signal.h"
#include "model/backend.h"
#include "model/compute_probe.h"
#include "model/decoder.h"
#include "pipeline/run_options.h"
#include "pipeline/teacher.h"
#include "train/nccl_ranks.h"
#include "train/rank_messages.h"
#include "train/train.h"
#include "train/train_options.h"

namespace retort::pipeline {
namespace {

// A student that can't be read from the teacher's file: its shape and FP32 weights.
Json to_json(const model::Decoder* student) {
  if (student == nullptr) return {};
  Json tensors = Json::array();
  for (const auto& [name, tensor] : student->named_parameters()) {
    const auto* values = tensor.const_data_ptr<float>();
    tensors.push_back(train::packed(std::vector<float>(values, values + tensor.numel())));
  }
  return {{"config", model::to_json(student->config())}, {"tensors", std::move(tensors)}};
}

Result<model::Decoder> student_from(const Json& start, const LocalModel& local,
                                    const std::vector<std::int64_t>& layers) {
  if (start.is_null()) {
    return model::Decoder::from_gguf(
        local.file, {.compute = model::ComputeType::kFloat32, .backend = model::Backend::kKernels, .layers = layers});
  }
  RETORT_ASSIGN(const auto config, model::decoder_config_from_json(start.at("config"), "the first rank"));
  std::vector<model::NamedTensor> tensors;
  for (const std::string& name : model::tensor_names(config)) {
    const auto values = train::unpacked<float>(start.at("tensors").at(tensors.size()));
    tensors.push_back({name, at::tensor(values).view(model::tensor_shape(config, name))});
  }
  return model::Decoder::from_tensors(config, tensors, model::ComputeType::kFloat32);
}

}  // namespace

void use(const ComputeChoice& compute, int local_ranks) {
  use(compute);
  if (local_ranks <= 1) return;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  model::set_compute_threads(std::max(1, cores / local_ranks));
}

Result<std::string> device_for_all(train::Ranks& ranks, const std::string& wanted) {
  if (ranks.world() == 1 || wanted == "cpu") return wanted;
  std::string reason;
  if (const Result<void> opened = model::open_cuda(); !opened) {
    reason = opened.error().message;
  } else if (const auto link = train::open_device_link(); !link) {
    reason = link.error().message;
  }
  RETORT_ASSIGN(const bool some_lack_it, ranks.any(!reason.empty()));
  if (!some_lack_it) return "cuda";
  if (wanted == "auto") return "cpu";
  return caller_error("train.device: cuda asks for a GPU for each of the " + std::to_string(ranks.world()) +
                      " ranks, and " + (reason.empty() ? "another rank has none." : "this one has none. " + reason) +
                      " Start as many ranks as there are GPUs, or set train.device to cpu.");
}

Result<void> hand_out(train::Ranks& ranks, const TrainTask& task) {
  if (ranks.world() == 1) return {};
  RETORT_TRY(ranks.share(train::message_bytes({{"compute", to_json(task.compute)},
                                               {"layers", task.layers},
                                               {"start", to_json(task.start)},
                                               {"train", train::message_of(task.train)},
                                               {"held_out", train::message_of(task.held_out)},
                                               {"text", train::message_of(task.text)},
                                               {"signal", task.signal},
                                               {"signal_file", task.signal_file.string()}})));
  return {};
}

Result<void> dismiss(train::Ranks& ranks) {
  if (ranks.world() == 1) return {};
  RETORT_TRY(ranks.share(train::message_bytes(Json::object())));
  return {};
}

Result<void> help_to_train(train::Ranks& ranks, int local_ranks, const recipe::Recipe& recipe, const LocalModel& local,
                           Clock& clock, Progress& progress, std::stop_token stop) {
  RETORT_ASSIGN(const std::string bytes, ranks.share({}));
  const Json json = train::message_from(bytes);
  if (json.empty()) return {};
  RETORT_ASSIGN(const ComputeChoice compute, compute_choice_from_json(json.at("compute"), "the first rank"));
  const auto layers = json.at("layers").get<std::vector<std::int64_t>>();
  RETORT_ASSIGN(const std::vector<dataset::Example> examples, train::examples_from(json.at("train")));
  RETORT_ASSIGN(const std::vector<dataset::Example> held_out, train::examples_from(json.at("held_out")));
  RETORT_ASSIGN(const std::vector<dataset::Example> text, train::examples_from(json.at("text")));
  use(compute, local_ranks);
  std::optional<model::Decoder> decoder;
  if (!gives_text_alone(recipe.get(run_option_set()).teacher)) {
    RETORT_ASSIGN(decoder, model::Decoder::from_gguf(
                               local.file, {.compute = compute.type, .backend = compute.backend, .layers = {}}));
  }
  RETORT_ASSIGN(model::Decoder student, student_from(json.at("start"), local, layers));
  auto options = recipe.get(train::train_option_set());
  options.signal = json.at("signal").get<std::string>();
  std::optional<dataset::SignalFile> signal;
  if (const auto path = json.at("signal_file").get<std::string>(); !path.empty()) {
    RETORT_ASSIGN(signal, dataset::SignalFile::open(path));
  }
  train::TrainHelpers helpers;
  helpers.ranks = &ranks;
  helpers.computed_in = {compute.type, compute.backend};
  helpers.end_ids = local.format.end_ids();
  helpers.text = text;
  RETORT_TRY(train::train(std::move(decoder), std::move(student), {examples, held_out, signal ? &*signal : nullptr},
                          options, {}, clock, progress, std::move(stop), helpers));
  return {};
}

}  // namespace retort::pipeline
