#include "train/preflight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "model/torch_generator.h"
#include "model/torch_scorer.h"
#include "train/tiny_model_for_test.h"

namespace retort::train {
namespace {

using ::testing::HasSubstr;

TrainOptions tiny_options() {
  TrainOptions options;
  options.max_length = 32;
  options.tokens_per_step = 64;
  options.head_rows = 7;
  return options;
}

// Answers of the teacher itself, sharp enough to be familiar with them.
std::vector<dataset::Example> own_examples(const model::Decoder& teacher, std::size_t count) {
  std::vector<TokenRequest> requests(count);
  for (std::size_t i = 0; i < count; ++i) {
    requests[i].prompt_ids = {static_cast<TokenId>(i % 61), static_cast<TokenId>((7 * i + 3) % 61)};
    requests[i].sampling = {.temperature = 0.5, .top_p = 1, .top_k = 0, .min_p = 0, .max_tokens = 20, .seed = i};
  }
  model::TorchGenerator generator(teacher);
  const auto answers = generate_all(generator, requests, {});
  RETORT_CHECK(answers.has_value());
  std::vector<dataset::Example> examples(count);
  for (std::size_t i = 0; i < count; ++i) {
    examples[i].ids = requests[i].prompt_ids;
    examples[i].ids.insert(examples[i].ids.end(), (*answers)[i].ids.begin(), (*answers)[i].ids.end());
    examples[i].supervised.assign(examples[i].ids.size(), 1);
    examples[i].supervised[0] = examples[i].supervised[1] = 0;
  }
  return examples;
}

// A teacher whose distributions are far from flat.
model::Decoder sharp_decoder(std::int64_t layers, std::uint64_t seed, model::ComputeType compute) {
  const model::Decoder flat = tiny_decoder(tiny_config(true, layers), seed, model::ComputeType::kFloat32);
  std::vector<model::NamedTensor> tensors = flat.named_parameters();
  for (model::NamedTensor& named : tensors) {
    if (named.name == "output_norm.weight") named.tensor = named.tensor * 3;
  }
  auto decoder = model::Decoder::from_tensors(flat.config(), tensors, compute);
  RETORT_CHECK(decoder.has_value());
  return std::move(*decoder);
}

// An engine that computes as the teacher does.
auto itself(const model::Decoder& teacher) {
  return [&teacher]() -> Result<std::unique_ptr<Scorer>> { return std::make_unique<model::TorchScorer>(teacher); };
}

std::string decode(std::span<const TokenId> ids) {
  std::string text;
  for (const TokenId id : ids) text += std::to_string(id) + (id % 2 == 0 ? "\n" : " ");
  return text + "\xff";  // what a model may sample
}

const Check& named(const std::vector<Check>& checks, const std::string& name) {
  const auto found = std::find_if(checks.begin(), checks.end(), [&](const Check& check) { return check.name == name; });
  RETORT_CHECK(found != checks.end());
  return *found;
}

TEST(Preflight, PassesWhatIsRightInEitherType) {
  for (const model::ComputeType compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    for (const auto& [weight, lora_rank] : {std::pair{0.0, 0}, {2.0, 0}, {0.0, 4}, {2.0, 4}}) {
      const SystemClock clock;
      const model::Decoder teacher = sharp_decoder(3, 1, compute);
      const std::vector<std::int64_t> kept = {0, 2};
      auto student = sharp_decoder(3, 1, model::ComputeType::kFloat32).keep_layers(kept);
      ASSERT_TRUE(student);
      TrainOptions options = tiny_options();
      options.hidden_state_weight = weight;
      options.lora_rank = lora_rank;
      const auto examples = own_examples(teacher, 12);
      StepRunner runner(teacher, *student, options, clock);
      const auto checks = preflight(runner, options, {&teacher, examples, itself(teacher), "itself", decode});
      ASSERT_TRUE(checks) << checks.error().message;
      EXPECT_EQ(checks->size(), 7U);
      for (const Check& check : *checks) {
        EXPECT_TRUE(check.passed) << check.name << ": " << check.measured << " (" << name_of(compute) << ")";
      }
      EXPECT_FALSE(failure_of(*checks));
      // The first two ids are the prompt.
      EXPECT_THAT(named(*checks, "supervision").measured, HasSubstr("is learnt: 0\\n3 \uFFFD⟦"));
      EXPECT_THAT(named(*checks, "alignment").measured, Not(HasSubstr("to be sure")));
    }
  }
}

// Nothing to learn is nothing wrong: what is left of the gradient is rounding.
TEST(Preflight, PassesAStudentThatIsTheTeacher) {
  for (const model::ComputeType compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    const SystemClock clock;
    const model::Decoder teacher = sharp_decoder(2, 1, compute);
    const auto examples = own_examples(teacher, 12);
    StepRunner runner(teacher, sharp_decoder(2, 1, model::ComputeType::kFloat32), tiny_options(), clock);
    const auto checks = preflight(runner, tiny_options(), {&teacher, examples, itself(teacher), "itself", decode});
    ASSERT_TRUE(checks) << checks.error().message;
    for (const Check& check : *checks) EXPECT_TRUE(check.passed) << check.name << ": " << check.measured;
  }
}

TEST(Preflight, LeavesEverythingAsItWas) {
  for (const model::ComputeType compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    const SystemClock clock;
    const model::Decoder teacher = sharp_decoder(2, 1, compute);
    const auto examples = own_examples(teacher, 6);
    dataset::PackOptions pack;
    pack.max_length = 32;
    const dataset::Packing packing = dataset::pack(examples, pack);
    const auto losses = [&](bool checked, std::int64_t lora_rank) {
      TrainOptions options = tiny_options();
      options.lora_rank = lora_rank;
      StepRunner runner(teacher, sharp_decoder(2, 9, model::ComputeType::kFloat32), options, clock);
      if (checked) {
        EXPECT_TRUE(preflight(runner, options, {&teacher, examples, nullptr, "", {}}));
      }
      std::vector<double> all;
      for (int i = 0; i < 3; ++i) all.push_back(runner.step({packing.rows, {}}, 1e-2)->loss);
      return all;
    };
    for (const std::int64_t lora_rank : {0, 4}) EXPECT_EQ(losses(true, lora_rank), losses(false, lora_rank));
  }
}

// A scorer whose rows stand one place too late: what an engine that numbers them otherwise would give.
class Shifted final : public Scorer {
 public:
  explicit Shifted(model::Decoder decoder) : scorer_(std::move(decoder)) {}
  std::size_t vocabulary() const override { return scorer_.vocabulary(); }
  std::size_t context_tokens() const override { return scorer_.context_tokens(); }
  Result<void> score(std::span<const TokenId> ids, std::size_t first_row,
                     const std::function<Result<void>(const LogitRows&)>& visit) override {
    std::vector<float> late(vocabulary());  // nothing yet
    return scorer_.score(ids, first_row, [&](const LogitRows& rows) {
      const std::size_t count = rows.rows * rows.vocabulary;
      late.insert(late.end(), rows.data, rows.data + count);
      LogitRows moved = rows;
      moved.data = late.data();
      const Result<void> visited = visit(moved);
      late.erase(late.begin(), late.begin() + static_cast<std::ptrdiff_t>(count));
      return visited;
    });
  }

 private:
  model::TorchScorer scorer_;
};

TEST(Preflight, StopsWhenTwoEnginesDisagree) {
  const SystemClock clock;
  const model::Decoder teacher = sharp_decoder(2, 1, model::ComputeType::kFloat32);
  const auto examples = own_examples(teacher, 6);
  StepRunner runner(teacher, sharp_decoder(2, 9, model::ComputeType::kFloat32), tiny_options(), clock);
  const auto open_other = [&]() -> Result<std::unique_ptr<Scorer>> { return std::make_unique<Shifted>(teacher); };
  const auto checks = preflight(runner, tiny_options(), {&teacher, examples, open_other, "the other", {}});
  ASSERT_TRUE(checks);
  EXPECT_FALSE(named(*checks, "teacher").passed);
  const auto failure = failure_of(*checks);
  ASSERT_TRUE(failure);
  EXPECT_THAT(failure->value().message, HasSubstr("against the other"));
  EXPECT_THAT(failure->value().message, HasSubstr("was not begun"));
}

TEST(Preflight, SaysWhenThereIsNothingToLearn) {
  const SystemClock clock;
  const model::Decoder teacher = sharp_decoder(2, 1, model::ComputeType::kFloat32);
  auto examples = own_examples(teacher, 2);
  for (auto& example : examples) std::fill(example.supervised.begin(), example.supervised.end(), 0);
  StepRunner runner(teacher, sharp_decoder(2, 9, model::ComputeType::kFloat32), tiny_options(), clock);
  const auto checks = preflight(runner, tiny_options(), {&teacher, examples, nullptr, "", {}});
  ASSERT_FALSE(checks);
  EXPECT_THAT(checks.error().message, HasSubstr("train.supervise"));
}

}  // namespace
}  // namespace retort::train
