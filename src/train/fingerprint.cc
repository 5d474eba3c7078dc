#include "train/fingerprint.h"

#include <span>

#include "base/digest.h"
#include "base/json.h"
#include "dataset/teacher_signal.h"
#include "train/objective_mix.h"
#include "train/objective_options.h"

namespace retort::train {
namespace {

std::string weights_digest(const model::Decoder& decoder) {
  Sha256 digest;
  digest.update(canonical_json(to_json(decoder.config())));
  for (const model::NamedTensor& named : decoder.named_parameters()) {
    const at::Tensor values = named.tensor.detach().cpu().contiguous();
    const auto bytes = std::span(static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes());
    digest.update(named.name + " " + std::to_string(checksum64(bytes)) + "\n");
  }
  return digest.finish().hex();
}

// What is learnt of the teacher: a word, or everything that decides the kept rows.
Json signal_fingerprint(const TrainExamples& examples, const TrainOptions& options) {
  if (examples.signal == nullptr) return options.signal;
  return sha256(dataset::header_bytes(examples.signal->header())).hex();
}

Json on_policy_json(const TrainOptions& o) {
  if (o.on_policy_from >= 1) return nullptr;
  return {{"from", o.on_policy_from}, {"share", o.on_policy_share}, {"objective", describe(on_policy_mix(o))},
          {"every", o.rollout_every}, {"tokens", o.rollout_tokens}, {"temperature", o.rollout_temperature}};
}

}  // namespace

std::string fingerprint(const model::Decoder* teacher, const model::Decoder& student, model::ComputeType compute,
                        const TrainExamples& examples, const TrainOptions& o) {
  Json json = {{"objective", describe(objective_mix(o))},
               {"hidden_state_weight", o.hidden_state_weight},
               {"on_policy", on_policy_json(o)},
               {"signal", signal_fingerprint(examples, o)},
               {"epochs", o.tokens > 0 ? 0 : o.epochs},
               {"tokens", o.tokens},
               {"learning_rate", o.learning_rate},
               {"embedding_rate", o.embedding_rate},
               {"final_learning_rate_fraction", o.final_learning_rate_fraction},
               {"warmup_fraction", o.warmup_fraction},
               {"tokens_per_step", o.tokens_per_step},
               {"micro_batch_tokens", o.micro_batch_tokens},
               {"head_rows", o.head_rows},
               {"teacher_states_mb", o.teacher_states_mb},
               {"max_length", o.max_length},
               {"weight_decay", o.weight_decay},
               {"beta1", o.beta1},
               {"beta2", o.beta2},
               {"epsilon", o.epsilon},
               {"clip_norm", o.clip_norm},
               {"optimiser_bits", o.optimiser_bits},
               {"seed", o.seed},
               {"compute", std::string(name_of(compute))},
               {"examples", dataset::examples_digest(examples.train, o.max_length).hex()},
               {"teacher", teacher != nullptr ? Json(weights_digest(*teacher)) : Json(nullptr)},
               {"student", weights_digest(student)}};
  if (o.lora_rank > 0) json["lora"] = {{"rank", o.lora_rank}, {"alpha", o.lora_alpha}, {"targets", o.lora_targets}};
  return sha256(std::string_view(canonical_json(json))).hex();
}

}  // namespace retort::train
