#include "report/scale.h"

#include <gtest/gtest.h>

namespace retort::report {
namespace {

std::vector<std::string> labels(const Scale& scale) {
  std::vector<std::string> texts;
  for (const Tick& tick : scale.ticks()) texts.push_back(tick.label);
  return texts;
}

TEST(Scale, EnclosesTheRangeWithRoundNumbers) {
  const Scale scale = Scale::fit(0.61, 1.83, false, false, 5);
  EXPECT_LE(scale.low(), 0.61);
  EXPECT_GE(scale.high(), 1.83);
  EXPECT_EQ(labels(scale), (std::vector<std::string>{"0.5", "1.0", "1.5", "2.0"}));
  EXPECT_DOUBLE_EQ(scale.share(scale.low()), 0);
  EXPECT_DOUBLE_EQ(scale.share(scale.high()), 1);
}

TEST(Scale, BeginsAtZeroWhenAsked) {
  const Scale scale = Scale::fit(300, 759, false, true, 4);
  EXPECT_EQ(labels(scale).front(), "0");
  EXPECT_GE(scale.high(), 759);
}

TEST(Scale, WritesThousandsShortly) {
  EXPECT_EQ(labels(Scale::fit(0, 120000, false, true, 6)),
            (std::vector<std::string>{"0", "20k", "40k", "60k", "80k", "100k", "120k"}));
}

TEST(Scale, IsLogarithmicOnRequest) {
  const Scale scale = Scale::fit(0.6, 12.1, true, false, 5);
  EXPECT_LE(scale.low(), 0.6);
  EXPECT_GE(scale.high(), 12.1);
  EXPECT_NEAR(scale.share(1.0) - scale.share(0.5), scale.share(2.0) - scale.share(1.0), 1e-12);
  EXPECT_NEAR(Scale::fit(1, 1e6, true, false, 5).share(1e3), 0.5, 1e-12);
}

TEST(Scale, TightlyEndsWhereTheValuesEnd) {
  const Scale scale = Scale::fit_tightly(0, 168000, false, 6);
  EXPECT_EQ(scale.high(), 168000);
  EXPECT_EQ(labels(scale), (std::vector<std::string>{"0", "50k", "100k", "150k"}));
  EXPECT_GE(Scale::fit_tightly(5, 5, false, 6).ticks().size(), 2U);
}

TEST(Scale, SurvivesARangeOfNothing) {
  for (const double value : {0.0, 3.0, -2.0, 1e-9, 1e12}) {
    for (const bool logarithmic : {false, true}) {
      const Scale scale = Scale::fit(value, value, logarithmic, false, 5);
      EXPECT_GE(scale.ticks().size(), 2U) << value;
      EXPECT_LT(scale.low(), scale.high()) << value;
      EXPECT_LT(scale.ticks().size(), 40U) << value;
    }
  }
}

}  // namespace
}  // namespace retort::report
