#include "train/teacher_states.h"

#include <ATen/ops/empty.h>

#include "base/error.h"

namespace retort::train {
namespace {

std::vector<std::int64_t> begins(std::span<const dataset::Example> examples, std::int64_t max_length) {
  std::vector<std::int64_t> result = {0};
  result.reserve(examples.size() + 1);
  for (const dataset::Example& example : examples)
    result.push_back(result.back() + dataset::target_count(example, max_length));
  return result;
}

}  // namespace

TeacherStates::TeacherStates(std::span<const dataset::Example> examples, std::int64_t max_length, std::int64_t hidden,
                             at::ScalarType dtype)
    : begins_(begins(examples, max_length)), there_(examples.size(), 0) {
  states_ = at::empty({begins_.back(), hidden}, at::TensorOptions(dtype));
}

std::int64_t TeacherStates::bytes(std::span<const dataset::Example> examples, std::int64_t max_length,
                                  std::int64_t hidden, at::ScalarType dtype) {
  return begins(examples, max_length).back() * hidden * static_cast<std::int64_t>(c10::elementSize(dtype));
}

at::Tensor TeacherStates::find(std::span<const dataset::PackedRow> rows) const {
  std::int64_t targets = 0;
  for (const dataset::PackedRow& row : rows) {
    targets += row.targets;
    for (const std::uint32_t example : row.examples) {
      if (there_[example] == 0) return {};
    }
  }
  at::Tensor found = at::empty({targets, states_.size(1)}, states_.options());
  std::int64_t place = 0;
  for (const dataset::PackedRow& row : rows) {
    for (const std::uint32_t example : row.examples) {
      const std::int64_t count = begins_[example + 1] - begins_[example];
      found.narrow(0, place, count).copy_(states_.narrow(0, begins_[example], count));
      place += count;
    }
  }
  RETORT_CHECK(place == targets);
  return found;
}

void TeacherStates::keep(std::span<const dataset::PackedRow> rows, const at::Tensor& states) {
  std::int64_t place = 0;
  for (const dataset::PackedRow& row : rows) {
    for (const std::uint32_t example : row.examples) {
      const std::int64_t count = begins_[example + 1] - begins_[example];
      states_.narrow(0, begins_[example], count).copy_(states.narrow(0, place, count));
      there_[example] = 1;
      place += count;
    }
  }
  RETORT_CHECK(place == states.size(0));
}

}  // namespace retort::train
