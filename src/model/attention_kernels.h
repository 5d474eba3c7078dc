// Causal attention of one document for one key-value head and the query heads that share it, forward and backward.
//
// libtorch's own CPU attention computes short documents through a general matrix library, one small product at a time;
// on packed exchanges (a hundred tokens each) that took as long as a third of the block's large products. Here a
// document's keys and values are brought into FP32 once, and every product is the same small register tile.
//
// The same source is compiled for three instruction sets (model/instruction_set.h). Arithmetic is FP32 whatever the
// rows are stored in; where the processor has AMX, BF16 rows are multiplied by it (model/attention_kernels_amx.h).
// Pure; any thread: units write to places of their own, so the number of threads doesn't show.
#pragma once

#include <cstddef>

#include "model/row_kernels.h"

namespace retort::model {

// Where the rows of one unit lie. Values of a head are contiguous; strides are in values.
struct AttentionUnit {
  std::size_t length = 0;    // tokens of the document
  std::size_t window = 0;    // a token sees itself and the window - 1 before it; 0: all before it
  std::size_t heads = 0;     // query heads of the group
  std::size_t head_dim = 0;  // query head h of a row begins at h * head_dim
  std::size_t stride = 0;    // of query, key, value and their gradients
  std::size_t attended_stride = 0;
  std::size_t log_sum_stride = 0;  // from one query head to the next
  float scale = 1;                 // of the scores: 1 / sqrt(head_dim)
};

template <class T>
struct AttentionForward {
  const T *query, *key, *value;
  T* attended;
  float* log_sums;  // log sum exp of each query's scores; may be null
};

// For o = sum_j p_j v_j, p = softmax(scale q k): dv_j = sum p_j do, ds_j = p_j (do v_j - do o) (arXiv 2205.14135,
// appendix B.2).
template <class T>
struct AttentionBackward {
  const T *query, *key, *value, *attended, *attended_gradient;
  const float* log_sums;
  T *query_gradient, *key_gradient, *value_gradient;  // written, not added to
};

inline constexpr std::size_t kKeyBlock = 16;  // keys that are kept side by side

// One new token of a sequence against the keys and values that are kept of it (model/cached_attention.h says how).
struct CachedUnit {
  std::size_t heads = 0;  // query heads of the group
  std::size_t head_dim = 0;
  std::size_t seen = 0;  // keys it attends to, its own included
  float scale = 1;
  std::size_t first = 0;  // keys before this one are out of its window
};

template <class T>
struct CachedRows {
  const T* query;   // [heads, head_dim]
  const T* keys;    // [blocks, head_dim, kKeyBlock]
  const T* values;  // [capacity, padded head_dim]
  T* attended;      // [heads, head_dim]
};

struct AttentionKernels {
  const char* name;
  void (*forward_f32)(const AttentionUnit& unit, const AttentionForward<float>& rows, float* scratch);
  void (*forward_bf16)(const AttentionUnit& unit, const AttentionForward<Bf16>& rows, float* scratch);
  void (*backward_f32)(const AttentionUnit& unit, const AttentionBackward<float>& rows, float* scratch);
  void (*backward_bf16)(const AttentionUnit& unit, const AttentionBackward<Bf16>& rows, float* scratch);
  void (*cached_f32)(const CachedUnit& unit, const CachedRows<float>& rows, float* scratch);
  void (*cached_bf16)(const CachedUnit& unit, const CachedRows<Bf16>& rows, float* scratch);
};

const AttentionKernels& attention_kernels();
// Every variant that this processor runs, the plain one first: for tests. Returns how many.
inline constexpr std::size_t kMostAttentionKernels = 4;
std::size_t attention_kernel_variants(const AttentionKernels* variants[kMostAttentionKernels]);

// Floats of scratch that one call needs.
std::size_t attention_scratch(std::size_t length, std::size_t head_dim, bool backward);
std::size_t cached_attention_scratch(std::size_t heads, std::size_t seen, std::size_t head_dim);

}  // namespace retort::model
