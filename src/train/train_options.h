// The options of training: one declaration gives the recipe's keys (`train.…`), their defaults, ranges and help.
//
// A plain value; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "train/objective_options.h"

namespace retort::recipe {
template <class T>
class OptionSet;
}

namespace retort::train {

struct TrainOptions {
  ObjectiveWeights objective;        // train/objective_mix.h has the definitions
  double cross_entropy_weight = 0;   // loss = (1 - w) objective + w cross-entropy of the sampled token
  double beta = 0.5;                 // of jsd
  double skew = 0.1;                 // of skew_kl and skew_rkl
  double temperature = 1;            // divides both models' logits
  bool temperature_squared = false;  // the loss is multiplied by the temperature's square
  std::string signal = "online";     // what is known of the teacher: online, sampled, top_k, logprobs, text or auto
  std::int64_t signal_draws = 8;     // tokens a place of a sampled signal
  std::int64_t signal_top_k = 8;     // tokens a place of a top-k signal
  double hidden_state_weight = 0;    // of matching the teacher's hidden states between layers
  double on_policy_from = 1;         // share of the training after which rollouts are learnt from; 1: never
  double on_policy_share = 0.5;      // of a step's tokens that are then the student's own
  ObjectiveWeights on_policy_objective = {.by_term = {0, 1}};  // on rollouts: reverse_kl
  std::int64_t rollout_every = 16;                             // steps that a round of rollouts lasts
  std::int64_t rollout_tokens = 128;                           // at most, of an answer
  double rollout_temperature = 1;
  std::int64_t epochs = 2;                  // passes over the training exchanges, unless `tokens` is set
  std::int64_t tokens = 0;                  // stop after so many trained tokens; 0: `epochs` decides
  double learning_rate = 2e-4;              // highest, at the end of warm-up
  double embedding_rate = 1;                // of the embedding and the head, as a share of the learning rate; 0: frozen
  std::int64_t lora_rank = 0;               // of the adapters that are trained instead of the weights; 0: the weights
  double lora_alpha = 16;                   // adapters are added times alpha / rank
  std::string lora_targets = "all";         // "attention", "mlp" or "all": which matrices have one
  double final_learning_rate_fraction = 0;  // where the cosine ends, as a fraction of the highest
  double warmup_fraction = 0.05;            // of all steps
  std::int64_t tokens_per_step = 1024;      // of the global batch, padding included
  std::int64_t micro_batch_tokens = 2048;   // at most so many at once; more are accumulated
  std::int64_t max_length = 256;            // of a packed row
  std::string supervise = "sampled";        // "assistant" or "sampled" (the self-generated user's turn as well)
  double weight_decay = 0.01;               // decoupled; not on norms
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double clip_norm = 1.0;            // of the global gradient; 0: none
  std::int64_t optimiser_bits = 32;  // of each moment: 32 or 8
  std::string recompute = "none";    // "none" or "blocks": what backward works out again instead of keeping it
  std::int64_t seed = 1;
  std::int64_t checkpoint_every = 100;    // steps; 0: only at the end and when stopped
  std::int64_t keep_checkpoints = 1;      // the last so many
  std::int64_t held_out_every = 25;       // steps; 0: only at the end
  std::int64_t held_out_tokens = 4096;    // the fixed subset that is measured while training
  std::int64_t health_answers = 8;        // short answers of the student at every second measurement
  std::int64_t head_rows = 512;           // rows of logits that exist at a time
  std::int64_t teacher_states_mb = 1024;  // memory for the teacher's states, kept between passes; 0: none
  std::string compute = "auto";           // "auto", "bf16" or "fp32"
  std::string device = "auto";            // "auto", "cpu" or "cuda"
};

const recipe::OptionSet<TrainOptions>& train_option_set();

// Whether the teacher's signal is read from a file (train/cached_signal.h).
bool reads_signal(const TrainOptions& options);

// What is minimised on rollouts: on_policy_objective with the same beta, skew and temperature.
ObjectiveMix on_policy_mix(const TrainOptions& options);

}  // namespace retort::train
