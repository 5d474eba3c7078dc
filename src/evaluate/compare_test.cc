#include "evaluate/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"
#include "evaluate/scripted_scorer_for_test.h"

namespace retort::evaluate {
namespace {

using testing::HasSubstr;

constexpr std::size_t kVocabulary = 37;

std::vector<HeldOutExample> random_examples(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<HeldOutExample> examples;
  for (std::size_t e = 0; e < count; ++e) {
    HeldOutExample example;
    const std::size_t length = 5 + random.below(20);
    for (std::size_t t = 0; t < length; ++t) {
      example.ids.push_back(static_cast<TokenId>(random.below(kVocabulary)));
      example.scored.push_back(t >= 3 && random.below(4) != 0 ? 1 : 0);
    }
    example.scored.back() = 1;
    examples.push_back(example);
  }
  return examples;
}

Result<Comparison> run(Scorer& teacher, std::vector<ComparedModel> models, const std::vector<HeldOutExample>& examples,
                       int threads = 2) {
  SilentProgress progress;
  return compare(teacher, models, examples, {.threads = threads, .end_ids = {}}, progress, {});
}

double mean_kl(const ModelComparison& model) { return estimate_quality(model.exchanges, {}).kl_nats.value; }

TEST(Compare, AgreesWithBruteForceInDoublePrecision) {
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  ScriptedScorer model(kVocabulary, random_rows(kVocabulary, 2), 5);
  const auto examples = random_examples(9, 3);
  const auto result = run(teacher, {{"model", &model}}, examples);
  ASSERT_TRUE(result) << result.error().message;

  double kl = 0;
  double agreed = 0;
  double negative_log = 0;
  double teacher_negative_log = 0;
  std::int64_t tokens = 0;
  for (const HeldOutExample& example : examples) {
    for (std::size_t t = 1; t < example.ids.size(); ++t) {
      if (example.scored[t] == 0) continue;
      const auto before = std::span(example.ids).first(t);
      const auto p = random_rows(kVocabulary, 1)(before, t - 1);
      const auto q = random_rows(kVocabulary, 2)(before, t - 1);
      double p_sum = 0;
      double q_sum = 0;
      for (std::size_t i = 0; i < kVocabulary; ++i) {
        p_sum += std::exp(static_cast<double>(p[i]));
        q_sum += std::exp(static_cast<double>(q[i]));
      }
      for (std::size_t i = 0; i < kVocabulary; ++i) {
        const double pi = std::exp(static_cast<double>(p[i])) / p_sum;
        const double qi = std::exp(static_cast<double>(q[i])) / q_sum;
        kl += pi * std::log(pi / qi);
      }
      const auto next = static_cast<std::size_t>(example.ids[t]);
      negative_log -= std::log(std::exp(static_cast<double>(q[next])) / q_sum);
      teacher_negative_log -= std::log(std::exp(static_cast<double>(p[next])) / p_sum);
      if (std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin()) {
        ++agreed;
      }
      ++tokens;
    }
  }
  EXPECT_EQ(result->tokens, tokens);
  const auto quality = estimate_quality(result->models[0].exchanges, {});
  EXPECT_NEAR(quality.kl_nats.value, kl / static_cast<double>(tokens), 1e-12);
  EXPECT_NEAR(quality.top1_agreement.value, agreed / static_cast<double>(tokens), 1e-12);
  EXPECT_NEAR(quality.perplexity.value, std::exp(negative_log / static_cast<double>(tokens)), 1e-9);
  const auto own = estimate_quality(result->teacher.exchanges, {});
  EXPECT_NEAR(own.perplexity.value, std::exp(teacher_negative_log / static_cast<double>(tokens)), 1e-9);
}

TEST(Compare, TheTeacherAgreesWithItself) {
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  ScriptedScorer same(kVocabulary, random_rows(kVocabulary, 1), 7);
  const auto result = run(teacher, {{"same", &same}}, random_examples(6, 4));
  ASSERT_TRUE(result);
  for (const ModelComparison* model : {&result->teacher, &result->models[0]}) {
    const auto quality = estimate_quality(model->exchanges, {});
    EXPECT_EQ(quality.kl_nats.value, 0.0);
    EXPECT_EQ(quality.kl_nats.high, 0.0);
    EXPECT_EQ(quality.top1_agreement.value, 1.0);
  }
}

TEST(Compare, RowsShiftedByOneAreMuchWorse) {
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  // Nearly the teacher: a little noise on each row.
  ScriptedScorer near(kVocabulary, [](std::span<const TokenId> ids, std::size_t position) {
    auto row = random_rows(kVocabulary, 1)(ids, position);
    Random random(position);
    for (float& value : row) value += 0.1F * static_cast<float>(random.normal());
    return row;
  });
  // The same, one row too early.
  ScriptedScorer shifted(kVocabulary, [](std::span<const TokenId> ids, std::size_t position) {
    return random_rows(kVocabulary, 1)(ids.first(ids.size() - 1), position);
  });
  const auto result = run(teacher, {{"near", &near}, {"shifted", &shifted}}, random_examples(8, 6));
  ASSERT_TRUE(result);
  EXPECT_LT(mean_kl(result->models[0]), 0.02);
  EXPECT_GT(mean_kl(result->models[1]), 50 * mean_kl(result->models[0]));
}

TEST(Compare, AModelMayBeComparedOnTheFirstFew) {
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  ScriptedScorer model(kVocabulary, random_rows(kVocabulary, 2));
  const auto result = run(teacher, {{"few", &model, 2}, {"all", &model}}, random_examples(8, 5));
  ASSERT_TRUE(result);
  ASSERT_EQ(result->models[0].exchanges.size(), 2U);
  ASSERT_EQ(result->models[1].exchanges.size(), 8U);
  for (std::size_t e = 0; e < 2; ++e) {
    EXPECT_EQ(result->models[0].exchanges[e].kl_nats, result->models[1].exchanges[e].kl_nats);
  }
}

TEST(Compare, PerplexityIsOfTheTokenThatFollows) {
  // A model that is certain of ids[t + 1] = ids[t] + 1; the examples count upwards.
  const auto counting = [](std::span<const TokenId> ids, std::size_t) {
    std::vector<float> row(kVocabulary, 0.0F);
    row[(static_cast<std::size_t>(ids.back()) + 1) % kVocabulary] = 20.0F;
    return row;
  };
  ScriptedScorer teacher(kVocabulary, counting);
  HeldOutExample example;
  for (TokenId id = 0; id < 12; ++id) {
    example.ids.push_back(id);
    example.scored.push_back(id > 2 ? 1 : 0);
  }
  const auto result = run(teacher, {}, {example});
  ASSERT_TRUE(result);
  EXPECT_NEAR(estimate_quality(result->teacher.exchanges, {}).perplexity.value, 1.0, 1e-6);
  EXPECT_EQ(result->tokens, 9);
}

TEST(Compare, DoesNotDependOnThreadsOrderOrChunks) {
  const auto examples = random_examples(7, 8);
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1), 4);
  ScriptedScorer a(kVocabulary, random_rows(kVocabulary, 2), 1);
  ScriptedScorer b(kVocabulary, random_rows(kVocabulary, 3), 100);
  const auto one = run(teacher, {{"a", &a}, {"b", &b}}, examples, 1);
  const auto many = run(teacher, {{"b", &b}, {"a", &a}}, examples, 5);
  ASSERT_TRUE(one && many);
  EXPECT_EQ(mean_kl(one->models[0]), mean_kl(many->models[1]));
  EXPECT_EQ(mean_kl(one->models[1]), mean_kl(many->models[0]));

  auto reversed = examples;
  std::reverse(reversed.begin(), reversed.end());
  const auto backwards = run(teacher, {{"a", &a}}, reversed);
  ASSERT_TRUE(backwards);
  EXPECT_NEAR(mean_kl(one->models[0]), mean_kl(backwards->models[0]), 1e-13);
}

TEST(Compare, RunsTheTeacherOncePerExchange) {
  const auto examples = random_examples(5, 8);
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  ScriptedScorer a(kVocabulary, random_rows(kVocabulary, 2));
  ScriptedScorer b(kVocabulary, random_rows(kVocabulary, 3));
  ASSERT_TRUE(run(teacher, {{"a", &a}, {"b", &b}}, examples));
  EXPECT_EQ(teacher.calls, 5);
  EXPECT_EQ(a.calls, 5);
}

TEST(Compare, KeepsTheTokensForTheReport) {
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  ScriptedScorer model(kVocabulary, random_rows(kVocabulary, 2));
  const auto examples = random_examples(3, 9);
  const auto result = run(teacher, {{"model", &model}}, examples);
  ASSERT_TRUE(result);
  for (std::size_t e = 0; e < examples.size(); ++e) {
    const auto& tokens = result->models[0].tokens[e];
    ASSERT_EQ(static_cast<std::int64_t>(tokens.size()), examples[e].tokens());
    double kl = 0;
    for (const TokenComparison& token : tokens) {
      EXPECT_EQ(token.id, examples[e].ids[token.position]);
      EXPECT_GE(token.teacher_top_probability, token.teacher_probability);
      EXPECT_GE(token.model_top_probability, token.model_probability);
      kl += token.kl_nats;
    }
    EXPECT_DOUBLE_EQ(kl, result->models[0].exchanges[e].kl_nats);
  }
}

TEST(Compare, ScoresOnlyTheAssistantsTokensOfAnExchange) {
  Exchange exchange;
  exchange.tokens.ids = {1, 2, 3, 4, 5, 6, 7, 8};
  exchange.tokens.spans = {{1, 3, SpanKind::kUser, true}, {4, 7, SpanKind::kAssistant, true}};
  const HeldOutExample example = held_out_example(exchange);
  EXPECT_EQ(example.scored, (std::vector<std::uint8_t>{0, 0, 0, 0, 1, 1, 1, 0}));
  EXPECT_EQ(example.tokens(), 3);
}

TEST(Compare, RefusesWhatCannotBeCompared) {
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  ScriptedScorer other(kVocabulary + 1, random_rows(kVocabulary + 1, 1));
  ScriptedScorer small(kVocabulary, random_rows(kVocabulary, 1), 3, 4);
  const auto examples = random_examples(3, 1);
  auto result = run(teacher, {{"The student", &other}}, examples);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, Fault::kCaller);
  EXPECT_THAT(result.error().message, HasSubstr("The student has a vocabulary of 38"));

  result = run(teacher, {{"The student", &small}}, examples);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("context of The student is 4"));

  result = run(teacher, {}, {});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("nothing to evaluate on"));

  auto foreign = examples;
  foreign[1].ids[2] = 99;
  result = run(teacher, {}, foreign);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("exchange 2, position 2: token id 99"));
}

TEST(Compare, NamesTheModelWhoseLogitsAreNotFinite) {
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  ScriptedScorer broken(kVocabulary, [](std::span<const TokenId> ids, std::size_t position) {
    auto row = random_rows(kVocabulary, 1)(ids, position);
    row[7] = std::numeric_limits<float>::quiet_NaN();
    return row;
  });
  const auto result = run(teacher, {{"The student", &broken}}, random_examples(2, 1));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, Fault::kWorld);
  EXPECT_THAT(result.error().message, HasSubstr("The student gave logits that are not finite (exchange 1"));
}

TEST(Compare, StopsBetweenExchanges) {
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  std::stop_source stop;
  stop.request_stop();
  SilentProgress progress;
  const auto examples = random_examples(2, 1);
  const auto result = compare(teacher, {}, examples, {}, progress, stop.get_token());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, Fault::kInterrupted);
}

TEST(ShareOfKlClosed, IsPairedOverExchanges) {
  // Every exchange closes exactly half, however hard it is: no uncertainty is left.
  std::vector<ExchangeSums> before;
  std::vector<ExchangeSums> student;
  for (int i = 1; i <= 20; ++i) {
    before.push_back({10, static_cast<double>(i * i), 0, 0});
    student.push_back({10, 0.5 * i * i, 0, 0});
  }
  const Estimate share = share_of_kl_closed(before, student, {});
  EXPECT_DOUBLE_EQ(share.value, 0.5);
  EXPECT_NEAR(share.low, 0.5, 1e-12);
  EXPECT_NEAR(share.high, 0.5, 1e-12);
}

}  // namespace
}  // namespace retort::evaluate
