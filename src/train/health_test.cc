#include "train/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "base/clock.h"
#include "exchange/repetition.h"
#include "train/health_answers.h"
#include "train/held_out.h"
#include "train/metrics.h"
#include "train/tiny_model_for_test.h"
#include "train/train.h"

namespace retort::train {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr TokenId kEnd = 60;

TrainOptions options_for_health() {
  TrainOptions options;
  options.max_length = 100;
  options.tokens_per_step = 200;
  options.micro_batch_tokens = 150;
  options.head_rows = 16;
  options.held_out_every = 2;
  options.checkpoint_every = 0;
  options.warmup_fraction = 0;
  return options;
}

// Answers of 3 to 90 tokens after prompts of 4; every second one ends with kEnd. The first has two answers.
std::vector<dataset::Example> answers_to_compare() {
  std::vector<dataset::Example> all;
  std::size_t id = 5;
  for (const std::size_t length : {20, 3, 90, 40, 17}) {
    dataset::Example example;
    for (std::size_t i = 0; i < 4 + length; ++i) {
      id = (id * 13 + 7 + i) % 60;
      example.ids.push_back(static_cast<TokenId>(id));
      example.supervised.push_back(i >= 4 ? 1 : 0);
    }
    if (all.size() % 2 == 0) example.ids.back() = kEnd;
    if (all.empty()) example.supervised[12] = 0;
    all.push_back(example);
  }
  return all;
}

// log-softmax of every place in FP64, each example alone.
torch::Tensor log_probabilities(const model::Decoder& decoder, const std::vector<TokenId>& ids) {
  const auto n = static_cast<std::int64_t>(ids.size());
  const torch::NoGradGuard no_gradient;
  const torch::Tensor tokens =
      torch::tensor(std::vector<std::int64_t>(ids.begin(), ids.end()), torch::kInt64).view({1, n});
  const torch::Tensor hidden =
      decoder.forward({tokens, torch::arange(n, torch::kInt64).view({1, n}), torch::zeros({1, n}, torch::kInt64)});
  return torch::log_softmax(torch::mm(hidden[0].to(torch::kDouble), decoder.head_weight().to(torch::kDouble).t()), 1);
}

struct Sum {
  double total = 0, count = 0;
  void add(double value) { total += value, count += 1; }
  double mean() const { return total / count; }
};

// Every figure against plain formulae in FP64; the way the work is split doesn't show.
TEST(HeldOutHealth, IsWhatPlainFormulaeGive) {
  const auto teacher = tiny_decoder(tiny_config(false, 3), 1, model::ComputeType::kFloat32);
  const auto student = tiny_decoder(tiny_config(false, 2), 2, model::ComputeType::kFloat32);
  const auto examples = answers_to_compare();
  const auto text = tiny_examples(3, 50);
  Sum kl, teacher_entropy, student_entropy, agreed, surprise, at_end, teacher_elsewhere, elsewhere;
  std::vector<Sum> positions(4);
  std::vector<Sum> confidence(10), teachers(10);
  for (const dataset::Example& example : examples) {
    const torch::Tensor p = log_probabilities(teacher, example.ids), q = log_probabilities(student, example.ids);
    std::size_t index = 0;
    for (std::size_t t = 1; t < example.ids.size(); ++t) {
      index = example.supervised[t - 1] != 0 ? index + 1 : 0;
      if (example.supervised[t] == 0) continue;
      const auto row = static_cast<std::int64_t>(t) - 1;
      const torch::Tensor lp = p[row], lq = q[row];
      const double here = (lp.exp() * (lp - lq)).sum().item<double>();
      kl.add(here);
      positions[index < 4 ? 0 : index < 16 ? 1 : index < 64 ? 2 : 3].add(here);
      teacher_entropy.add(-(lp.exp() * lp).sum().item<double>());
      student_entropy.add(-(lq.exp() * lq).sum().item<double>());
      const auto top = lq.argmax().item<std::int64_t>();
      agreed.add(top == lp.argmax().item<std::int64_t>() ? 1 : 0);
      surprise.add(-lq[example.ids[t]].item<double>());
      const double sure = std::exp(lq[top].item<double>());
      confidence[static_cast<std::size_t>(sure * 10)].add(sure);
      teachers[static_cast<std::size_t>(sure * 10)].add(std::exp(lp[top].item<double>()));
      (example.ids[t] == kEnd ? at_end : elsewhere).add(std::exp(lq[kEnd].item<double>()));
      if (example.ids[t] != kEnd) teacher_elsewhere.add(std::exp(lp[kEnd].item<double>()));
    }
  }
  double calibration = 0;
  for (std::size_t b = 0; b < 10; ++b) calibration += std::abs(confidence[b].total - teachers[b].total) / kl.count;
  Sum text_surprise, teachers_surprise;
  for (const dataset::Example& example : text) {
    const torch::Tensor p = log_probabilities(teacher, example.ids), q = log_probabilities(student, example.ids);
    for (std::size_t t = 1; t < example.ids.size(); ++t) {
      if (example.supervised[t] == 0) continue;
      text_surprise.add(-q[static_cast<std::int64_t>(t) - 1][example.ids[t]].item<double>());
      teachers_surprise.add(-p[static_cast<std::int64_t>(t) - 1][example.ids[t]].item<double>());
    }
  }
  ASSERT_EQ(at_end.count, 3);
  ASSERT_GT(positions[3].count, 20);

  const SystemClock clock;
  const auto ranks = one_rank();
  for (const std::int64_t split : {150, 1}) {
    TrainOptions options = options_for_health();
    options.micro_batch_tokens = split;
    options.head_rows = split == 1 ? 7 : 16;
    StepRunner runner(teacher, student.clone(model::ComputeType::kFloat32), options, clock);
    const HeldOut held_out(runner, examples, text, std::vector<TokenId>{kEnd}, options, *ranks);
    const auto figures = held_out.measure(runner);
    ASSERT_TRUE(figures && figures->health);
    const StudentHealth& health = *figures->health;
    EXPECT_NEAR(figures->loss, kl.mean(), 1e-5);
    EXPECT_EQ(health.tokens, static_cast<std::int64_t>(kl.count));
    EXPECT_NEAR(health.teacher_entropy.value(), teacher_entropy.mean(), 1e-5);
    EXPECT_NEAR(health.student_entropy, student_entropy.mean(), 1e-5);
    EXPECT_NEAR(health.agreement.value(), agreed.mean(), 1e-9);
    EXPECT_NEAR(health.perplexity, std::exp(surprise.mean()), 1e-4 * health.perplexity);
    EXPECT_NEAR(health.calibration_error.value(), calibration, 1e-5);
    EXPECT_NEAR(health.student_end_at_end.value_or(-1), at_end.mean(), 1e-6);
    EXPECT_NEAR(health.student_end_elsewhere.value_or(-1), elsewhere.mean(), 1e-6);
    EXPECT_NEAR(health.teacher_end_elsewhere.value_or(-1), teacher_elsewhere.mean(), 1e-6);
    for (std::size_t p = 0; p < 4; ++p) EXPECT_NEAR(health.kl_by_position[p].value_or(-1), positions[p].mean(), 1e-5);
    ASSERT_TRUE(health.text);
    EXPECT_EQ(health.text->tokens, static_cast<std::int64_t>(text_surprise.count));
    EXPECT_NEAR(health.text->student, std::exp(text_surprise.mean()), 1e-4 * health.text->student);
    EXPECT_NEAR(health.text->teacher.value(), std::exp(teachers_surprise.mean()), 1e-4 * *health.text->teacher);
  }
}

TEST(HeldOutHealth, IsTheSameInBf16ButForItsRounding) {
  const auto examples = answers_to_compare();
  const SystemClock clock;
  const auto ranks = one_rank();
  std::vector<StudentHealth> found;
  for (const auto compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    const auto teacher = tiny_decoder(tiny_config(true, 3), 1, compute);
    const auto student = tiny_decoder(tiny_config(true, 2), 2, model::ComputeType::kFloat32);
    StepRunner runner(teacher, student, options_for_health(), clock);
    const HeldOut held_out(runner, examples, {}, std::vector<TokenId>{kEnd}, options_for_health(), *ranks);
    const auto figures = held_out.measure(runner);
    ASSERT_TRUE(figures && figures->health);
    found.push_back(*figures->health);
    EXPECT_FALSE(found.back().text);
  }
  EXPECT_NEAR(found[0].teacher_entropy.value(), found[1].teacher_entropy.value(), 0.03);
  EXPECT_NEAR(found[0].perplexity, found[1].perplexity, 0.03 * found[0].perplexity);
}

// A student whose next token is a function of the last one: one-hot embeddings, layers that add nothing.
model::Decoder scripted_student(const std::function<TokenId(TokenId)>& next, float sureness = 4) {
  const auto config = tiny_config(false, 1);
  auto made = tiny_decoder(config, 3, model::ComputeType::kFloat32);
  for (model::NamedTensor& named : made.named_parameters()) {
    const torch::NoGradGuard no_gradient;
    if (named.name == "blk.0.attn_output.weight" || named.name == "blk.0.ffn_down.weight") named.tensor.zero_();
    if (named.name == "output_norm.weight") named.tensor.fill_(1);
    if (named.name == "token_embd.weight") {
      named.tensor.zero_();
      for (std::int64_t id = 0; id < config.vocabulary; ++id) named.tensor[id][id % config.hidden] = 1;
    }
    if (named.name == "output.weight") {
      named.tensor.zero_();
      for (TokenId id = 0; id < config.hidden; ++id) named.tensor[next(id)][id] = sureness;
    }
  }
  return made;
}

// Prompts of 24 tokens that count, and answers that don't.
std::vector<dataset::Example> counting_examples(std::size_t count) {
  std::vector<dataset::Example> all;
  for (std::size_t i = 0; i < count; ++i) {
    dataset::Example example;
    for (std::size_t j = 0; j < 24; ++j) example.ids.push_back(static_cast<TokenId>((i + j) % 30));
    for (std::size_t j = 0; j < 20; ++j) example.ids.push_back(static_cast<TokenId>((i + j * j * 7 + 11 * j) % 60));
    example.ids.push_back(kEnd);
    example.supervised.assign(example.ids.size(), 1);
    std::fill_n(example.supervised.begin(), 24, 0);
    all.push_back(example);
  }
  return all;
}

std::vector<std::string> kinds(const std::vector<HealthWarning>& warnings) {
  std::vector<std::string> names;
  for (const HealthWarning& warning : warnings) names.push_back(warning.kind);
  return names;
}

OwnAnswers answers_of(const model::Decoder& student) {
  const HealthAnswers asked(counting_examples(6), options_for_health(), {}, std::vector<TokenId>{kEnd}, 128);
  RETORT_CHECK(!asked.empty());
  const auto first = asked.measure(student);
  const auto second = asked.measure(student);
  RETORT_CHECK(first && second);
  EXPECT_EQ(*first, *second);
  return *first;
}

TEST(HealthAnswers, SeesAStudentThatEndsCopiesOrLoops) {
  const OwnAnswers ends = answers_of(scripted_student([](TokenId) { return kEnd; }));
  EXPECT_EQ(ends.student.answers, 6);
  EXPECT_EQ(ends.student.empty, 1);
  EXPECT_EQ(ends.student.ended, 1);
  EXPECT_EQ(ends.teacher.empty, 0);
  EXPECT_EQ(ends.teacher.ended, 1);
  EXPECT_EQ(ends.teacher.tokens, 20);
  EXPECT_THAT(kinds(warnings(ends)), ElementsAre("empties"));

  const OwnAnswers copies = answers_of(scripted_student([](TokenId id) { return (id + 1) % 30; }));
  EXPECT_EQ(copies.student.copied, 1);
  EXPECT_EQ(copies.student.ended, 0);
  EXPECT_EQ(copies.student.looping, 0);
  EXPECT_THAT(kinds(warnings(copies)), ElementsAre("copies"));

  const OwnAnswers loops = answers_of(scripted_student([](TokenId id) { return id == 41 % 32 ? 7 : 41; }));
  EXPECT_EQ(loops.student.looping, 1);
  EXPECT_LT(loops.student.distinct_bigrams, 0.05);
  EXPECT_THAT(kinds(warnings(loops)), ElementsAre("loops"));
}

// Both are cut at the same length, the teacher's own where that is less.
TEST(HealthAnswers, AreCutLikeTheTeachers) {
  SamplingOptions sampling;
  sampling.max_tokens = 10;
  const HealthAnswers asked(counting_examples(3), options_for_health(), sampling, std::vector<TokenId>{kEnd}, 128);
  const auto answers = asked.measure(scripted_student([](TokenId id) { return (id + 1) % 30; }));
  ASSERT_TRUE(answers);
  EXPECT_EQ(answers->student.tokens, 10);
  EXPECT_EQ(answers->teacher.tokens, 10);
  EXPECT_EQ(answers->teacher.ended, 0);
}

TEST(HealthWarnings, ComeAtTheirThresholds) {
  OwnAnswers answers;
  answers.student = answers.teacher = {10, 30, 0.8, 0, 0, 0, 0.9};
  EXPECT_THAT(warnings(answers), IsEmpty());
  answers.student.empty = kEmptyMargin;
  answers.student.copied = kCopiedMargin;
  answers.student.looping = kLoopingMargin;
  answers.student.tokens = kShortShare * 30;
  EXPECT_THAT(warnings(answers), IsEmpty());
  answers.student.tokens -= 1;
  EXPECT_THAT(kinds(warnings(answers)), ElementsAre("short"));
  answers.student.empty += 0.1;
  answers.student.copied += 0.1;
  answers.student.looping += 0.1;
  EXPECT_THAT(kinds(warnings(answers)), ElementsAre("empties", "copies", "loops"));
  answers.student.answers = 3;  // one answer of three proves nothing
  EXPECT_THAT(kinds(warnings(answers)), ElementsAre("short", "loops"));
  answers.student.answers = 10;
  answers.teacher = answers.student;  // the teacher does it too
  EXPECT_THAT(warnings(answers), IsEmpty());

  StudentHealth health, before;
  health.teacher_entropy = 2;
  health.student_entropy = 2 * kEntropyShare;
  health.teacher_end_elsewhere = 0.01;
  health.student_end_elsewhere = kEarlyEndTimes * 0.01 + kEarlyEndProbability;
  before.text = TextFigures{100, 10, 5};
  health.text = TextFigures{100, kForgottenTimes * 10, 5};
  EXPECT_THAT(warnings(health, &before), IsEmpty());
  health.student_entropy -= 0.01;
  *health.student_end_elsewhere += 0.001;
  health.text->student += 0.1;
  EXPECT_THAT(kinds(warnings(health, &before)), ElementsAre("entropy", "ends_early", "forgets"));
  EXPECT_THAT(kinds(warnings(health, nullptr)), ElementsAre("entropy", "ends_early"));
  health.teacher_entropy = 0.05;  // a sure teacher
  health.student_entropy = 0;
  EXPECT_THAT(kinds(warnings(health, nullptr)), ElementsAre("ends_early"));
}

TEST(HealthWarnings, StandOverTheLines) {
  std::vector<StepMetrics> lines(4);
  for (std::size_t i = 0; i < 4; ++i) {
    lines[i].step = static_cast<std::int64_t>(i) + 1;
    lines[i].health.emplace();
    lines[i].health->teacher_entropy = 2;
    lines[i].health->student_entropy = i == 1 || i == 2 ? 0.5 : 1.9;
  }
  auto standing = standing_warnings(std::span(lines).first(3));
  ASSERT_EQ(standing.size(), 1U);
  EXPECT_EQ(standing[0].first_step, 2);
  EXPECT_FALSE(standing[0].gone);
  standing = standing_warnings(lines);
  ASSERT_EQ(standing.size(), 1U);
  EXPECT_THAT(standing[0].text(), HasSubstr("recovered"));

  // A measurement without answers says nothing of them.
  for (StepMetrics& line : lines) line.health->student_entropy = 1.9;
  lines[1].health->answers = OwnAnswers{{10, 30, 0.8, 0, 1, 0, 0.9}, {10, 30, 0.8, 0, 0, 0, 0.9}};
  standing = standing_warnings(lines);
  ASSERT_EQ(standing.size(), 1U);
  EXPECT_FALSE(standing[0].gone);
  lines[3].health->answers = OwnAnswers{{10, 30, 0.8, 0, 0, 0, 0.9}, {10, 30, 0.8, 0, 0, 0, 0.9}};
  EXPECT_TRUE(standing_warnings(lines)[0].gone);
}

class Notes final : public Progress {
 public:
  void begin(std::string_view, double, std::string_view) override {}
  void advance(double, std::string_view) override {}
  void end(std::string_view) override {}
  void note(std::string_view sentence) override { all.emplace_back(sentence); }
  std::vector<std::string> all;
};

// The run says it while it trains, its lines and its summary keep it; and asking for answers changes no loss.
TEST(HealthWhileTraining, AStudentThatAlwaysEndsIsSpokenOfAtOnce) {
  const auto root = std::filesystem::temp_directory_path() / "retort_health_while_training";
  std::filesystem::remove_all(root);
  const auto teacher = tiny_decoder(tiny_config(false, 2), 1, model::ComputeType::kFloat32);
  const auto examples = counting_examples(30);
  SystemClock clock;
  Notes notes;
  TrainHelpers helpers;
  helpers.end_ids = {kEnd};
  std::vector<std::vector<StepMetrics>> lines;
  for (const std::int64_t asked : {4, 0}) {
    TrainOptions options = options_for_health();
    options.learning_rate = 1e-6;
    options.tokens = 800;
    options.health_answers = asked;
    const auto folder = root / std::to_string(asked);
    notes.all.clear();
    const auto summary = train(teacher, scripted_student([](TokenId) { return kEnd; }, 2), {examples, examples},
                               options, folder, clock, notes, {}, helpers);
    ASSERT_TRUE(summary) << summary.error().message;
    lines.push_back(*read_metrics(folder / "metrics.jsonl"));
    const auto said = AllOf(HasSubstr("warning: after step 4"), HasSubstr("ends at once in 100 %"));
    EXPECT_EQ(std::count_if(notes.all.begin(), notes.all.end(),
                            [](const std::string& note) { return note.find("ends at once") != std::string::npos; }),
              asked > 0 ? 1 : 0);
    if (asked == 0) continue;
    EXPECT_THAT(notes.all, Contains(said));
    EXPECT_THAT(summary->warnings, Contains(HasSubstr("After step 4: The student empties")));
    EXPECT_THAT(summary->warnings, Contains(HasSubstr("end answers early")));
    ASSERT_TRUE(summary->health && summary->health->answers && summary->health_before);
    EXPECT_EQ(summary->health->answers->student.empty, 1);
  }
  ASSERT_EQ(lines[0].size(), lines[1].size());
  for (std::size_t i = 0; i < lines[0].size(); ++i) EXPECT_EQ(lines[0][i].loss, lines[1][i].loss);
  EXPECT_TRUE(lines[0][0].health_before);
  EXPECT_FALSE(lines[0][0].health);
  EXPECT_FALSE(lines[1].back().health->answers);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace retort::train
