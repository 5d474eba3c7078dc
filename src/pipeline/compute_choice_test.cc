#include "pipeline/compute_choice.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace retort::pipeline {
namespace {

constexpr double kQuick_s = 1.0 / 64;

// A machine that is busy while its n-th products are measured: every look at the clock costs `slow` seconds from the
// `from`-th on and until the `to`-th, and a little else.
class BusyClock final : public Clock {
 public:
  BusyClock(int from, int to, double slow_s) : from_(from), to_(to), slow_s_(slow_s) {}
  double monotonic_s() const override {
    ++looks_;
    now_s_ += looks_ > from_ && looks_ <= to_ ? slow_s_ : kQuick_s;
    return now_s_;
  }
  std::int64_t unix_ms() const override { return 0; }
  int looks() const { return looks_; }

 private:
  int from_, to_;
  double slow_s_;
  mutable int looks_ = 0;
  mutable double now_s_ = 0;
};

class ComputeChoiceTest : public testing::Test {
 protected:
  ComputeChoiceTest() : cache_(testing::TempDir() + "compute_choice_" + std::to_string(getpid())) { clear(); }
  ~ComputeChoiceTest() override { clear(); }
  void clear() const { std::filesystem::remove_all(cache_); }
  ComputeChoice chosen(const std::string& wanted, const Clock& clock) const {
    const auto choice = choose_compute(wanted, "cpu", model::DecoderConfig{}, cache_, clock);
    EXPECT_TRUE(choice) << choice.error().message;
    return *choice;
  }
  const std::filesystem::path cache_;
};

// Each product is measured for 0.12 s: nine looks where one takes 1/64 s, two where one takes a second. FP32, FP32 by
// oneDNN and bfloat16 have two products each.
constexpr int kQuickPath = 18;
constexpr int kSlowPath = 4;

TEST_F(ComputeChoiceTest, ABusyMomentDoesNotChangeTheBitsOfFp32) {
  const ComputeChoice quiet = chosen("fp32", BusyClock(0, 0, 0));
  clear();
  const ComputeChoice busy = chosen("fp32", BusyClock(kQuickPath, kQuickPath + kSlowPath, 1));
  EXPECT_EQ(quiet.onednn_float32, busy.onednn_float32);
}

TEST_F(ComputeChoiceTest, AMachineIsMeasuredOnce) {
  const BusyClock busy_in_bfloat16(2 * kQuickPath, 1000, 1);
  const ComputeChoice first = chosen("auto", busy_in_bfloat16);
  EXPECT_EQ(first.type, model::ComputeType::kFloat32);
  EXPECT_GT(busy_in_bfloat16.looks(), 0);
  // Would choose bfloat16 by itself.
  const BusyClock busy_in_float32(0, 2 * kSlowPath, 1);
  const ComputeChoice second = chosen("auto", busy_in_float32);
  EXPECT_EQ(busy_in_float32.looks(), 0);
  EXPECT_EQ(to_json(second), to_json(first));
  EXPECT_GT(chosen("bf16", busy_in_float32).block_gflops, 0);  // the speed of the type that wasn't chosen is known too
  clear();
  EXPECT_EQ(chosen("auto", BusyClock(0, 2 * kSlowPath, 1)).type, model::ComputeType::kBFloat16);
}

}  // namespace
}  // namespace retort::pipeline
