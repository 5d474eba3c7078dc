#include "train/objective_mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "recipe/option_set.h"
#include "recipe/recipe.h"
#include "train/train_options.h"

namespace retort::train {
namespace {

using testing::HasSubstr;

TEST(ObjectiveMix, NamesAreFoundAndTheNearestIsSaid) {
  for (const std::string& name : term_names()) EXPECT_EQ(name_of(*term_from_name(name)), name);
  const auto wrong = term_from_name("reverse_lk");
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("Did you mean 'reverse_kl'?"));
}

TEST(ObjectiveMix, RefusesWhatCannotBe) {
  const auto refused = [](auto change) {
    ObjectiveMix mix;
    mix.weight(Term::kJsd) = 1;
    change(mix);
    const auto fine = check(mix);
    return fine ? std::string() : fine.error().message;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(refused([](ObjectiveMix&) {}), "");
  EXPECT_THAT(refused([](ObjectiveMix& mix) { mix.beta = 1.5; }), HasSubstr("beta is 1.5"));
  EXPECT_THAT(refused([&](ObjectiveMix& mix) { mix.beta = nan; }), HasSubstr("beta"));
  EXPECT_THAT(refused([](ObjectiveMix& mix) { mix.skew = -0.1; }), HasSubstr("skew"));
  EXPECT_THAT(refused([](ObjectiveMix& mix) { mix.temperature = 0; }), HasSubstr("temperature is 0"));
  EXPECT_THAT(refused([](ObjectiveMix& mix) { mix.weight(Term::kTvd) = -1; }), HasSubstr("tvd"));
  EXPECT_THAT(refused([](ObjectiveMix& mix) { mix.weight(Term::kJsd) = 0; }), HasSubstr("at least one"));
}

TEST(ObjectiveMix, TheLimitsAreWhatTheyAreDefinedAs) {
  ObjectiveMix mix;
  mix.weight(Term::kJsd) = 2;
  mix.beta = 0;
  EXPECT_EQ(resolved(mix).weight(Term::kForwardKl), 2);
  mix.beta = 1;
  EXPECT_EQ(resolved(mix).weight(Term::kReverseKl), 2);
  EXPECT_EQ(resolved(mix).weight(Term::kJsd), 0);
  mix.weight(Term::kSkewKl) = 3;
  mix.skew = 0;
  EXPECT_EQ(resolved(mix).weight(Term::kForwardKl), 3);
  mix.skew = 1;
  EXPECT_EQ(resolved(mix).weight(Term::kSkewKl), 0);
}

TEST(ObjectiveMix, SaysWhatItIs) {
  ObjectiveMix mix;
  mix.weight(Term::kForwardKl) = 1;
  EXPECT_EQ(describe(mix), "forward_kl");
  mix.weight(Term::kForwardKl) = 0.7;
  mix.weight(Term::kJsd) = 0.3;
  mix.temperature = 2;
  mix.temperature_squared = true;
  EXPECT_EQ(describe(mix), "0.7 forward_kl + 0.3 jsd (beta 0.5), temperature 2, times its square");
}

// The recipe's way to say it.
Result<TrainOptions> options_of(const std::string& yaml) {
  static const auto schema = [] {
    auto made = std::make_shared<recipe::Schema>();
    made->add(train_option_set());
    return made;
  }();
  RETORT_ASSIGN(const recipe::Recipe recipe, recipe::Recipe::parse(yaml, "test.yaml", schema));
  return recipe.get(train_option_set());
}

TEST(ObjectiveOptions, OneNameOrNamesWithWeights) {
  auto options = options_of("train: {learning_rate: 0.1}");
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(describe(objective_mix(*options)), "forward_kl");
  options = options_of("train: {objective: jsd, beta: 0.1, temperature: 2}");
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(describe(objective_mix(*options)), "jsd (beta 0.1), temperature 2");
  options = options_of("train: {objective: {forward_kl: 0.7, reverse_kl: 0.3}, cross_entropy_weight: 0.5}");
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(describe(objective_mix(*options)), "0.35 forward_kl + 0.15 reverse_kl + 0.5 ce");
}

TEST(ObjectiveOptions, ImpossibleCombinationsGetASentence) {
  const auto refused = [](const std::string& train) {
    const auto options = options_of("train: {" + train + "}");
    return options ? std::string() : options.error().message;
  };
  EXPECT_THAT(refused("objective: forward_lk"), HasSubstr("did you mean forward_kl?"));
  EXPECT_THAT(refused("objective: {forward_kl: 1, revers: 1}"), HasSubstr("no objective 'revers'"));
  EXPECT_THAT(refused("objective: {forward_kl: -1}"), HasSubstr("weight of forward_kl"));
  EXPECT_THAT(refused("objective: {}"), HasSubstr("at least one"));
  EXPECT_THAT(refused("beta: 0.3"), HasSubstr("no use without jsd"));
  EXPECT_THAT(refused("objective: jsd, beta: 2"), HasSubstr("train.beta"));
  EXPECT_THAT(refused("skew: 0.3"), HasSubstr("no use without skew_kl"));
  EXPECT_THAT(refused("objective: skew_kl, skew: 1"), HasSubstr("always 0"));
  EXPECT_THAT(refused("objective: ce, cross_entropy_weight: 0.1"), HasSubstr("once more"));
  EXPECT_THAT(refused("temperature: 0"), HasSubstr("train.temperature"));
}

}  // namespace
}  // namespace retort::train
