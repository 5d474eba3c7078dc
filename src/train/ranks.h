// The processes that train one student together, one of which is this: what they can do with one another.
//
// Every rank makes the same calls in the same order. A rank that dies or falls silent turns the next call of every
// other one into an error (kWorld) that names it; nothing can be done with the ranks after that. Sums are made in an
// order that depends on the number of ranks alone, so a repeated run gives the same bits.
//
// One thread at a time. Tensors are contiguous and stay the caller's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "train/rank_place.h"

namespace at {
class Tensor;  // those who only pass ranks on need not read libtorch's headers
}

namespace retort::train {

class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual int rank() const = 0;
  virtual int world() const = 0;
  bool leads() const { return rank() == 0; }  // the one that reads and writes files

  // Begins to add `values` of all ranks up in rank `owner`'s; what the others hold afterwards is undefined. Goes on
  // beside the caller's work; the tensors must not be touched before finish().
  virtual void begin_sum_to(int owner, at::Tensor values) = 0;
  // The same for a part of each rank's: parts[i], none or several tensors one after the other, is added up in rank i's,
  // which is one FP32 tensor. `in_bf16`: what any rank has there are BF16 numbers (of either type), which may travel in
  // half the bytes; else all are single FP32 tensors.
  using Parts = std::vector<std::vector<at::Tensor>>;
  virtual void begin_sums(const Parts& parts, bool in_bf16);
  // Waits for all that was begun.
  virtual Result<void> finish() = 0;
  // Every rank gets the sum.
  virtual Result<void> sum(at::Tensor values) = 0;
  // Begins to copy the values of rank `from` to all others'.
  virtual void begin_broadcast(int from, at::Tensor values) = 0;
  // Every rank gets the leader's bytes, and waits for them as long as the leader lives.
  virtual Result<std::string> share(const std::string& bytes) = 0;

  Result<void> broadcast(int from, at::Tensor values);
  // Whether it is so for any rank.
  Result<bool> any(bool here);
};

// A process that trains alone: sums are what they are.
std::unique_ptr<Ranks> one_rank();

// Meets the other ranks (Gloo, over TCP) or, with a world of one, none. Every rank of the world must call this.
// Errors: kCaller for a place that makes no sense or a port in use; kWorld when the others don't come in time.
Result<std::unique_ptr<Ranks>> join_ranks(const RankPlace& place);

}  // namespace retort::train
