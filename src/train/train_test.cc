#include "train/train.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>

#include "base/files.h"
#include "dataset/example.h"
#include "dataset/teacher_signal.h"
#include "model/decoder.h"
#include "model/weights.h"
#include "train/cached_signal.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/step.h"
#include "train/tiny_model_for_test.h"

namespace retort::train {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

TrainOptions tiny_options() {
  TrainOptions options;
  options.max_length = 24;
  options.tokens_per_step = 96;
  options.epochs = 2;
  options.learning_rate = 3e-3;
  options.head_rows = 16;
  options.held_out_every = 2;
  options.checkpoint_every = 0;
  options.health_answers = 0;
  return options;
}

// Calls a function after every step.
class Watch final : public Progress {
 public:
  explicit Watch(std::function<void(int)> after_step = {}) : after_step_(std::move(after_step)) {}
  void begin(std::string_view, double, std::string_view) override {}
  void advance(double, std::string_view) override {
    ++steps_;
    if (after_step_) after_step_(steps_);
  }
  void end(std::string_view) override {}
  void note(std::string_view sentence) override { notes_.emplace_back(sentence); }
  int steps() const { return steps_; }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::function<void(int)> after_step_;
  int steps_ = 0;
  std::vector<std::string> notes_;
};

class TrainTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() /
            ("retort_train_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  struct Setting {
    bool tied = true;
    model::ComputeType compute = model::ComputeType::kFloat32;
    TrainOptions options = tiny_options();
  };

  Result<TrainSummary> run(const std::string& name, const Setting& setting, int stop_after = 0) {
    const auto teacher = tiny_decoder(tiny_config(setting.tied, 3), 1, setting.compute);
    auto student = tiny_decoder(tiny_config(setting.tied, 2), 2, model::ComputeType::kFloat32);
    const auto train_examples = tiny_examples(40);
    const auto held_out = tiny_examples(8, 100);
    std::stop_source stop;
    Watch watch([&](int steps) {
      if (steps == stop_after) stop.request_stop();
    });
    auto result = train(teacher, std::move(student), {train_examples, held_out}, setting.options, root_ / name, clock_,
                        watch, stop.get_token());
    steps_ = watch.steps();
    notes_ = watch.notes();
    return result;
  }

  std::vector<StepMetrics> metrics(const std::string& name) {
    auto read = read_metrics(root_ / name / "metrics.jsonl");
    RETORT_CHECK(read.has_value());
    return *read;
  }

  std::filesystem::path root_;
  SystemClock clock_;
  int steps_ = 0;                   // of the last run()
  std::vector<std::string> notes_;  // of the last run()
};

void expect_same(const std::vector<StepMetrics>& a, const std::vector<StepMetrics>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].step, b[i].step);
    EXPECT_EQ(a[i].epoch, b[i].epoch);
    EXPECT_EQ(a[i].tokens, b[i].tokens);
    EXPECT_EQ(a[i].loss, b[i].loss) << i;  // to the last bit
    EXPECT_EQ(a[i].cross_entropy, b[i].cross_entropy);
    EXPECT_EQ(a[i].gradient_norm, b[i].gradient_norm);
    EXPECT_EQ(a[i].learning_rate, b[i].learning_rate);
    EXPECT_EQ(a[i].held_out_kl, b[i].held_out_kl);
    EXPECT_EQ(a[i].held_out_kl.has_value(), a[i].health.has_value());
    EXPECT_TRUE(a[i].health == b[i].health) << i;
    EXPECT_TRUE(a[i].health_before == b[i].health_before) << i;
  }
  EXPECT_TRUE(a.front().health_before);
}

// A teacher that gave its text alone: the same student as with the teacher at hand, and no figure that speaks of it.
TEST_F(TrainTest, TextAloneNeedsNoTeacher) {
  Setting setting;
  setting.options.signal = "text";
  setting.options.objective = {};
  setting.options.objective.by_term.fill(0);
  setting.options.objective.by_term[static_cast<std::size_t>(Term::kCe)] = 1;
  const auto beside = run("beside", setting);
  ASSERT_TRUE(beside) << beside.error().message;
  const auto train_examples = tiny_examples(40);
  const auto held_out = tiny_examples(8, 100);
  const auto alone = [&](int stop_after) {
    std::stop_source stop;
    Watch watch([&](int steps) {
      if (steps == stop_after) stop.request_stop();
    });
    return train(std::nullopt, tiny_decoder(tiny_config(true, 2), 2, model::ComputeType::kFloat32),
                 {train_examples, held_out}, setting.options, root_ / "alone", clock_, watch, stop.get_token());
  };
  ASSERT_FALSE(alone(2));
  const auto summary = alone(0);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->held_out_kl, -1);
  EXPECT_GT(summary->held_out_cross_entropy, 0);
  EXPECT_GT(beside->held_out_kl, 0);
  EXPECT_EQ(beside->held_out_cross_entropy, -1);
  const auto a = metrics("beside"), b = metrics("alone");
  ASSERT_EQ(a.size(), b.size());
  std::size_t measured = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].loss, b[i].loss) << i;
    EXPECT_FALSE(b[i].held_out_kl);
    ASSERT_EQ(a[i].held_out_kl.has_value(), b[i].held_out_cross_entropy.has_value());
    if (!b[i].health) continue;
    ++measured;
    EXPECT_DOUBLE_EQ(a[i].health->perplexity, b[i].health->perplexity);
    EXPECT_NEAR(std::log(b[i].health->perplexity), *b[i].held_out_cross_entropy, 1e-5);
    EXPECT_DOUBLE_EQ(a[i].health->student_entropy, b[i].health->student_entropy);
    EXPECT_EQ(a[i].health->answers, b[i].health->answers);
    EXPECT_TRUE(a[i].health->teacher_entropy && a[i].health->agreement && a[i].health->calibration_error);
    EXPECT_FALSE(b[i].health->teacher_entropy || b[i].health->agreement || b[i].health->calibration_error);
    EXPECT_FALSE(b[i].health->kl_by_position[0]);
  }
  EXPECT_GT(measured, 0U);
}

TEST_F(TrainTest, LearnsTheTeachersDistribution) {
  for (const auto compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    Setting setting;
    setting.compute = compute;
    setting.options.epochs = 40;
    const auto summary = run("learn" + std::string(name_of(compute)), setting);
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_LT(summary->final_loss, 0.4 * summary->first_loss);
    EXPECT_GT(summary->held_out_kl_before, 0);
    EXPECT_LT(summary->held_out_kl, summary->held_out_kl_before);
    EXPECT_GT(summary->tokens_per_s, 0);
    EXPECT_GT(summary->peak_rss_bytes, 0);
    EXPECT_FALSE(std::filesystem::exists(root_ / ("learn" + std::string(name_of(compute))) / "checkpoint.safetensors"));
    const auto weights = model::load_weights(summary->checkpoint);
    ASSERT_TRUE(weights) << weights.error().message;
    EXPECT_EQ(weights->config, tiny_config(true, 2));
  }
}

TEST_F(TrainTest, GoesOnAsIfItHadNeverStopped) {
  for (const bool tied : {true, false}) {
    for (const auto compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
      Setting setting;
      setting.tied = tied;
      setting.compute = compute;
      setting.options.cross_entropy_weight = 0.2;
      setting.options.health_answers = 2;
      const std::string kind = std::string(name_of(compute)) + (tied ? "_tied" : "_untied");
      const auto whole = run("whole" + kind, setting);
      ASSERT_TRUE(whole) << whole.error().message;
      ASSERT_GE(whole->steps, 6);
      const auto stopped = run("parts" + kind, setting, 3);
      ASSERT_FALSE(stopped);
      EXPECT_EQ(stopped.error().fault, Fault::kInterrupted);
      EXPECT_EQ(metrics("parts" + kind).size(), 3U);
      const auto resumed = run("parts" + kind, setting);
      ASSERT_TRUE(resumed) << resumed.error().message;
      EXPECT_EQ(steps_, whole->steps - 3);
      expect_same(metrics("whole" + kind), metrics("parts" + kind));
      ASSERT_TRUE(metrics("whole" + kind).back().health->answers);
      EXPECT_EQ(metrics("whole" + kind).back().health->answers->student.answers, 2);
      EXPECT_EQ(whole->final_loss, resumed->final_loss);
      EXPECT_EQ(whole->held_out_kl_before, resumed->held_out_kl_before);
      const auto a = model::load_weights(whole->checkpoint);
      const auto b = model::load_weights(resumed->checkpoint);
      ASSERT_TRUE(a && b);
      for (std::size_t i = 0; i < a->tensors.size(); ++i) {
        EXPECT_TRUE(torch::equal(a->tensors[i].tensor, b->tensors[i].tensor)) << a->tensors[i].name;
      }
      // Complete: the same call does nothing and says the same.
      const auto again = run("parts" + kind, setting);
      ASSERT_TRUE(again);
      EXPECT_EQ(steps_, 0);
      EXPECT_EQ(again->final_loss, resumed->final_loss);
      EXPECT_EQ(again->checkpoint, resumed->checkpoint);
    }
  }
}

// The teacher reads each exchange once; stopped in the second pass, its states are worked out again as they were.
TEST_F(TrainTest, KeptStatesChangeNothing) {
  Setting setting;
  const auto kept = run("kept", setting);
  ASSERT_TRUE(kept) << kept.error().message;
  ASSERT_FALSE(run("stopped", setting, static_cast<int>(kept->steps) - 1));
  EXPECT_EQ(metrics("stopped").back().epoch, 2);
  ASSERT_TRUE(run("stopped", setting));
  expect_same(metrics("kept"), metrics("stopped"));
  setting.options.teacher_states_mb = 0;
  ASSERT_TRUE(run("fresh", setting));
  const auto a = metrics("kept");
  const auto b = metrics("fresh");
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].loss, b[i].loss, 1e-4 * a[i].loss) << i;
}

// What is kept of the teacher is as good as the teacher where all of it is kept, and training from it resumes like any.
TEST_F(TrainTest, LearnsFromAKeptSignal) {
  const auto teacher = tiny_decoder(tiny_config(true, 3), 1, model::ComputeType::kFloat32);
  const auto train_examples = tiny_examples(40);
  const auto held_out = tiny_examples(8, 100);
  SilentProgress progress;
  std::filesystem::create_directories(root_);
  Setting setting;
  ASSERT_TRUE(run("online", setting));
  TrainOptions options = setting.options;
  options.signal = "top_k";
  options.signal_top_k = 61;
  const auto cached = [&](const std::string& name, int stop_after = 0) -> Result<TrainSummary> {
    const auto kind = options.signal == "top_k" ? dataset::SignalKind::kTopK : dataset::SignalKind::kSampled;
    const auto path = root_ / (options.signal + ".signal");
    RETORT_TRY(write_signal(teacher, train_examples, options, signal_header(train_examples, options, kind, 61), path,
                            progress, {}));
    RETORT_ASSIGN(const dataset::SignalFile file, dataset::SignalFile::open(path));
    std::stop_source stop;
    Watch watch([&](int steps) {
      if (steps == stop_after) stop.request_stop();
    });
    return train(teacher, tiny_decoder(tiny_config(true, 2), 2, model::ComputeType::kFloat32),
                 {train_examples, held_out, &file}, options, root_ / name, clock_, watch, stop.get_token());
  };
  const auto whole = cached("whole");
  ASSERT_TRUE(whole) << whole.error().message;
  const auto a = metrics("online");
  const auto b = metrics("whole");
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].loss, b[i].loss, 0.02 * a[i].loss) << i;
  EXPECT_EQ(a.front().held_out_kl.has_value(), b.front().held_out_kl.has_value());

  options.signal = "sampled";
  ASSERT_TRUE(cached("sampled"));
  EXPECT_THAT(metrics("sampled").front().objective, HasSubstr("8 drawn tokens"));
  ASSERT_FALSE(cached("parts", 3));
  ASSERT_TRUE(cached("parts"));
  expect_same(metrics("sampled"), metrics("parts"));
  EXPECT_LT(*metrics("sampled").back().held_out_kl, *metrics("sampled")[1].held_out_kl);
}

TEST_F(TrainTest, LearnsFromTextAlone) {
  Setting setting;
  setting.options.objective.by_term = {};
  setting.options.objective.by_term[static_cast<std::size_t>(Term::kCe)] = 1;
  ASSERT_TRUE(run("online", setting));
  setting.options.signal = "text";
  ASSERT_TRUE(run("text", setting));
  const auto a = metrics("online");
  const auto b = metrics("text");
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].loss, b[i].loss, 1e-4 * a[i].loss) << i;
  EXPECT_FALSE(b.front().kl.has_value());
}

// The second term: split and stopped like the first. The teacher has a layer more than the student.
TEST_F(TrainTest, HiddenStatesAreMatchedHoweverTheBatchIsSplit) {
  Setting setting;
  setting.options.hidden_state_weight = 1;
  const auto whole = run("whole", setting);
  ASSERT_TRUE(whole) << whole.error().message;
  ASSERT_FALSE(run("stopped", setting, 3));
  ASSERT_TRUE(run("stopped", setting));
  expect_same(metrics("whole"), metrics("stopped"));
  setting.options.micro_batch_tokens = 1;
  ASSERT_TRUE(run("in_parts", setting));
  const auto a = metrics("whole");
  const auto b = metrics("in_parts");
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(a[i].hidden_state_error && b[i].hidden_state_error);
    EXPECT_NEAR(*a[i].hidden_state_error, *b[i].hidden_state_error, 1e-3 * *a[i].hidden_state_error) << i;
    EXPECT_NEAR(a[i].gradient_norm, b[i].gradient_norm, 1e-3 * a[i].gradient_norm) << i;
  }
  EXPECT_LT(*a.back().hidden_state_error, *a.front().hidden_state_error);
}

TEST_F(TrainTest, AFrozenEmbeddingStaysTheTeachers) {
  for (const bool tied : {true, false}) {
    Setting setting;
    setting.tied = tied;
    setting.options.embedding_rate = 0;
    const std::string kind = tied ? "tied" : "untied";
    const auto whole = run("whole" + kind, setting);
    ASSERT_TRUE(whole) << whole.error().message;
    EXPECT_LT(whole->final_loss, whole->first_loss);
    const auto weights = model::load_weights(whole->checkpoint);
    ASSERT_TRUE(weights) << weights.error().message;
    auto before = tiny_decoder(tiny_config(tied, 2), 2, model::ComputeType::kFloat32).named_parameters();
    for (std::size_t i = 0; i < before.size(); ++i) {
      ASSERT_EQ(weights->tensors[i].name, before[i].name);
      const bool frozen = before[i].name == "token_embd.weight" || before[i].name == "output.weight";
      EXPECT_EQ(torch::equal(weights->tensors[i].tensor, before[i].tensor), frozen) << before[i].name;
    }
    ASSERT_FALSE(run("parts" + kind, setting, 3));
    ASSERT_TRUE(run("parts" + kind, setting));
    expect_same(metrics("whole" + kind), metrics("parts" + kind));
  }
}

// Killed between a checkpoint and the next: what was measured after the checkpoint is measured again, the same.
TEST_F(TrainTest, GoesOnFromAnOlderCheckpoint) {
  Setting setting;
  ASSERT_TRUE(run("whole", setting));
  ASSERT_FALSE(run("killed", setting, 2));
  std::filesystem::copy(root_ / "killed", root_ / "older");
  ASSERT_FALSE(run("killed", setting, 2));  // four steps now
  std::filesystem::copy_file(root_ / "older" / "checkpoint.safetensors", root_ / "killed" / "checkpoint.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(metrics("killed").size(), 4U);
  ASSERT_TRUE(run("killed", setting));
  expect_same(metrics("whole"), metrics("killed"));
}

TEST_F(TrainTest, TheSeedDecidesTheLosses) {
  Setting setting;
  ASSERT_TRUE(run("first", setting));
  ASSERT_TRUE(run("second", setting));
  expect_same(metrics("first"), metrics("second"));
  setting.options.seed = 2;
  ASSERT_TRUE(run("other", setting));
  EXPECT_NE(metrics("first")[0].loss, metrics("other")[0].loss);
}

// Pitfall: normalising by what a micro-batch holds.
TEST_F(TrainTest, AccumulationChangesNothingButRounding) {
  Setting setting;
  ASSERT_TRUE(run("at_once", setting));
  setting.options.micro_batch_tokens = 1;  // a row at a time
  setting.options.head_rows = 5;
  ASSERT_TRUE(run("in_parts", setting));
  const auto a = metrics("at_once");
  const auto b = metrics("in_parts");
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i].loss, b[i].loss, 2e-4 * a[i].loss) << i;
    EXPECT_NEAR(a[i].gradient_norm, b[i].gradient_norm, 1e-3 * a[i].gradient_norm) << i;
  }
}

TEST_F(TrainTest, RefusesWhatIsNotItsOwn) {
  Setting setting;
  ASSERT_FALSE(run("run", setting, 2));
  setting.options.learning_rate *= 2;
  auto result = run("run", setting);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, Fault::kCaller);
  EXPECT_THAT(result.error().message, HasSubstr("another"));
  setting.options.learning_rate /= 2;

  // One byte of a tensor differs.
  const auto path = root_ / "run" / "checkpoint.safetensors";
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-100, std::ios::end);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(-100, std::ios::end);
    file.put(byte);
  }
  result = run("run", setting);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("damaged"));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 8);
  EXPECT_FALSE(run("run", setting));
}

TEST_F(TrainTest, GoesOnFromTheCheckpointBeforeADamagedOne) {
  Setting setting;
  setting.options.checkpoint_every = 1;
  setting.options.keep_checkpoints = 3;
  setting.options.optimiser_bits = 8;
  setting.options.epochs = 3;
  ASSERT_TRUE(run("whole", setting));
  const auto files = [&](const std::string& name) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(root_ / name)) {
      const std::string file = entry.path().filename().string();
      if (file.starts_with("checkpoint")) names.push_back(file);
    }
    std::sort(names.begin(), names.end());
    return names;
  };
  EXPECT_TRUE(files("whole").empty());  // of no further use
  ASSERT_FALSE(run("run", setting, 5));
  EXPECT_EQ(files("run"), (std::vector<std::string>{"checkpoint-00000003.safetensors",
                                                    "checkpoint-00000004.safetensors", "checkpoint.safetensors"}));
  const auto damage = [&](const std::string& file) {
    std::fstream stream(root_ / "run" / file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(-100, std::ios::end);
    const char byte = static_cast<char>(stream.get() ^ 1);
    stream.seekp(-100, std::ios::end);
    stream.put(byte);
  };
  damage("checkpoint.safetensors");
  std::filesystem::resize_file(root_ / "run" / "checkpoint-00000004.safetensors", 1000);
  ASSERT_TRUE(run("run", setting));
  EXPECT_THAT(notes_, Contains(AllOf(HasSubstr("checkpoint.safetensors is damaged"), HasSubstr("of step 3"))));
  expect_same(metrics("whole"), metrics("run"));
}

// Nothing of a clock or a machine is in the student's file.
TEST_F(TrainTest, EqualTrainingsGiveEqualFiles) {
  Setting setting;
  ASSERT_TRUE(run("first", setting));
  ASSERT_TRUE(run("second", setting));
  EXPECT_EQ(*read_file(root_ / "first" / "student.safetensors"), *read_file(root_ / "second" / "student.safetensors"));
  EXPECT_NE(*read_file(root_ / "first" / "summary.json"), *read_file(root_ / "second" / "summary.json"));
}

TEST_F(TrainTest, SaysWhatIsMissingBeforeSpendingAnything) {
  const auto teacher = tiny_decoder(tiny_config(true, 1), 1, model::ComputeType::kFloat32);
  const auto examples = tiny_examples(3);
  SilentProgress progress;
  const auto attempt = [&](const model::DecoderConfig& config, std::vector<dataset::Example> given) {
    return train(teacher, tiny_decoder(config, 2, model::ComputeType::kFloat32), {given, {}}, tiny_options(),
                 root_ / "run", clock_, progress, {});
  };
  auto result = attempt(tiny_config(true, 1, 64), examples);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("vocabulary"));
  auto unsupervised = examples;
  for (auto& example : unsupervised) std::fill(example.supervised.begin(), example.supervised.end(), 0);
  result = attempt(tiny_config(true, 1), unsupervised);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("nothing to train on"));
  auto foreign = examples;
  foreign[1].ids[2] = 61;
  result = attempt(tiny_config(true, 1), foreign);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("61"));
}

TEST_F(TrainTest, StopsWithASentenceWhenTheLossIsNotANumber) {
  const auto teacher = tiny_decoder(tiny_config(true, 1), 1, model::ComputeType::kFloat32);
  auto student = tiny_decoder(tiny_config(true, 1), 2, model::ComputeType::kFloat32);
  student.named_parameters()[3].tensor.fill_(std::numeric_limits<float>::quiet_NaN());
  const auto examples = tiny_examples(3);
  SilentProgress progress;
  const auto result =
      train(teacher, std::move(student), {examples, {}}, tiny_options(), root_ / "run", clock_, progress, {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, Fault::kWorld);
  EXPECT_THAT(result.error().message, HasSubstr("was not begun"));
  EXPECT_THAT(result.error().message, HasSubstr("student logits hold NaN or infinity at "));
}

// What was finite at the start need not stay so.
TEST_F(TrainTest, NamesTheStepAtWhichTheLossCeasedToBeANumber) {
  Setting setting;
  setting.options.learning_rate = 1e30;  // one step takes the weights to where logits overflow
  setting.options.warmup_fraction = 0;
  const auto teacher = tiny_decoder(tiny_config(true, 3), 1, model::ComputeType::kFloat32);
  auto student = tiny_decoder(tiny_config(true, 2), 2, model::ComputeType::kFloat32);
  const auto examples = tiny_examples(40);
  SilentProgress progress;
  const auto result =
      train(teacher, std::move(student), {examples, {}}, setting.options, root_ / "run", clock_, progress, {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, Fault::kWorld);
  EXPECT_THAT(result.error().message, HasSubstr("step 2"));
}

TEST_F(TrainTest, NamesTheTeacherWhenItsLogitsAreNotNumbers) {
  auto teacher = tiny_decoder(tiny_config(true, 1), 1, model::ComputeType::kFloat32);
  teacher.named_parameters()[3].tensor.fill_(std::numeric_limits<float>::infinity());
  auto student = tiny_decoder(tiny_config(true, 1), 2, model::ComputeType::kFloat32);
  const auto examples = tiny_examples(3);
  SilentProgress progress;
  const auto result =
      train(teacher, std::move(student), {examples, {}}, tiny_options(), root_ / "run", clock_, progress, {});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("teacher logits"));
}

// Every objective goes the whole way: it is learnt, a line says what its loss is, and the held-out KL is the same
// thing.
TEST_F(TrainTest, EveryObjectiveIsLearnt) {
  std::optional<double> before;
  for (std::size_t i = 0; i < kTerms; ++i) {
    Setting setting;
    setting.options.objective.by_term = {};
    setting.options.objective.by_term[i] = 0.5;
    setting.options.temperature = i == 2 ? 2 : 1;
    setting.options.epochs = 6;
    setting.options.micro_batch_tokens = 50;
    const std::string& name = term_names()[i];
    const auto summary = run(name, setting);
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_LT(summary->final_loss, summary->first_loss) << name;
    EXPECT_THAT(metrics(name).front().objective, HasSubstr("0.5 " + name));
    if (!before) before = summary->held_out_kl_before;
    EXPECT_EQ(summary->held_out_kl_before, *before) << name;
    if (name == "ce") continue;  // random text says little of the teacher
    EXPECT_LT(summary->held_out_kl, summary->held_out_kl_before) << name;
  }
}

// The gradient of every kind of tensor, the tied embedding among them, is the slope of the measured loss.
TEST(Step, GradientIsTheSlopeOfTheLoss) {
  for (const bool tied : {true, false}) {
    const auto teacher = tiny_decoder(tiny_config(tied, 2), 1, model::ComputeType::kFloat32);
    const auto student = tiny_decoder(tiny_config(tied, 2), 2, model::ComputeType::kFloat32);
    const auto examples = tiny_examples(6);
    dataset::PackOptions pack_options;
    pack_options.max_length = 40;
    const dataset::Packing packing = dataset::pack(examples, pack_options);
    TrainOptions options = tiny_options();
    const SystemClock clock;
    StepRunner runner(teacher, student, options, clock);
    ASSERT_TRUE(runner.step({packing.rows, {}}, 0.0));  // a learning rate of 0: gradients without an update
    const Batch batch = make_batch(packing.rows);
    const torch::Tensor hidden = runner.teacher_hidden(batch);
    const auto loss = [&] {
      const LossSums sums = runner.measure(batch, hidden);
      return sums.kl / static_cast<double>(sums.tokens);
    };
    for (AdamWParameter& parameter : runner.optimiser().parameters()) {
      // Along the gradient itself the slope is its norm: every entry takes part.
      const torch::Tensor direction = parameter.gradient / parameter.gradient.norm();
      const double norm = parameter.gradient.norm().item<double>();
      EXPECT_NEAR(slope_along(parameter, direction, loss), norm, 0.01 * norm + 2e-4) << parameter.name;
    }
  }
}

TEST(Step, ATiedHeadIsOneParameter) {
  const auto teacher = tiny_decoder(tiny_config(true, 1), 1, model::ComputeType::kFloat32);
  const auto student = tiny_decoder(tiny_config(true, 1), 2, model::ComputeType::kFloat32);
  const SystemClock clock;
  StepRunner runner(teacher, student, tiny_options(), clock);
  int with_embedding_shape = 0;
  for (const AdamWParameter& parameter : runner.optimiser().parameters()) {
    EXPECT_NE(parameter.name, "output.weight");
    if (parameter.compute.size(0) == 61) ++with_embedding_shape;
  }
  EXPECT_EQ(with_embedding_shape, 1);
}

}  // namespace
}  // namespace retort::train
