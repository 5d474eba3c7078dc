// The objectives once more, in double precision and as a textbook writes them: what the kernels are judged by.
//
// Shares no code with the kernels and knows nothing of their tricks: softmax, sum and derivative, term after term.
// Slow. The definitions are those of train/objective_mix.h. Minus infinity is a logit (of a token that can't come); NaN
// and plus infinity give NaN. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "exchange/exchange.h"
#include "train/objective_mix.h"
#include "train/objective_rows.h"

namespace retort::train {

struct ReferenceLoss {
  double loss = 0;               // mean over the supervised rows; 0 when there are none
  std::vector<double> gradient;  // [rows, vocabulary], with respect to the student's logits; zeros where unsupervised
  std::int64_t tokens = 0;       // supervised rows
};

// `student`, `teacher`: [labels.size(), vocabulary]. Row i is supervised where labels[i] != ignore_index; its label
// must then be in [0, vocabulary).
ReferenceLoss reference_loss(const ObjectiveMix& mix, std::span<const double> student, std::span<const double> teacher,
                             std::span<const TokenId> labels, std::size_t vocabulary, TokenId ignore_index);

// The same against what is kept of the teacher (SparseSignal, made at the mix's temperature), row i for labels[i], for
// a mix of forward_kl and ce: sum w log(w / q) over the listed tokens, and where `bucket` the same of the rest as one;
// without it minus sum w log q minus the entropy. All rows are supervised; a bucket must
// have a token left.
ReferenceLoss reference_loss(const ObjectiveMix& mix, std::span<const double> student, const SparseSignal& signal,
                             std::span<const TokenId> labels, std::size_t vocabulary);

}  // namespace retort::train
