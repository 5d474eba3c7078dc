// Whole trainings by libtorch's operations, and on a GPU where there is one: every kind of training goes through, and
// one that was stopped gives the same bits as one that wasn't.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "dataset/teacher_signal.h"
#include "model/cuda_for_test.h"
#include "train/cached_signal.h"
#include "train/metrics.h"
#include "train/rollouts.h"
#include "train/tiny_model_for_test.h"
#include "train/train.h"

namespace retort::train {
namespace {

struct Way {
  model::Backend backend;
  model::ComputeType compute;
};

std::vector<Way> ways() {
  std::vector<Way> all = {{model::Backend::kTensors, model::ComputeType::kFloat32}};
  if (model::kCudaIsThere) {
    all.push_back({model::Backend::kCuda, model::ComputeType::kFloat32});
    all.push_back({model::Backend::kCuda, model::ComputeType::kBFloat16});
  }
  return all;
}

TrainOptions options_of(const std::function<void(TrainOptions&)>& change) {
  TrainOptions options;
  options.max_length = 24;
  options.tokens_per_step = 96;
  options.micro_batch_tokens = 48;
  options.epochs = 2;
  options.learning_rate = 3e-3;
  options.head_rows = 16;
  options.held_out_every = 2;
  options.checkpoint_every = 0;
  options.health_answers = 2;
  change(options);
  return options;
}

class StopAfter final : public Progress {
 public:
  StopAfter(int steps, std::stop_source& stop) : steps_(steps), stop_(stop) {}
  void begin(std::string_view, double, std::string_view) override {}
  void advance(double, std::string_view) override {
    if (--steps_ == 0) stop_.request_stop();
  }
  void end(std::string_view) override {}
  void note(std::string_view) override {}

 private:
  int steps_;
  std::stop_source& stop_;
};

// The student's answers: whatever it says to the beginning of an example.
class Answers final : public RolloutSource {
 public:
  Result<std::vector<dataset::Example>> round(TokenGenerator& student, const RolloutRound& /*round*/,
                                              std::stop_token stop) override {
    std::vector<dataset::Example> all = tiny_examples(12, 7);
    std::vector<TokenRequest> requests;
    for (const dataset::Example& example : all) {
      TokenRequest request;
      request.prompt_ids.assign(example.ids.begin(), example.ids.begin() + 3);
      request.sampling.temperature = 0;
      request.sampling.max_tokens = static_cast<std::int32_t>(example.ids.size()) - 3;
      requests.push_back(std::move(request));
    }
    RETORT_ASSIGN(const auto answers, generate_all(student, requests, std::move(stop)));
    for (std::size_t e = 0; e < all.size(); ++e) {
      std::copy(answers[e].ids.begin(), answers[e].ids.end(), all[e].ids.begin() + 3);
    }
    return all;
  }
};

class TrainBackends : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() /
            ("retort_backends_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  // stop_after 0: never.
  Result<TrainSummary> run(const std::string& name, const Way& way, const TrainOptions& options, int stop_after = 0) {
    const auto made = tiny_decoder(tiny_config(true, 3), 1, model::ComputeType::kFloat32);
    const auto teacher = made.clone(way.compute, way.backend);
    const std::vector<std::int64_t> layers = {0, 2};
    const auto student = [&] { return made.keep_layers(layers).value(); };
    const auto examples = tiny_examples(40), held_out = tiny_examples(8, 100);
    std::optional<dataset::SignalFile> signal;
    if (options.signal != "online") {
      const auto kind = options.signal == "top_k" ? dataset::SignalKind::kTopK : dataset::SignalKind::kSampled;
      const auto header = signal_header(examples, options, kind, teacher.config().vocabulary);
      SilentProgress silent;
      std::filesystem::create_directories(root_);
      const std::filesystem::path path = root_ / (name + ".signal");
      RETORT_TRY(write_signal(teacher, examples, options, header, path, silent, {}));
      RETORT_ASSIGN(signal, dataset::SignalFile::open(path));
    }
    Answers answers;
    TrainHelpers helpers;
    if (options.on_policy_from < 1) helpers.rollouts = &answers;
    helpers.make_student_again = [&]() -> Result<model::Decoder> { return student(); };
    std::stop_source stop;
    StopAfter progress(stop_after, stop);
    SystemClock clock;
    return train(teacher, student(), {examples, held_out, signal ? &*signal : nullptr}, options, root_ / name, clock,
                 progress, stop.get_token(), helpers);
  }

  void expect_learning(const std::function<void(TrainOptions&)>& change) {
    for (const Way& way : ways()) {
      const std::string what = std::string(model::name_of(way.backend)) + " " + std::string(name_of(way.compute));
      const TrainOptions options = options_of(change);
      std::filesystem::remove_all(root_);
      const auto whole = run("whole", way, options);
      ASSERT_TRUE(whole) << what << ": " << whole.error().message;
      EXPECT_LT(whole->final_loss, whole->first_loss) << what;
      const auto stopped = run("parts", way, options, 5);
      ASSERT_FALSE(stopped) << what;
      EXPECT_EQ(stopped.error().fault, Fault::kInterrupted) << what << ": " << stopped.error().message;
      const auto resumed = run("parts", way, options);
      ASSERT_TRUE(resumed) << what << ": " << resumed.error().message;
      const auto a = read_metrics(root_ / "whole/metrics.jsonl").value();
      const auto b = read_metrics(root_ / "parts/metrics.jsonl").value();
      ASSERT_EQ(a.size(), b.size()) << what;
      for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].loss, b[i].loss) << what << ", step " << i + 1;
    }
  }

  std::filesystem::path root_;
};

TEST_F(TrainBackends, LearnOnline) {
  expect_learning([](TrainOptions&) {});
}
TEST_F(TrainBackends, LearnWithHiddenStatesAndRecomputation) {
  expect_learning([](TrainOptions& options) {
    options.hidden_state_weight = 0.5;
    options.recompute = "blocks";
    options.embedding_rate = 0;
  });
}
TEST_F(TrainBackends, LearnFromAKeptSignal) {
  for (const char* kind : {"sampled", "top_k"}) {
    expect_learning([&](TrainOptions& options) { options.signal = kind; });
  }
}
TEST_F(TrainBackends, LearnAdapters) {
  expect_learning([](TrainOptions& options) {
    options.lora_rank = 4;
    options.learning_rate = 2e-2;
    options.embedding_rate = 1;
  });
}
TEST_F(TrainBackends, LearnWithAStateOf8Bits) {
  expect_learning([](TrainOptions& options) { options.optimiser_bits = 8; });
}
TEST_F(TrainBackends, LearnOnPolicy) {
  expect_learning([](TrainOptions& options) {
    options.on_policy_from = 0.5;
    options.rollout_every = 3;
  });
}

}  // namespace
}  // namespace retort::train
