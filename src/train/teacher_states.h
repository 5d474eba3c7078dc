// The teacher's hidden states at the supervised places of the training examples, kept from one pass to the next.
//
// An example's states don't depend on what it is packed with, so the teacher need read each example once, whatever the
// number of passes: of a step's time that is a quarter. In memory; all examples or none. One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "dataset/example.h"
#include "dataset/pack.h"

namespace retort::train {

class TeacherStates {
 public:
  // Room for [targets, hidden] of `dtype` for each example, cut to max_length as packing cuts it.
  TeacherStates(std::span<const dataset::Example> examples, std::int64_t max_length, std::int64_t hidden,
                at::ScalarType dtype);
  static std::int64_t bytes(std::span<const dataset::Example> examples, std::int64_t max_length, std::int64_t hidden,
                            at::ScalarType dtype);

  // [targets of the rows, hidden], in the order of Batch::supervised; undefined when an example's are not there.
  at::Tensor find(std::span<const dataset::PackedRow> rows) const;
  void keep(std::span<const dataset::PackedRow> rows, const at::Tensor& states);

 private:
  at::Tensor states_;                 // [targets of all examples, hidden]
  std::vector<std::int64_t> begins_;  // per example its first row; one more than there are examples
  std::vector<std::uint8_t> there_;
};

}  // namespace retort::train
