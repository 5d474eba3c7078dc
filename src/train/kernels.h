// The inner loops of training, written for the machine's vector units.
//
// The same source is compiled for plain x86-64, AVX2 and AVX-512; kernels() gives the best the processor runs. All of
// them add in the same order (16 lanes), so that results differ only by fused rounding. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace retort::train {

using Bf16 = std::uint16_t;  // the upper half of an IEEE float

struct RowWeights {
  float kl = 1;             // of the forward KL in the loss
  float cross_entropy = 0;  // of the label's cross-entropy
  float scale = 1;          // the gradient is multiplied by it: 1 / supervised tokens of the global batch
};

// Any objective of train/objective_mix.h. beta and skew lie between 0 and 1, both ends excluded, where they are used.
struct RowMix {
  float forward_kl = 0, reverse_kl = 0, jsd = 0, skew_kl = 0, skew_rkl = 0, tvd = 0, cross_entropy = 0;
  float beta = 0.5F;
  float skew = 0.1F;
  float inverse_temperature = 1;
  float scale = 1;  // the gradient with respect to the logits times the temperature is multiplied by it
};

// A few tokens of the teacher's distribution with their weights, each token once; those of weight 0 are passed over.
inline constexpr std::size_t kMostSparseTokens = 64;
struct SparseTokens {
  const std::int32_t* ids;
  const float* weights;
  std::size_t count;  // at most kMostSparseTokens; may be 0
  bool bucket;        // what the weights lack of 1 is the teacher's mass on all other tokens together
  float entropy;      // of the teacher's whole distribution; read without `bucket`
};

struct SparseMix {
  float kl = 1;
  float cross_entropy = 0;
  float inverse_temperature = 1;
  float scale = 1;  // as in RowMix
};

// Of one row, in nats, at the temperature of the loss. Never negative, but for what drawn tokens estimate.
struct RowLoss {
  double loss = 0;           // the weighted sum
  double kl = 0;             // sum p_teacher (log p_teacher - log p_student)
  double cross_entropy = 0;  // -log p_student(target)
  // False: a logit is NaN or plus infinity, or all are minus infinity. Minus infinity alone is a token that can't come.
  bool student_finite = true;
  bool teacher_finite = true;
};

struct AdamStep {
  float learning_rate = 0;
  float beta1 = 0.9F;
  float beta2 = 0.95F;
  float epsilon = 1e-8F;
  float weight_decay = 0;
  float correction1 = 1;  // 1 - beta1^t
  float correction2 = 1;  // 1 - beta2^t
  float gradient_scale = 1;
};

// FP32 weights: `values`; or, where that is null, in halves (train/state_values.h), of which the upper ones are what is
// computed with.
struct MasterWeights {
  float* values;
  Bf16* upper;
  std::int16_t* lower;
  // From the one at `first` on. Always inlined, since kernels of every instruction set call it.
  [[gnu::always_inline]] MasterWeights from(std::ptrdiff_t first) const {
    return values != nullptr ? MasterWeights{values + first, nullptr, nullptr}
                             : MasterWeights{nullptr, upper + first, lower + first};
  }
};

// Gradients: FP32 `values`; or, where that is null, BF16 ones.
struct GradientValues {
  const float* values;
  const Bf16* rounded;
  [[gnu::always_inline]] GradientValues from(std::ptrdiff_t first) const {
    return values != nullptr ? GradientValues{values + first, nullptr} : GradientValues{nullptr, rounded + first};
  }
};

struct DynamicCode;

// The moments of whole blocks (the last may be short) in eight bits each (train/dynamic_code.h), one scale a block.
struct AdamState8 {
  std::uint8_t* m;
  float* m_scales;
  std::uint8_t* v;
  float* v_scales;
  const DynamicCode* m_code;
  const DynamicCode* v_code;
};

struct Kernels {
  const char* name;
  // Reads a row of `n` student logits and `n` teacher logits; when `gradient` is set, overwrites the student's logits
  // by the gradient of the loss with respect to them. `scratch`: row_scratch(n) floats.
  RowLoss (*kl_row_f32)(float* student, const float* teacher, std::size_t n, std::int32_t target, RowWeights weights,
                        bool gradient, float* scratch);
  RowLoss (*kl_row_bf16)(Bf16* student, const Bf16* teacher, std::size_t n, std::int32_t target, RowWeights weights,
                         bool gradient, float* scratch);
  // The same for any objective; slower than the two above, which know forward KL and cross-entropy at temperature 1.
  RowLoss (*mixed_row_f32)(float* student, const float* teacher, std::size_t n, std::int32_t target, const RowMix& mix,
                           bool gradient, float* scratch);
  RowLoss (*mixed_row_bf16)(Bf16* student, const Bf16* teacher, std::size_t n, std::int32_t target, const RowMix& mix,
                            bool gradient, float* scratch);
  // Against a few of the teacher's tokens of weight w. With `bucket`, KL over those tokens and the rest as one more.
  // Else kl = -sum w log q - entropy, with the gradient (sum w) q - w: what forward KL and its gradient are on average
  // when the weights are the teacher's distribution on average.
  RowLoss (*sparse_row_f32)(float* student, std::size_t n, const SparseTokens& tokens, std::int32_t target,
                            const SparseMix& mix, bool gradient, float* scratch);
  RowLoss (*sparse_row_bf16)(Bf16* student, std::size_t n, const SparseTokens& tokens, std::int32_t target,
                             const SparseMix& mix, bool gradient, float* scratch);
  // AdamW (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2) with FP32 state.
  void (*adamw)(MasterWeights weights, float* m, float* v, GradientValues gradient, std::size_t n, AdamStep step);
  // The same with a state of eight bits: read, used in FP32 and written back with new scales, block by block.
  void (*adamw_8_bit)(MasterWeights weights, AdamState8 state, GradientValues gradient, std::size_t n, AdamStep step);
  // FP32 to halves and back, bit for bit. NaN is not kept.
  void (*split)(const float* values, Bf16* upper, std::int16_t* lower, std::size_t n);
  void (*join)(const Bf16* upper, const std::int16_t* lower, float* values, std::size_t n);
  double (*sum_of_squares)(GradientValues gradient, std::size_t n);
  void (*add_bf16)(float* sum, const Bf16* values, std::size_t n);
  void (*to_bf16)(const float* values, Bf16* target, std::size_t n);
  void (*from_bf16)(const Bf16* values, float* target, std::size_t n);
};

const Kernels& kernels();
// Every variant that this processor runs, the plain one first: for tests.
std::size_t kernel_variants(const Kernels* variants[3]);

// Floats that a row's kernel needs beside its logits.
inline std::size_t row_scratch(std::size_t n) { return 2 * ((n + 15) / 16 * 16) + 16; }

}  // namespace retort::train
