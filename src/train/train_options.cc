#include "train/train_options.h"

#include "recipe/option_set.h"
#include "train/kernels.h"

namespace retort::train {
namespace {

// A number that nothing reads is likelier a mistake than a wish.
void check_objective(const TrainOptions& options, recipe::Problems& problems) {
  const TrainOptions defaults;
  const ObjectiveWeights& objective = options.objective;
  const bool skewed = objective.of(Term::kSkewKl) + objective.of(Term::kSkewRkl) > 0;
  if (options.beta != defaults.beta && objective.of(Term::kJsd) == 0) {
    problems.add("train.beta", "has no use without jsd; expected jsd in train.objective, or no beta");
  }
  if (options.skew != defaults.skew && !skewed) {
    problems.add("train.skew", "has no use without skew_kl or skew_rkl; expected one of them in train.objective");
  }
  if (options.skew == 1 && skewed) {
    problems.add("train.skew", "is 1, where a skewed divergence is always 0; expected less, such as 0.1");
  }
  if (options.cross_entropy_weight > 0 && objective.of(Term::kCe) > 0) {
    problems.add("train.cross_entropy_weight",
                 "asks for cross-entropy once more; train.objective has ce already. Expected one of the two");
  }
}

void check_lora(const TrainOptions& options, recipe::Problems& problems) {
  const TrainOptions defaults;
  if (options.lora_rank == 0) {
    if (options.lora_alpha != defaults.lora_alpha) {
      problems.add("train.lora_alpha",
                   "has no use without adapters; expected train.lora_rank above 0, or no lora_alpha");
    }
    if (options.lora_targets != defaults.lora_targets) {
      problems.add("train.lora_targets",
                   "has no use without adapters; expected train.lora_rank above 0, or no lora_targets");
    }
  } else if (options.embedding_rate != defaults.embedding_rate && options.embedding_rate != 0) {
    problems.add(
        "train.embedding_rate",
        "has no use with adapters (train.lora_rank), beside which the embedding and the head stay as they are; "
        "expected 0, or no embedding_rate");
  }
}

// What is kept of the teacher must be enough for what is asked of it.
void check_signal(const TrainOptions& options, recipe::Problems& problems) {
  if (options.signal == "online" || options.signal == "auto") return;
  const bool text = options.signal == "text";
  for (std::size_t i = 0; i < kTerms; ++i) {
    const auto term = static_cast<Term>(i);
    if (options.objective.of(term) == 0 || term == Term::kCe || (term == Term::kForwardKl && !text)) continue;
    problems.add(
        "train.signal",
        "is " + options.signal + ", which " + (text ? "says nothing of" : "keeps a few tokens of") +
            " the teacher's distribution; " + std::string(name_of(term)) + " needs " +
            (text ? "more. Expected train.objective: ce, or another signal"
                  : "the whole of it. Expected train.signal: online, or forward_kl and ce in train.objective"));
    return;
  }
  if (options.signal == "logprobs" && options.temperature != 1) {
    problems.add(
        "train.temperature",
        "isn't 1, but what an API tells are probabilities at temperature 1 (train.signal: logprobs); expected 1");
  }
  if (options.hidden_state_weight > 0) {
    problems.add("train.signal", "is " + options.signal +
                                     ", but train.hidden_state_weight compares the teacher's layers in every pass; "
                                     "expected train.signal: online, or a weight of 0");
  }
}

}  // namespace

const recipe::OptionSet<TrainOptions>& train_option_set() {
  using O = TrainOptions;
  static const auto set =
      recipe::OptionSet<O>("train", "How the student learns from the teacher.")
          .add("objective", &O::objective,
               {.help = "What is minimised at every supervised token, over the whole vocabulary; several are added by "
                        "weight. forward_kl: KL(teacher || student); reverse_kl: KL(student || teacher); jsd: beta "
                        "KL(teacher || m) + (1 - beta) KL(student || m), m = beta teacher + (1 - beta) student; "
                        "skew_kl: KL(teacher || (1 - skew) student + skew teacher); skew_rkl: KL(student || (1 - skew) "
                        "teacher + skew student); tvd: half the sum of |teacher - student|; ce: the cross-entropy of "
                        "the teacher's text, the only one where that is all it gives.",
                .choices = term_names()})
          .add("cross_entropy_weight", &O::cross_entropy_weight,
               {.help = "Share w of the sampled token's cross-entropy in the loss: (1 - w) objective + w "
                        "cross-entropy.",
                .minimum = 0,
                .maximum = 1})
          .add("beta", &O::beta,
               {.help = "The teacher's share in jsd's mixture. 0 and 1 are defined as forward_kl and reverse_kl; at "
                        "0.5 teacher and student can be exchanged.",
                .minimum = 0,
                .maximum = 1})
          .add("skew", &O::skew,
               {.help = "How much of the one distribution skew_kl and skew_rkl mix into the other, which keeps them "
                        "and their gradients small where a student knows nothing. 1, where both are always 0, is "
                        "refused when one of them is asked for.",
                .minimum = 0,
                .maximum = 1})
          .add("temperature", &O::temperature,
               {.help = "Divides the logits of both models in every part of the objective. The held-out KL is always "
                        "measured at 1.",
                .minimum = 0,
                .maximum = 100,
                .above_minimum = true})
          .add("temperature_squared", &O::temperature_squared,
               {.help = "Multiplies the loss by the square of train.temperature, so that gradients keep their size."})
          .add("signal", &O::signal,
               {.help = "What the student learns of the teacher. online: its whole distribution, computed beside the "
                        "student's. sampled: train.signal_draws tokens a place, drawn once and kept in the run "
                        "(signal/teacher.signal), whose weights are its distribution on average. top_k: its "
                        "train.signal_top_k likeliest tokens, kept likewise, and the rest as one. logprobs: the "
                        "probabilities that "
                        "an API told with its answers (collect.logprobs), the drawn token in place of all others. "
                        "text: its text alone "
                        "(ce); that is also what online means of a teacher that gives nothing else. auto: the best "
                        "there is: online, but text where the objective is ce, a kept signal that fits where there is "
                        "one, and logprobs of a teacher of which there is nothing better. With a kept signal the "
                        "teacher's layers aren't run in training.",
                .choices = {"online", "sampled", "top_k", "logprobs", "text", "auto"}})
          .add("signal_draws", &O::signal_draws,
               {.unit = "tokens",
                .help = "Tokens kept a place of a sampled signal: 4 bytes each, or 5 with a vocabulary above 65,536, "
                        "and 8 bytes besides.",
                .minimum = 1,
                .maximum = kMostSparseTokens})
          .add("signal_top_k", &O::signal_top_k,
               {.unit = "tokens",
                .help = "Tokens kept a place of a top-k signal, of the same size.",
                .minimum = 1,
                .maximum = kMostSparseTokens})
          .add("hidden_state_weight", &O::hidden_state_weight,
               {.help = "Weight of a second term: what leaves each of the student's layers shall be what went into the "
                        "teacher's next kept layer (sum over layers of the squared distance as a share of the "
                        "teacher's squared length, mean over tokens). For students cut from their teacher; the "
                        "teacher then reads the exchanges in every pass. 0: off.",
                .minimum = 0,
                .maximum = 1000})
          .add("on_policy_from", &O::on_policy_from,
               {.help = "Share of the training after which the student also learns from its own answers, judged by the "
                        "teacher (GKD, arXiv 2306.13649): 0.75 is a warm-up on the exchanges and a last quarter with "
                        "rollouts. 1: never.",
                .minimum = 0,
                .maximum = 1})
          .add("on_policy_share", &O::on_policy_share,
               {.help = "Share of a step's tokens that are the student's own, once there are rollouts.",
                .minimum = 0,
                .maximum = 1,
                .above_minimum = true})
          .add("on_policy_objective", &O::on_policy_objective,
               {.help = "What is minimised on the student's own answers: a name or names with weights, as "
                        "train.objective.",
                .choices = term_names()})
          .add(
              "rollout_every", &O::rollout_every,
              {.unit = "steps",
               .help = "Steps that learn from one round of rollouts before the student, changed by then, answers anew.",
               .minimum = 1,
               .maximum = 1 << 20})
          .add("rollout_tokens", &O::rollout_tokens,
               {.unit = "tokens", .help = "The longest answer of a rollout.", .minimum = 1, .maximum = 1 << 17})
          .add("rollout_temperature", &O::rollout_temperature,
               {.help = "Temperature at which the student answers; nothing is cut from its distribution.",
                .minimum = 0,
                .maximum = 10})
          .add("epochs", &O::epochs,
               {.unit = "passes",
                .help = "Passes over the training exchanges; train.tokens, when set, decides instead.",
                .minimum = 1,
                .maximum = 1000})
          .add("tokens", &O::tokens,
               {.unit = "tokens",
                .help = "Train until so many tokens (prompts included, padding excluded) have been learnt from, in as "
                        "many passes as that takes. 0: train.epochs decides.",
                .minimum = 0})
          .add("learning_rate", &O::learning_rate,
               {.help = "The highest learning rate, reached at the end of warm-up.",
                .minimum = 0,
                .maximum = 1,
                .above_minimum = true})
          .add("embedding_rate", &O::embedding_rate,
               {.help = "Learning rate of the token embedding and the output head, as a share of train.learning_rate. "
                        "0: they stay as the teacher has them, which saves their part of the work.",
                .minimum = 0,
                .maximum = 1})
          .add("lora_rank", &O::lora_rank,
               {.help =
                    "LoRA (arXiv 2106.09685): every weight stays as it is, and beside the matrices of each layer two "
                    "thin ones of this rank are trained, whose product is added to them at the end. Takes no "
                    "gradient, optimiser state or FP32 master of the weights. Wants a higher train.learning_rate. "
                    "0: the weights themselves are trained.",
                .minimum = 0,
                .maximum = 4096})
          .add("lora_alpha", &O::lora_alpha,
               {.help = "The adapters' product is added times lora_alpha / lora_rank.",
                .minimum = 0,
                .maximum = 1 << 16,
                .above_minimum = true})
          .add("lora_targets", &O::lora_targets,
               {.help = "Which matrices have adapters: those of attention (query, key, value, output), those of the "
                        "feed-forward half (mlp: gate, up, down), or all of them.",
                .choices = {"attention", "mlp", "all"}})
          .add("final_learning_rate_fraction", &O::final_learning_rate_fraction,
               {.help = "Where the cosine ends, as a fraction of the highest learning rate.",
                .minimum = 0,
                .maximum = 1})
          .add("warmup_fraction", &O::warmup_fraction,
               {.help = "Share of the steps in which the learning rate rises linearly.", .minimum = 0, .maximum = 1})
          .add("tokens_per_step", &O::tokens_per_step,
               {.unit = "tokens",
                .help = "Tokens of one update of the weights (the global batch), in whole rows of train.max_length.",
                .minimum = 1,
                .maximum = 1 << 24})
          .add("micro_batch_tokens", &O::micro_batch_tokens,
               {.unit = "tokens",
                .help = "At most so many tokens are computed at once, for the sake of memory; gradients of more are "
                        "summed in FP32. Changes no result but rounding.",
                .minimum = 1,
                .maximum = 1 << 20})
          .add("max_length", &O::max_length,
               {.unit = "tokens",
                .help = "Length of a packed row; a longer exchange is cut at its end.",
                .minimum = 2,
                .maximum = 1 << 17})
          .add("supervise", &O::supervise,
               {.help =
                    "Which tokens have a loss: assistant is the assistant's turns with their end token; sampled adds "
                    "every other token the teacher sampled, such as the self-generated user's turn. A turn that came "
                    "over an API is text, and isn't among them.",
                .choices = {"assistant", "sampled"}})
          .add("weight_decay", &O::weight_decay,
               {.help = "Decoupled weight decay, not applied to norms.", .minimum = 0, .maximum = 1})
          .add("beta1", &O::beta1, {.help = "AdamW's decay of the mean gradient.", .minimum = 0, .maximum = 0.9999})
          .add("beta2", &O::beta2, {.help = "AdamW's decay of the mean square.", .minimum = 0, .maximum = 0.999999})
          .add("epsilon", &O::epsilon,
               {.help = "AdamW's term against division by zero.", .minimum = 0, .maximum = 1, .above_minimum = true})
          .add("clip_norm", &O::clip_norm,
               {.help = "The global gradient is scaled down to this norm when it is larger. 0: never.", .minimum = 0})
          .add("optimiser_bits", &O::optimiser_bits,
               {.unit = "bits",
                .help = "Of each of AdamW's two moments: 32, or 8 (block-wise dynamic quantisation; 6 bytes a weight "
                        "saved, norms keep 32).",
                .minimum = 8,
                .maximum = 32})
          .add("recompute", &O::recompute,
               {.help = "What the backward pass works out again rather than keeping it: with blocks, everything but "
                        "the input of each layer. Same result to the last bit, a third more work in the layers.",
                .choices = {"none", "blocks"}})
          .add("seed", &O::seed, {.help = "Decides the order of the exchanges.", .minimum = 0})
          .add("checkpoint_every", &O::checkpoint_every,
               {.unit = "steps",
                .help = "How often the state of training is saved, besides when it is stopped. 0: not in between.",
                .minimum = 0})
          .add("keep_checkpoints", &O::keep_checkpoints,
               {.help = "How many saved states are kept, the newest ones; if the newest turns out to be damaged, "
                        "training goes on from the one before.",
                .minimum = 1,
                .maximum = 1000})
          .add("held_out_every", &O::held_out_every,
               {.unit = "steps",
                .help = "How often KL and health of the student are measured on held-out exchanges. 0: only before and "
                        "after.",
                .minimum = 0})
          .add("held_out_tokens", &O::held_out_tokens,
               {.unit = "tokens",
                .help = "Size of the fixed part of the held-out exchanges that is measured while training.",
                .minimum = 1,
                .maximum = 1 << 24})
          .add(
              "health_answers", &O::health_answers,
              {.help =
                   "Short answers the student is asked for at every second held-out measurement, to warn early when it "
                   "empties, copies or loops; the same prompts and draws each time. 0: none.",
               .minimum = 0,
               .maximum = 1024})
          .add("head_rows", &O::head_rows,
               {.unit = "rows",
                .help = "Rows of logits that exist at a time; each takes 4 bytes a word of the vocabulary in bf16.",
                .minimum = 1,
                .maximum = 1 << 16})
          .add("teacher_states_mb", &O::teacher_states_mb,
               {.unit = "MB",
                .help = "Memory for the teacher's hidden states, kept so that it reads each exchange once, not in "
                        "every pass. Where they would need more, nothing is kept. 0: never.",
                .minimum = 0,
                .maximum = 1 << 20})
          .add("compute", &O::compute,
               {.help = "Type of matrices and activations; auto takes the one the probe measures as faster. Master "
                        "weights are FP32 either way.",
                .choices = {"auto", "bf16", "fp32"}})
          .add("device", &O::device,
               {.help = "Where to compute; auto takes a CUDA device when libtorch has its CUDA part and sees one; of "
                        "several ranks each takes one of its own, or none does.",
                .choices = {"auto", "cpu", "cuda"}})
          .check(check_objective)
          .check(check_signal)
          .check(check_lora)
          .check([](const O& options, recipe::Problems& problems) {
            if (options.optimiser_bits == 32 || options.optimiser_bits == 8) return;
            problems.add("train.optimiser_bits", "is " + std::to_string(options.optimiser_bits) + "; expected 32 or 8");
          });
  return set;
}

bool reads_signal(const TrainOptions& options) {
  return options.signal == "sampled" || options.signal == "top_k" || options.signal == "logprobs";
}

ObjectiveMix on_policy_mix(const TrainOptions& options) {
  TrainOptions own = options;
  own.objective = options.on_policy_objective;
  own.cross_entropy_weight = 0;  // nobody wants the student to be surer of what it happened to say
  return objective_mix(own);
}

}  // namespace retort::train
