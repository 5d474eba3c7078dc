#include "train/step.h"

#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

#include "train/estimate.h"
#include "train/tiny_model_for_test.h"

namespace retort::train {
namespace {

dataset::Packing packed(std::size_t examples) {
  dataset::PackOptions options;
  options.max_length = 40;
  const auto list = tiny_examples(examples);
  return dataset::pack(list, options);
}

TrainOptions options_with(const std::string& recompute) {
  TrainOptions options;
  options.head_rows = 16;
  options.micro_batch_tokens = 60;
  options.recompute = recompute;
  options.hidden_state_weight = 0.5;
  return options;
}

TEST(Step, RecomputationChangesNoBit) {
  for (const auto compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    const auto teacher = tiny_decoder(tiny_config(true, 3), 1, compute);
    const auto student = tiny_decoder(tiny_config(true, 2), 2, model::ComputeType::kFloat32);
    const SystemClock clock;
    StepRunner kept(teacher, student.clone(model::ComputeType::kFloat32), options_with("none"), clock);
    StepRunner recomputed(teacher, student.clone(model::ComputeType::kFloat32), options_with("blocks"), clock);
    const dataset::Packing packing = packed(12);
    for (int step = 0; step < 3; ++step) {
      const auto a = kept.step({packing.rows, {}}, 1e-3);
      const auto b = recomputed.step({packing.rows, {}}, 1e-3);
      ASSERT_TRUE(a && b);
      EXPECT_EQ(a->sums.kl, b->sums.kl);
      EXPECT_EQ(a->gradient_norm, b->gradient_norm);
      EXPECT_EQ(a->hidden_state_error, b->hidden_state_error);
    }
    for (std::size_t i = 0; i < kept.optimiser().parameters().size(); ++i) {
      const AdamWParameter& a = kept.optimiser().parameters()[i];
      const AdamWParameter& b = recomputed.optimiser().parameters()[i];
      EXPECT_TRUE(torch::equal(a.gradient, b.gradient)) << a.name;
      EXPECT_TRUE(torch::equal(a.master.read(), b.master.read())) << a.name;
    }
  }
}

// Counts what tensors hold.
class CountingAllocator final : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator* inner) : inner_(inner) { self_ = this; }
  c10::DataPtr allocate(std::size_t bytes) override {
    c10::DataPtr data = inner_->allocate(bytes);
    void* const pointer = data.release_context();
    const std::scoped_lock lock(mutex_);
    sizes_[pointer] = bytes;
    live_ += bytes;
    peak_ = std::max(peak_, live_);
    return {pointer, pointer, &free_counted, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_counted; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
  std::size_t live() const { return live_; }
  std::size_t peak() const { return peak_; }
  void reset_peak() { peak_ = live_; }

 private:
  static void free_counted(void* pointer) {
    {
      const std::scoped_lock lock(self_->mutex_);
      const auto found = self_->sizes_.find(pointer);
      if (found != self_->sizes_.end()) {
        self_->live_ -= found->second;
        self_->sizes_.erase(found);
      }
    }
    self_->inner_->raw_deleter()(pointer);
  }
  static inline CountingAllocator* self_ = nullptr;
  c10::Allocator* inner_;
  std::mutex mutex_;
  std::map<void*, std::size_t> sizes_;
  std::size_t live_ = 0;
  std::size_t peak_ = 0;
};

// The bytes that a step's tensors take at their peak, counted; and as they are predicted.
struct Bytes {
  double counted = 0;
  double predicted = 0;
};
Bytes bytes_of_a_step(const std::string& recompute, int bits, std::int64_t lora_rank = 0,
                      model::ComputeType compute = model::ComputeType::kFloat32) {
  model::DecoderConfig config = tiny_config(true, 8);
  config.hidden = 64;
  config.head_dim = 16;
  config.intermediate = 160;
  const auto teacher = tiny_decoder(config, 1, compute);
  TrainOptions options;
  options.compute = compute == model::ComputeType::kFloat32 ? "fp32" : "bf16";
  options.head_rows = 64;
  options.micro_batch_tokens = 4096;
  options.tokens_per_step = 1200;
  options.recompute = recompute;
  options.optimiser_bits = bits;
  options.lora_rank = lora_rank;
  static auto* allocator = new CountingAllocator(c10::GetCPUAllocator());  // must outlive every tensor
  static const bool in_use = (c10::SetCPUAllocator(allocator, 1), true);
  static_cast<void>(in_use);
  const std::size_t before = allocator->live();
  const SystemClock clock;
  StepRunner runner(teacher, tiny_decoder(config, 2, model::ComputeType::kFloat32), options, clock);
  const dataset::Packing packing = packed(110);
  std::int64_t tokens = 0;
  for (const dataset::PackedRow& row : packing.rows) tokens += row.used;
  EXPECT_TRUE(runner.step({packing.rows, {}}, 1e-3));
  allocator->reset_peak();
  EXPECT_TRUE(runner.step({packing.rows, {}}, 1e-3));
  options.tokens_per_step = tokens;
  const TrainMemory memory = training_memory(config, config, {compute}, options);
  return {static_cast<double>(allocator->peak() - before),
          static_cast<double>(memory.student + memory.activations + memory.logits)};
}

TEST(Step, TakesTheMemoryThatIsPredicted) {
  torch::set_num_threads(1);
  const Bytes kept = bytes_of_a_step("none", 32);
  const Bytes recomputed = bytes_of_a_step("blocks", 32);
  const Bytes in_8_bits = bytes_of_a_step("none", 8);
  const Bytes adapters = bytes_of_a_step("none", 32, 4);
  const Bytes adapters_recomputed = bytes_of_a_step("blocks", 32, 4);
  const Bytes in_bf16 = bytes_of_a_step("none", 32, 0, model::ComputeType::kBFloat16);
  for (const Bytes& bytes : {kept, recomputed, in_8_bits, adapters, adapters_recomputed, in_bf16}) {
    EXPECT_NEAR(bytes.counted, bytes.predicted, 0.1 * bytes.predicted);
  }
  EXPECT_LT(recomputed.counted, 0.5 * kept.counted);
  EXPECT_LT(in_8_bits.counted, kept.counted);
  EXPECT_LT(adapters.counted, 0.9 * kept.counted);
}

}  // namespace
}  // namespace retort::train
