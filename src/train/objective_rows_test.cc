// Every objective against FP64 and finite differences, and what must hold for each of them.
#include "train/objective_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "train/objective_reference.h"

namespace retort::train {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr TokenId kIgnored = -100;

ObjectiveMix only(Term term, double parameter = 0.3) {
  ObjectiveMix mix;
  mix.weight(term) = 1;
  mix.beta = parameter;
  mix.skew = parameter;
  return mix;
}

std::vector<ObjectiveMix> every_objective() {
  std::vector<ObjectiveMix> all;
  for (std::size_t i = 0; i < kTerms; ++i) all.push_back(only(static_cast<Term>(i)));
  for (const double beta : {0.0, 0.01, 0.5, 0.99, 1.0}) all.push_back(only(Term::kJsd, beta));
  ObjectiveMix mix = only(Term::kForwardKl);
  mix.weight(Term::kReverseKl) = 0.5;
  mix.weight(Term::kTvd) = 0.25;
  mix.weight(Term::kCe) = 0.125;
  all.push_back(mix);
  mix = only(Term::kJsd);
  mix.weight(Term::kSkewKl) = 2;
  mix.weight(Term::kSkewRkl) = 0.5;
  mix.weight(Term::kForwardKl) = 0.1;
  all.push_back(mix);
  const std::size_t plain = all.size();
  for (std::size_t i = 0; i < plain; ++i) {
    all.push_back(all[i]);
    all.back().temperature = i % 2 == 0 ? 2.5 : 0.5;
    all.back().temperature_squared = i % 3 == 0;
  }
  return all;
}

struct Rows {
  std::size_t vocabulary = 0;
  std::vector<float> student, teacher;
  std::vector<TokenId> labels;
};

// Vocabulary 67 is no multiple of the 16 lanes.
Rows random_rows(std::size_t rows, std::size_t vocabulary = 67, double range = 6) {
  Random random(11);
  Rows result;
  result.vocabulary = vocabulary;
  for (std::size_t i = 0; i < rows * vocabulary; ++i) {
    result.student.push_back(static_cast<float>(range * (random.uniform() - 0.5)));
    result.teacher.push_back(static_cast<float>(range * (random.uniform() - 0.5)));
  }
  for (std::size_t i = 0; i < rows; ++i) result.labels.push_back(static_cast<TokenId>((i * 13 + 5) % vocabulary));
  return result;
}

std::vector<double> wide(const std::vector<float>& values) { return {values.begin(), values.end()}; }

ReferenceLoss reference(const ObjectiveMix& mix, const Rows& rows) {
  return reference_loss(mix, wide(rows.student), wide(rows.teacher), rows.labels, rows.vocabulary, kIgnored);
}

struct Made {
  LossSums sums;
  std::vector<float> gradient;
  double loss() const { return sums.loss / static_cast<double>(sums.tokens); }
};

Made run(const ObjectiveMix& mix, const Rows& rows) {
  ObjectiveRows objective(mix, static_cast<std::int64_t>(rows.vocabulary));
  Made made{{}, rows.student};
  made.sums = objective.run(made.gradient.data(), rows.teacher.data(), rows.labels,
                            static_cast<std::int64_t>(rows.labels.size()));
  return made;
}

std::vector<Bf16> low(const std::vector<float>& values) {
  std::vector<Bf16> result(values.size());
  kernels().to_bf16(values.data(), result.data(), values.size());
  return result;
}

double run_bf16(const ObjectiveMix& mix, const Rows& rows) {
  ObjectiveRows objective(mix, static_cast<std::int64_t>(rows.vocabulary));
  std::vector<Bf16> student = low(rows.student);
  const std::vector<Bf16> teacher = low(rows.teacher);
  return objective.run(student.data(), teacher.data(), rows.labels, 0).loss;
}

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float value : values) most = std::max(most, std::abs(static_cast<double>(value)));
  return most;
}

// The reference itself: its gradient is the slope of its loss.
TEST(ObjectiveReference, GradientIsTheSlopeOfTheLoss) {
  const Rows rows = random_rows(2, 9);
  for (const ObjectiveMix& mix : every_objective()) {
    const ReferenceLoss expected = reference(mix, rows);
    for (const std::size_t i : {0U, 5U, 7U, 14U}) {
      std::vector<double> moved = wide(rows.student);
      const auto loss_at = [&](double shift) {
        moved[i] = static_cast<double>(rows.student[i]) + shift;
        return reference_loss(mix, moved, wide(rows.teacher), rows.labels, 9, kIgnored).loss;
      };
      EXPECT_NEAR((loss_at(1e-5) - loss_at(-1e-5)) / 2e-5, expected.gradient[i], 1e-8) << describe(mix);
    }
  }
}

// Worked out by hand: p = (3/4, 1/4), q = (1/2, 1/2).
TEST(ObjectiveReference, EqualsValuesWorkedOutByHand) {
  Rows rows;
  rows.vocabulary = 2;
  rows.student = {0, 0};
  rows.teacher = {std::log(3.0F), 0};
  rows.labels = {1};
  const auto loss = [&](const ObjectiveMix& mix) { return reference(mix, rows).loss; };
  EXPECT_NEAR(loss(only(Term::kForwardKl)), 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-7);
  EXPECT_NEAR(loss(only(Term::kReverseKl)), 0.5 * std::log(2.0 / 3) + 0.5 * std::log(2.0), 1e-7);
  EXPECT_NEAR(loss(only(Term::kTvd)), 0.25, 1e-7);
  EXPECT_NEAR(loss(only(Term::kCe)), std::log(2.0), 1e-7);
  // beta = s = 0.2: m = 0.2 p + 0.8 q = (0.55, 0.45); the other way about 0.2 q + 0.8 p = (0.7, 0.3)
  const double p_to_m = 0.75 * std::log(0.75 / 0.55) + 0.25 * std::log(0.25 / 0.45);
  const double q_to_m = 0.5 * std::log(0.5 / 0.55) + 0.5 * std::log(0.5 / 0.45);
  EXPECT_NEAR(loss(only(Term::kJsd, 0.2)), 0.2 * p_to_m + 0.8 * q_to_m, 1e-7);
  EXPECT_NEAR(loss(only(Term::kSkewKl, 0.2)), p_to_m, 1e-7);
  EXPECT_NEAR(loss(only(Term::kSkewRkl, 0.2)), 0.5 * std::log(0.5 / 0.7) + 0.5 * std::log(0.5 / 0.3), 1e-7);
}

TEST(ObjectiveRows, EqualsTheReference) {
  for (const double range : {0.02, 6.0, 40.0}) {
    const Rows rows = random_rows(5, 67, range);
    for (const ObjectiveMix& mix : every_objective()) {
      const ReferenceLoss expected = reference(mix, rows);
      const Made made = run(mix, rows);
      EXPECT_NEAR(made.loss(), expected.loss, 2e-6 * (1 + expected.loss)) << describe(mix) << " " << range;
      for (std::size_t i = 0; i < made.gradient.size(); ++i) {
        ASSERT_NEAR(made.gradient[i], expected.gradient[i], 2e-6) << describe(mix) << " " << range << " " << i;
      }
    }
  }
}

TEST(ObjectiveRows, IsExactlyNothingWhenTheStudentIsTheTeacher) {
  for (const double range : {0.1, 6.0, 300.0}) {
    Rows rows = random_rows(4, 1000, range);
    rows.student = rows.teacher;
    for (const ObjectiveMix& mix : every_objective()) {
      if (mix.weight(Term::kCe) > 0) continue;
      const Made made = run(mix, rows);
      EXPECT_EQ(made.sums.loss, 0) << describe(mix);
      EXPECT_EQ(run_bf16(mix, rows), 0) << describe(mix);
      EXPECT_EQ(largest(made.gradient), 0) << describe(mix);
    }
  }
}

// Pitfalls: negative divergences from BF16 logits, and clamps that hide them.
TEST(ObjectiveRows, IsNeverNegative) {
  Random random(5);
  for (const double range : {0.5, 8.0, 60.0, 3e4}) {
    for (const double apart : {1e-7, 1e-5, 1e-3, 0.1}) {
      Rows rows = random_rows(3, 515, range);
      for (std::size_t i = 0; i < rows.student.size(); ++i) {
        rows.student[i] = rows.teacher[i] * static_cast<float>(1 + apart * (random.uniform() - 0.5));
      }
      for (const ObjectiveMix& mix : every_objective()) {
        for (std::size_t row = 0; row < 3; ++row) {
          Rows one;
          one.vocabulary = 515;
          const auto first = static_cast<std::ptrdiff_t>(row * 515);
          one.student.assign(rows.student.begin() + first, rows.student.begin() + first + 515);
          one.teacher.assign(rows.teacher.begin() + first, rows.teacher.begin() + first + 515);
          one.labels = {0};
          const double loss = run(mix, one).sums.loss;
          EXPECT_GE(loss, 0) << describe(mix) << " " << range << " " << apart;
          EXPECT_TRUE(std::isfinite(loss));
          EXPECT_GE(run_bf16(mix, one), 0) << describe(mix);
        }
      }
    }
  }
}

TEST(ObjectiveRows, JensenShannonIsSymmetricAtOneHalfAndAtMostLogTwo) {
  for (const double range : {1.0, 200.0}) {
    const Rows rows = random_rows(3, 67, range);
    Rows exchanged = rows;
    std::swap(exchanged.student, exchanged.teacher);
    const ObjectiveMix mix = only(Term::kJsd, 0.5);
    EXPECT_NEAR(run(mix, rows).loss(), run(mix, exchanged).loss(), 1e-7);
    EXPECT_LE(run(mix, rows).loss(), std::log(2.0) + 1e-6);
    EXPECT_GT(std::abs(run(only(Term::kJsd, 0.2), rows).loss() - run(only(Term::kJsd, 0.2), exchanged).loss()), 1e-5);
  }
}

TEST(ObjectiveRows, JensenShannonsEndsAreForwardAndReverseKl) {
  const Rows rows = random_rows(4);
  const Made forward = run(only(Term::kForwardKl), rows);
  const Made reverse = run(only(Term::kReverseKl), rows);
  EXPECT_EQ(run(only(Term::kJsd, 0), rows).sums.loss, forward.sums.loss);
  EXPECT_EQ(run(only(Term::kJsd, 0), rows).gradient, forward.gradient);
  EXPECT_EQ(run(only(Term::kJsd, 1), rows).sums.loss, reverse.sums.loss);
  EXPECT_EQ(run(only(Term::kJsd, 1), rows).gradient, reverse.gradient);
}

// Qwen2.5 pads 151,936 words to 152,064: the same words with padding on both sides lose nothing and gain nothing.
TEST(ObjectiveRows, PaddingOfTheVocabularyChangesNothing) {
  constexpr std::size_t kWords = 151'936;
  constexpr std::size_t kPadded = 152'064;
  const Rows rows = random_rows(1, kWords, 12);
  for (const auto& [student_pad, teacher_pad] : {std::pair{-kInfinity, -kInfinity}, std::pair{-1e9F, -1e9F},
                                                 std::pair{-kInfinity, -1e4F}, std::pair{-1e4F, -kInfinity}}) {
    Rows padded = rows;
    padded.vocabulary = kPadded;
    padded.student.resize(kPadded, student_pad);
    padded.teacher.resize(kPadded, teacher_pad);
    for (const Term term :
         {Term::kForwardKl, Term::kReverseKl, Term::kJsd, Term::kSkewKl, Term::kSkewRkl, Term::kTvd}) {
      // A student that hopes for what can't come is infinitely wrong by reverse KL only where it has mass there.
      const ObjectiveMix mix = only(term);
      const Made expected = run(mix, rows);
      const Made made = run(mix, padded);
      EXPECT_NEAR(made.loss(), expected.loss(), 1e-6 * (1 + expected.loss())) << describe(mix) << " " << student_pad;
      EXPECT_EQ(made.sums.bad_student_rows + made.sums.bad_teacher_rows, 0);
      for (std::size_t i = 0; i < kPadded; ++i) {
        ASSERT_NEAR(made.gradient[i], i < kWords ? expected.gradient[i] : 0, 1e-7) << describe(mix) << " " << i;
      }
    }
  }
}

// A student that rules out what the teacher expects: infinitely wrong by forward KL, and boundedly by the others.
TEST(ObjectiveRows, AStudentWithoutMassWhereTheTeacherHasSome) {
  Rows rows = random_rows(1);
  rows.student[3] = -kInfinity;
  EXPECT_EQ(run(only(Term::kForwardKl), rows).sums.loss, std::numeric_limits<double>::infinity());
  EXPECT_EQ(run(only(Term::kForwardKl), rows).sums.bad_student_rows, 0);
  for (const Term term : {Term::kReverseKl, Term::kJsd, Term::kSkewKl, Term::kSkewRkl, Term::kTvd}) {
    const Made made = run(only(term), rows);
    EXPECT_NEAR(made.loss(), reference(only(term), rows).loss, 1e-6) << describe(only(term));
    for (const float value : made.gradient) EXPECT_TRUE(std::isfinite(value));
  }
  std::swap(rows.student, rows.teacher);
  EXPECT_NEAR(run(only(Term::kForwardKl), rows).loss(), reference(only(Term::kForwardKl), rows).loss, 1e-6);
  EXPECT_EQ(run(only(Term::kReverseKl), rows).sums.loss, std::numeric_limits<double>::infinity());
}

// NaN is never lost, and the row's side is named.
TEST(ObjectiveRows, TroubleIsSeenAndNamed) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const ObjectiveMix& mix : every_objective()) {
    for (const float bad : {nan, kInfinity}) {
      for (const std::size_t place : {2U, 66U}) {  // in a whole group of lanes, and in the tail
        Rows rows = random_rows(3);
        rows.student[67 + place] = bad;
        Made made = run(mix, rows);
        EXPECT_EQ(made.sums.bad_student_rows, 1) << describe(mix) << " " << bad << " " << place;
        EXPECT_EQ(made.sums.bad_teacher_rows, 0);
        rows = random_rows(3);
        rows.teacher[67 + place] = bad;
        made = run(mix, rows);
        EXPECT_EQ(made.sums.bad_student_rows, 0);
        EXPECT_EQ(made.sums.bad_teacher_rows, 1) << describe(mix) << " " << bad << " " << place;
      }
    }
  }
}

// The sum over any split is that of the whole: the divisor belongs to the step.
TEST(ObjectiveRows, DoesNotDependOnTheSplit) {
  const Rows rows = random_rows(7);
  for (const ObjectiveMix& mix : every_objective()) {
    const Made whole = run(mix, rows);
    ObjectiveRows objective(mix, 67);
    std::vector<float> gradient = rows.student;
    LossSums sums;
    std::size_t begin = 0;
    for (const std::size_t count : {1U, 4U, 2U}) {
      sums += objective.run(gradient.data() + begin * 67, rows.teacher.data() + begin * 67,
                            std::span(rows.labels).subspan(begin, count), 7);
      begin += count;
    }
    EXPECT_NEAR(sums.loss, whole.sums.loss, 1e-12 * (1 + whole.sums.loss));
    EXPECT_EQ(gradient, whole.gradient) << describe(mix);
  }
}

TEST(ObjectiveReference, MaskedRowsCountForNothing) {
  Rows rows = random_rows(4);
  // End of text is also the padding token: the answer's own is supervised, the padding's are not.
  constexpr TokenId kEndOfText = 2;
  rows.labels = {7, kEndOfText, kIgnored, kIgnored};
  for (const ObjectiveMix& mix : every_objective()) {
    const ReferenceLoss all = reference(mix, rows);
    EXPECT_EQ(all.tokens, 2);
    Rows answer = rows;
    answer.labels.resize(2);
    answer.student.resize(2 * 67);
    answer.teacher.resize(2 * 67);
    EXPECT_NEAR(all.loss, reference(mix, answer).loss, 1e-12);
    EXPECT_NEAR(all.loss, run(mix, answer).loss(), 2e-6 * (1 + all.loss));
    for (std::size_t i = 2 * 67; i < all.gradient.size(); ++i) EXPECT_EQ(all.gradient[i], 0);
  }
  rows.labels.assign(4, kIgnored);
  const ReferenceLoss none = reference(only(Term::kJsd), rows);
  EXPECT_EQ(none.loss, 0);
  EXPECT_EQ(none.tokens, 0);
  EXPECT_EQ(*std::ranges::max_element(none.gradient), 0);
}

TEST(ObjectiveRows, EveryInstructionSetAgrees) {
  const Kernels* variants[3] = {};
  const std::size_t count = kernel_variants(variants);
  const Rows rows = random_rows(1, 5003, 30);
  RowMix mix;
  mix.forward_kl = mix.reverse_kl = mix.jsd = mix.skew_kl = mix.skew_rkl = mix.tvd = mix.cross_entropy = 0.5F;
  mix.inverse_temperature = 0.7F;
  std::vector<float> scratch(row_scratch(5003));
  std::vector<float> first = rows.student;
  const RowLoss expected =
      variants[0]->mixed_row_f32(first.data(), rows.teacher.data(), 5003, 17, mix, true, scratch.data());
  for (std::size_t v = 1; v < count; ++v) {
    std::vector<float> other = rows.student;
    const RowLoss loss =
        variants[v]->mixed_row_f32(other.data(), rows.teacher.data(), 5003, 17, mix, true, scratch.data());
    EXPECT_NEAR(loss.loss, expected.loss, 1e-5 * expected.loss) << variants[v]->name;
    for (std::size_t i = 0; i < other.size(); ++i) ASSERT_NEAR(other[i], first[i], 1e-6) << variants[v]->name << i;
  }
}

}  // namespace
}  // namespace retort::train
