#include "train/ranks.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>

#include <utility>

namespace retort::train {
namespace {

class OneRank final : public Ranks {
 public:
  int rank() const override { return 0; }
  int world() const override { return 1; }
  void begin_sum_to(int /*owner*/, at::Tensor /*values*/) override {}
  Result<void> finish() override { return {}; }
  Result<void> sum(at::Tensor /*values*/) override { return {}; }
  void begin_broadcast(int /*from*/, at::Tensor /*values*/) override {}
  Result<std::string> share(const std::string& bytes) override { return bytes; }
};

}  // namespace

void Ranks::begin_sums(const Parts& parts, bool /*in_bf16*/) {
  for (int owner = 0; owner < world(); ++owner) {
    for (const at::Tensor& part : parts[static_cast<std::size_t>(owner)]) begin_sum_to(owner, part);
  }
}

Result<void> Ranks::broadcast(int from, at::Tensor values) {
  begin_broadcast(from, std::move(values));
  return finish();
}

Result<bool> Ranks::any(bool here) {
  const at::Tensor count = at::full({1}, here ? 1.0 : 0.0, at::kDouble);
  RETORT_TRY(sum(count));
  return count.item<double>() > 0;
}

std::unique_ptr<Ranks> one_rank() { return std::make_unique<OneRank>(); }

}  // namespace retort::train
