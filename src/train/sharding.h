// The optimiser's state divided over ranks: who updates which values, how gradients get there and weights come back.
//
// ZeRO's first stage (Rajbhandari et al., arXiv 1910.02054, section 5.1): every rank holds all weights and gradients,
// but masters and moments of one contiguous share of all values only. The share's owner gets the sum of its gradients
// by being sent them, and its new weights go to the others by a broadcast: as many bytes as a reduce-scatter and an
// all-gather. Those two Gloo makes of an all-reduce and copies of everything; these need no equal shares. Sums of
// gradients lie in one buffer in the parameters' order, so that the part of a layer that belongs to one owner travels
// at once; of gradients that are no sums only what this rank owns is ever written there.
//
// With one rank nothing is moved. One thread; borrows optimiser and ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/decoder.h"
#include "train/adamw.h"
#include "train/ranks.h"

namespace retort::train {

class Sharding {
 public:
  // Leaves the optimiser this rank's share. After its parameters were added, before anything else.
  Sharding(AdamW& optimiser, Ranks& ranks);

  // The gradients of the parameters [first, last) are complete on this rank: their sums begin to travel. Every rank
  // calls it for the same ranges in the same order, each parameter once a step. `in_bf16`: on every rank they are BF16
  // numbers. What a rank then has of gradients that others own is undefined.
  void begin_sums(std::size_t first, std::size_t last, bool in_bf16);
  // Before the first step: gives up what gradients there are and their memory.
  void forget_gradients();
  // Waits for them, and sums `figures` (FP64) over the ranks. Returns the L2 norm of all gradients.
  Result<double> finish_sums(const at::Tensor& figures);
  // Updates what this rank owns (AdamW::step); then every rank's compute copies are those of their owners. One load of
  // weights travels while the next one is updated.
  Result<void> update(double learning_rate, double gradient_norm);
  // Every rank's compute copies become those of their owners.
  Result<void> spread_weights() { return spread(nullptr); }

  // The whole state, with one rank as it lies; else on the leader alone (empty on the others), in the processor's
  // memory.
  Result<std::vector<StateTensor>> gather_states();
  // Whole masters in the order of the parameters, frozen ones among them: on the leader. Takes the memory of the rest
  // of the state, which is no more after it: at the end of a training.
  Result<std::vector<model::NamedTensor>> take_masters();
  // Where a whole state is to be read into: with one rank the state itself (but what is in halves), else the
  // processor's memory.
  std::vector<model::NamedTensor> whole_states();
  // Gives every rank its part of the leader's `states` (made by whole_states() on every rank).
  Result<void> scatter_states(const std::vector<model::NamedTensor>& states);

 private:
  void allot_sums();
  Ranks::Parts bf16_parts(std::size_t first, std::size_t last);
  Result<at::Tensor> gather(const StateTensor& state);
  // What an owner sends at a time: views of its compute copies' bytes.
  struct Load {
    std::vector<at::Tensor> parts;
    std::size_t end = 0;  // the first parameter that isn't in it or one before it
  };
  std::vector<Load> loads_of(std::size_t owner) const;
  Result<void> spread(const AdamW::Update* update);

  AdamW& optimiser_;
  Ranks& ranks_;
  std::vector<std::int64_t> offsets_;  // of each parameter in the buffer; one more than there are parameters
  std::vector<std::int64_t> borders_;  // of the ranks' shares of it; one more than there are ranks
  at::Tensor sums_;                    // the optimiser's memory for sums of gradients
};

}  // namespace retort::train
