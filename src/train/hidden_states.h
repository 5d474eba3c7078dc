// Matching hidden states: a second loss that shows each of a cut student's layers where it should arrive.
//
// A student cut from its teacher by depth keeps some of the teacher's layers. What leaves the student's layer i should
// be what went into the teacher's layer that became the student's layer i + 1: then that layer sees what it is used to.
// The last layer is left to the objective. The loss is the sum over these layers of |s - t|^2 / |t|^2, mean over the
// tokens: relative, because hidden states grow from layer to layer and a few tokens have states a thousand times as
// long. In the manner of the hints of Romero et al. (arXiv 1412.6550) and the hidden states of TinyBERT (arXiv
// 1909.10351), without a map between widths.
//
// States are [tokens, hidden] in the compute type; arithmetic in FP32. One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/decoder.h"

namespace retort::train {

// Error (kCaller): the student isn't cut from a model of the teacher's shape.
Result<void> check_hidden_states(const model::DecoderConfig& teacher, const model::DecoderConfig& student);

// What the student's layers should give, from one pass of the teacher: one entry a layer of the student but its last.
struct HiddenTargets {
  at::Tensor final;                 // after the final norm, [1, tokens, hidden]: what forward() returns
  std::vector<at::Tensor> targets;  // [tokens, hidden]
};
HiddenTargets hidden_targets(const model::Decoder& teacher, const model::DecoderConfig& student,
                             const model::TokenBatch& batch);

// The gradient of weight * sum over the tokens of |s - t|^2 / |t|^2 / tokens_in_step with respect to `state`, in its
// type. Adds the unweighted sum over the tokens to `error`. `counted`: FP32 [tokens, 1], 1 or, for padding, 0;
// undefined where there is none.
at::Tensor hidden_state_gradient(const at::Tensor& state, const at::Tensor& target, const at::Tensor& counted,
                                 double weight, std::int64_t tokens_in_step, double& error);

}  // namespace retort::train
