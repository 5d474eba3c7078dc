// Ranks as threads of this program, each with its own connection over loopback: what processes do, and quick to
// compare. tests/system/ranks_test.py does it with processes, and kills one.
#include "train/ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "model/weights.h"
#include "train/metrics.h"
#include "train/nccl_for_test.h"
#include "train/ranks_for_test.h"
#include "train/rollout_source_for_test.h"
#include "train/tiny_model_for_test.h"
#include "train/train.h"

namespace retort::train {
namespace {

using testing::HasSubstr;

TEST(Ranks, SumBroadcastAndShare) {
  for (const int world : {1, 2, 3}) {
    together(world, [&](std::unique_ptr<Ranks> ranks) {
      EXPECT_EQ(ranks->world(), world);
      const double all = world * (world + 1) / 2.0;
      const auto own = torch::full({1000}, ranks->rank() + 1.0F);
      ASSERT_TRUE(ranks->sum(own));
      EXPECT_EQ(own[999].item<double>(), all);
      std::vector<torch::Tensor> parts;
      for (int owner = 0; owner < world; ++owner) {
        parts.push_back(torch::full({5}, ranks->rank() + 1.0F));
        ranks->begin_sum_to(owner, parts.back());
      }
      ASSERT_TRUE(ranks->finish());
      EXPECT_EQ(parts[static_cast<std::size_t>(ranks->rank())][0].item<double>(), all);
      // Parts of all sizes, none among them.
      for (const bool in_bf16 : {false, true}) {
        Ranks::Parts unequal;
        for (int owner = 0; owner < world; ++owner) unequal.push_back({torch::full({7 * owner}, ranks->rank() + 1.0F)});
        ranks->begin_sums(unequal, in_bf16);
        Ranks::Parts one_owner(static_cast<std::size_t>(world));
        one_owner.front() = {torch::full({2}, ranks->rank() + 1.0F)};
        ranks->begin_sums(one_owner, in_bf16);
        ASSERT_TRUE(ranks->finish());
        const torch::Tensor& mine = unequal[static_cast<std::size_t>(ranks->rank())].front();
        EXPECT_TRUE(mine.eq(all).all().item<bool>());
        if (ranks->leads()) {
          EXPECT_EQ(one_owner.front().front()[1].item<double>(), all);
        }
      }
      const auto place = torch::full({3}, ranks->rank() + 1.0F);
      ASSERT_TRUE(ranks->broadcast(world - 1, place));
      EXPECT_EQ(place[2].item<double>(), world);
      for (const std::string& said : {std::string("something\0else", 14), std::string()}) {
        const auto heard = ranks->share(ranks->leads() ? said : "nothing");
        ASSERT_TRUE(heard);
        EXPECT_EQ(*heard, said);
      }
      const auto any = ranks->any(ranks->rank() == world - 1);
      const auto none = ranks->any(false);
      ASSERT_TRUE(any && none);
      EXPECT_TRUE(*any);
      EXPECT_FALSE(*none);
    });
  }
}

TEST(Ranks, MeetWhereverThisMachineIsItself) {
  for (const char* address : {"localhost", "127.0.1.1"}) {
    together(
        2, [](std::unique_ptr<Ranks> ranks) { EXPECT_TRUE(ranks->any(ranks->leads()).value_or(false)); }, address);
  }
}

TEST(Ranks, OneThatEndsIsNamedByTheOthers) {
  together(3, [](std::unique_ptr<Ranks> ranks) {
    ASSERT_TRUE(ranks->any(true));
    if (ranks->rank() == 1) return;
    // A rank that computes for a while isn't taken for a dead one.
    if (ranks->rank() == 2) std::this_thread::sleep_for(std::chrono::seconds(1));
    Result<bool> later = true;
    for (int i = 0; i < 3 && later; ++i) later = ranks->any(true);
    ASSERT_FALSE(later);
    EXPECT_EQ(later.error().fault, Fault::kWorld);
    EXPECT_THAT(later.error().message, HasSubstr("Rank 1 of 3"));
    EXPECT_THAT(later.error().message, HasSubstr("checkpoint"));
    EXPECT_FALSE(ranks->any(true));
  });
}

TEST(Ranks, RefusesPlacesThatMakeNoSense) {
  RankPlace place;
  place.world = 2;
  place.rank = 2;
  auto ranks = join_ranks(place);
  ASSERT_FALSE(ranks);
  EXPECT_THAT(ranks.error().message, HasSubstr("no rank 2 of 2"));
  place.rank = 1;
  ranks = join_ranks(place);
  ASSERT_FALSE(ranks);
  EXPECT_THAT(ranks.error().message, HasSubstr("MASTER_ADDR"));
  place.address = "127.0.0.1";
  place.port = free_port();
  place.timeout_s = 1;
  ranks = join_ranks(place);  // nobody is there
  ASSERT_FALSE(ranks);
  EXPECT_EQ(ranks.error().fault, Fault::kWorld);
  EXPECT_THAT(ranks.error().message, HasSubstr("did not meet"));
}

// ---- training together ----

struct Setting {
  model::ComputeType compute = model::ComputeType::kFloat32;
  bool as_on_devices = false;                // by libtorch's operations, and what would carry tensors between GPUs
  std::atomic<int>* sums_in_bf16 = nullptr;  // set: such sums are counted, and travel in FP32 all the same
  TrainOptions options;
  Setting() {
    options.max_length = 24;
    options.tokens_per_step = 96;  // four rows, so that four ranks have one each
    options.learning_rate = 3e-3;
    options.head_rows = 16;
    options.held_out_every = 2;
    options.checkpoint_every = 0;
    options.health_answers = 1;
    options.held_out_tokens = 96;
    options.micro_batch_tokens = 40;
  }
};

// What may travel in BF16 travels in FP32.
class InFp32 final : public Ranks {
 public:
  InFp32(std::unique_ptr<Ranks> ranks, std::atomic<int>& counted) : ranks_(std::move(ranks)), counted_(counted) {}
  int rank() const override { return ranks_->rank(); }
  int world() const override { return ranks_->world(); }
  void begin_sum_to(int owner, at::Tensor values) override { ranks_->begin_sum_to(owner, std::move(values)); }
  void begin_sums(const Parts& parts, bool in_bf16) override {
    counted_ += in_bf16 ? 1 : 0;
    ranks_->begin_sums(parts, false);
  }
  Result<void> finish() override { return ranks_->finish(); }
  Result<void> sum(at::Tensor values) override { return ranks_->sum(std::move(values)); }
  void begin_broadcast(int from, at::Tensor values) override { ranks_->begin_broadcast(from, std::move(values)); }
  Result<std::string> share(const std::string& bytes) override { return ranks_->share(bytes); }

 private:
  std::unique_ptr<Ranks> ranks_;
  std::atomic<int>& counted_;
};

class Stopper final : public Progress {
 public:
  explicit Stopper(int steps) : left_(steps) {}
  void begin(std::string_view, double, std::string_view) override {}
  void advance(double, std::string_view) override {
    if (--left_ == 0) source_.request_stop();
  }
  void end(std::string_view) override {}
  void note(std::string_view) override {}
  std::stop_token token() const { return source_.get_token(); }

 private:
  int left_;
  std::stop_source source_;
};

class TrainTogether : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() /
            ("retort_ranks_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  // The error of each rank's training, empty when there was none. Only the last rank is told to stop.
  std::vector<std::string> train_on(int world, const std::string& name, const Setting& setting, int stop_after = 0) {
    const auto backend = setting.as_on_devices ? model::Backend::kTensors : model::Backend::kKernels;
    const auto teacher = tiny_decoder(tiny_config(true, 3), 1, setting.compute).clone(setting.compute, backend);
    const auto student = tiny_decoder(tiny_config(true, 2), 2, model::ComputeType::kFloat32);
    const auto train_examples = tiny_examples(40);
    const auto held_out = tiny_examples(16, 100);
    AnswersForTest answers;
    std::vector<std::string> errors(static_cast<std::size_t>(world));
    together(world, [&](std::unique_ptr<Ranks> met) {
      std::unique_ptr<Ranks> ranks = std::move(met);
      if (setting.as_on_devices && world > 1) {
        met = std::move(ranks);
        ranks = join_on_devices(*met, device_link_for_test()).value();
      }
      if (setting.sums_in_bf16 != nullptr) ranks = std::make_unique<InFp32>(std::move(ranks), *setting.sums_in_bf16);
      Stopper stopper(ranks->rank() == world - 1 ? stop_after : 0);
      SystemClock clock;
      // Only the first has the folder.
      const auto folder = ranks->leads() ? root_ / name : std::filesystem::path("/nowhere");
      const auto result = train(teacher, student.clone(model::ComputeType::kFloat32), {train_examples, held_out},
                                setting.options, folder, clock, stopper, stopper.token(),
                                {ranks.get(), {}, ranks->leads() ? &answers : nullptr, {}, "", {}, {}});
      if (!result) errors[static_cast<std::size_t>(ranks->rank())] = result.error().message;
    });
    return errors;
  }

  std::vector<StepMetrics> metrics(const std::string& name) {
    auto read = read_metrics(root_ / name / "metrics.jsonl");
    RETORT_CHECK(read.has_value());
    return *read;
  }
  torch::Tensor weights(const std::string& name) {
    auto loaded = model::load_weights(root_ / name / "student.safetensors");
    RETORT_CHECK(loaded.has_value());
    std::vector<torch::Tensor> all;
    for (const model::NamedTensor& tensor : loaded->tensors) all.push_back(tensor.tensor.flatten());
    return torch::cat(all);
  }
  void expect_equal(const std::string& a, const std::string& b, double tolerance) {
    const auto first = metrics(a);
    const auto second = metrics(b);
    ASSERT_EQ(first.size(), second.size());
    for (std::size_t i = 0; i < first.size(); ++i) {
      EXPECT_EQ(first[i].tokens, second[i].tokens);
      EXPECT_EQ(first[i].supervised_tokens, second[i].supervised_tokens);
      EXPECT_NEAR(first[i].loss, second[i].loss, tolerance * first[i].loss) << i;
      EXPECT_NEAR(first[i].gradient_norm, second[i].gradient_norm, 10 * tolerance * first[i].gradient_norm) << i;
      ASSERT_EQ(first[i].held_out_kl.has_value(), second[i].held_out_kl.has_value());
      EXPECT_NEAR(first[i].held_out_kl.value_or(0), second[i].held_out_kl.value_or(0), tolerance) << i;
      ASSERT_EQ(first[i].health.has_value(), second[i].health.has_value());
      if (!first[i].health) continue;
      EXPECT_EQ(first[i].health->tokens, second[i].health->tokens);
      EXPECT_NEAR(first[i].health->student_entropy, second[i].health->student_entropy, 10 * tolerance) << i;
      EXPECT_NEAR(first[i].health->perplexity, second[i].health->perplexity, 100 * tolerance) << i;
    }
  }

  std::filesystem::path root_;
};

const std::vector<std::string> kFine2 = {"", ""};

TEST_F(TrainTogether, GivesTheLossesOfOneRank) {
  Setting setting;
  setting.options.hidden_state_weight = 0.5;
  ASSERT_EQ(train_on(1, "one", setting), std::vector<std::string>(1));
  for (const int world : {2, 4}) {
    const std::string name = std::to_string(world);
    ASSERT_EQ(train_on(world, name, setting), std::vector<std::string>(static_cast<std::size_t>(world)));
    expect_equal("one", name, 1e-5);
    EXPECT_LT((weights("one") - weights(name)).abs().max().item<double>(), 1e-4);
  }
  // Twice the same: the same bits.
  ASSERT_EQ(train_on(2, "again", setting), kFine2);
  EXPECT_TRUE(torch::equal(weights("2"), weights("again")));
}

TEST_F(TrainTogether, HoldsInBf16WithEightBitsAndAFrozenHead) {
  Setting setting;
  setting.compute = model::ComputeType::kBFloat16;
  setting.options.optimiser_bits = 8;
  setting.options.embedding_rate = 0;
  ASSERT_EQ(train_on(1, "one", setting), std::vector<std::string>(1));
  ASSERT_EQ(train_on(2, "two", setting), kFine2);
  expect_equal("one", "two", 2e-2);  // micro-batches differ, and gradients are BF16
}

// Where each rank has one micro-batch, gradients are BF16 numbers and travel as such: not a bit is lost.
TEST_F(TrainTogether, LosesNothingByTravellingInBf16) {
  for (const std::int64_t lora_rank : {0, 4}) {
    std::atomic<int> counted = 0;
    Setting setting;
    setting.compute = model::ComputeType::kBFloat16;
    setting.options.micro_batch_tokens = 1000;
    setting.options.hidden_state_weight = 0.5;
    setting.options.lora_rank = lora_rank;
    const std::string kind = std::to_string(lora_rank);
    ASSERT_EQ(train_on(2, "short" + kind, setting), kFine2);
    setting.sums_in_bf16 = &counted;
    ASSERT_EQ(train_on(2, "full" + kind, setting), kFine2);
    EXPECT_GT(counted, 10);
    EXPECT_TRUE(torch::equal(weights("short" + kind), weights("full" + kind)));
    // Several are a sum.
    counted = 0;
    setting.options.micro_batch_tokens = 1;
    ASSERT_EQ(train_on(2, "parts" + kind, setting), kFine2);
    EXPECT_EQ(counted, 0);
  }
}

TEST_F(TrainTogether, TrainsAdaptersAsOneRankDoes) {
  for (const auto compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    Setting setting;
    setting.compute = compute;
    setting.options.lora_rank = 4;
    setting.options.learning_rate = 1e-2;
    const bool exact = compute == model::ComputeType::kFloat32;
    const std::string kind = exact ? "32" : "16";
    ASSERT_EQ(train_on(1, "one" + kind, setting), std::vector<std::string>(1));
    ASSERT_EQ(train_on(2, "two" + kind, setting), kFine2);
    expect_equal("one" + kind, "two" + kind, exact ? 1e-5 : 2e-2);
    EXPECT_LT((weights("one" + kind) - weights("two" + kind)).abs().max().item<double>(), exact ? 1e-4 : 2e-2);
    // Stopped on two, gone on with by one.
    EXPECT_THAT(train_on(2, "parts" + kind, setting, 3)[0], HasSubstr("stopped after step 3"));
    ASSERT_EQ(train_on(1, "parts" + kind, setting), std::vector<std::string>(1));
    expect_equal("one" + kind, "parts" + kind, exact ? 1e-5 : 2e-2);
  }
}

// All ranks answer as the student, and learn from all answers.
TEST_F(TrainTogether, LearnsFromTheAnswersOfAllRanks) {
  Setting setting;
  setting.options.on_policy_from = 0.3;
  setting.options.rollout_every = 3;
  setting.options.tokens = 1200;
  ASSERT_EQ(train_on(1, "one", setting), std::vector<std::string>(1));
  EXPECT_TRUE(metrics("one").back().rollout_loss);
  for (const int world : {2, 3}) {
    const std::string name = std::to_string(world);
    ASSERT_EQ(train_on(world, name, setting), std::vector<std::string>(static_cast<std::size_t>(world)));
    expect_equal("one", name, 1e-4);
    for (std::size_t i = 0; i < metrics("one").size(); ++i) {
      EXPECT_NEAR(metrics("one")[i].rollout_loss.value_or(0), metrics(name)[i].rollout_loss.value_or(0), 1e-4) << i;
    }
  }
  // The last rank is stopped within a round; all save.
  EXPECT_THAT(train_on(2, "parts", setting, 8)[0], HasSubstr("stopped after step 8"));
  ASSERT_EQ(train_on(2, "parts", setting), kFine2);
  expect_equal("one", "parts", 1e-4);
}

TEST_F(TrainTogether, HoldsForTensorsOnDevices) {
  for (const int bits : {32, 8}) {
    Setting setting;
    setting.as_on_devices = true;
    setting.options.optimiser_bits = bits;
    setting.options.hidden_state_weight = 0.5;
    const std::string kind = "on" + std::to_string(bits) + "_";
    ASSERT_EQ(train_on(1, kind + "1", setting), std::vector<std::string>(1));
    for (const int world : {2, 3}) {
      const std::string name = kind + std::to_string(world);
      ASSERT_EQ(train_on(world, name, setting), std::vector<std::string>(static_cast<std::size_t>(world)));
      expect_equal(kind + "1", name, bits == 32 ? 1e-5 : 1e-3);
    }
    EXPECT_THAT(train_on(2, kind + "parts", setting, 3)[0], HasSubstr("stopped after step 3"));
    ASSERT_EQ(train_on(2, kind + "parts", setting), kFine2);
    EXPECT_TRUE(torch::equal(weights(kind + "2"), weights(kind + "parts")));
  }
}

TEST_F(TrainTogether, GoesOnWithAnotherNumberOfRanks) {
  for (const int bits : {32, 8}) {
    Setting setting;
    setting.options.optimiser_bits = bits;
    const std::string kind = std::to_string(bits);
    ASSERT_EQ(train_on(2, "whole" + kind, setting), kFine2);
    const auto stopped = train_on(2, "same" + kind, setting, 3);
    EXPECT_THAT(stopped[0], HasSubstr("stopped after step 3"));
    EXPECT_EQ(stopped[0], stopped[1]);
    std::filesystem::copy(root_ / ("same" + kind), root_ / ("other" + kind));
    ASSERT_EQ(train_on(2, "same" + kind, setting), kFine2);
    EXPECT_TRUE(torch::equal(weights("whole" + kind), weights("same" + kind)));
    ASSERT_EQ(train_on(1, "other" + kind, setting), std::vector<std::string>(1));
    expect_equal("whole" + kind, "other" + kind, bits == 32 ? 1e-5 : 1e-3);
  }
}

TEST_F(TrainTogether, RefusesRanksThatDoNotAgree) {
  const auto teacher = tiny_decoder(tiny_config(true, 2), 1, model::ComputeType::kFloat32);
  const auto student = tiny_decoder(tiny_config(true, 2), 2, model::ComputeType::kFloat32);
  const auto examples = tiny_examples(10);
  together(2, [&](std::unique_ptr<Ranks> ranks) {
    Setting setting;
    setting.options.learning_rate *= 1 + ranks->rank();
    SystemClock clock;
    SilentProgress progress;
    const auto result = train(teacher, student.clone(model::ComputeType::kFloat32), {examples, {}}, setting.options,
                              root_ / "run", clock, progress, {}, {ranks.get(), {}, nullptr, {}, "", {}, {}});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().fault, Fault::kCaller);
    EXPECT_THAT(result.error().message, HasSubstr("don't agree"));
  });
}

}  // namespace
}  // namespace retort::train
