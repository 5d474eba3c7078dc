// What an API told, as rows of a signal. tests/system/served_recipe_test.py takes a whole run.
#include "pipeline/told_signal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

#include "base/json.h"
#include "exchange/told_tokens.h"
#include "gguf/testing.h"
#include "tokens/rendered_exchange.h"

namespace retort::pipeline {
namespace {

class ToldSignalTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("retort-told-" + std::to_string(::getpid()) + ".gguf");
    ASSERT_TRUE(gguf::testing::write_tiny_model(path_, {.weights = false}));
    format_.emplace(tokens::ChatFormat::load(path_).value());
    exchange_.prompt.messages = {{Role::kUser, "hello"}};
    exchange_.completion = {"you", FinishReason::kEnd};
    told_ = {{"y", std::log(0.5), {{"y", std::log(0.5)}, {"h", std::log(0.25)}, {"e", std::log(0.125)}}},
             {"o", std::log(0.9), {}},
             {"u", -9999, {{"l", std::log(0.75)}}}};
  }
  void TearDown() override { std::filesystem::remove(path_); }

  ToldRows rows(std::int64_t slots, std::int64_t max_length = 1000) {
    Json json = Json::array();
    for (const ToldToken& token : told_) json.push_back(to_json(token));
    exchange_.completion.logprobs = told_.empty() ? "" : canonical_json(json);
    const Exchange read = tokens::with_rendered_tokens(exchange_, *format_, 1000).value();
    example_ = dataset::make_example({}, read, dataset::Supervision::kAssistant);
    return told_rows(read, example_, format_->tokenizer(), max_length, slots);
  }
  TokenId id(const char* text) const { return format_->tokenizer().id_with_bytes(text).value(); }
  TokenId id_of_end() const { return format_->tokenizer().special_id("<|im_end|>").value(); }
  static std::vector<std::pair<TokenId, int>> shown(const dataset::SignalRow& row) {
    std::vector<std::pair<TokenId, int>> slots;
    for (const auto& slot : row.slots) slots.emplace_back(slot.id, static_cast<int>(std::lround(slot.weight * 1000)));
    return slots;
  }

  std::filesystem::path path_;
  std::optional<tokens::ChatFormat> format_;
  Exchange exchange_;
  std::vector<ToldToken> told_;
  dataset::Example example_;
};

using Slots = std::vector<std::pair<TokenId, int>>;

TEST_F(ToldSignalTest, TheLikeliestAndTheDrawnTokenInPlaceOfTheOthers) {
  const ToldRows made = rows(3);
  ASSERT_EQ(made.rows.size(), 4U);  // three tokens and the end
  EXPECT_EQ(made.told, 3);
  EXPECT_EQ(shown(made.rows[0]), (Slots{{id("y"), 500}, {id("h"), 250}, {0, 0}}));
  EXPECT_NEAR(made.rows[0].entropy, 0.5 * std::log(2) + 0.25 * std::log(4), 1e-6);
  EXPECT_EQ(shown(made.rows[1]), (Slots{{id("o"), 1000}, {0, 0}, {0, 0}}));
  EXPECT_NEAR(made.rows[1].entropy, -std::log(0.9), 1e-6);
  EXPECT_EQ(shown(made.rows[2]), (Slots{{id("l"), 750}, {id("u"), 1000}, {0, 0}}));
  EXPECT_LT(made.rows[2].entropy, 51);  // -9999 is no measurement
  // Nobody told of the end: it is text.
  const TokenId end = id_of_end();
  EXPECT_EQ(shown(made.rows[3]), (Slots{{end, 1000}, {0, 0}, {0, 0}}));
  EXPECT_EQ(made.rows[3].entropy, 0);
  EXPECT_EQ(example_.ids.back(), end);
}

// Over all tokens that may be drawn, each as often as it is likely: weights and entropy are the teacher's.
TEST_F(ToldSignalTest, IsTheTeachersDistributionOnAverage) {
  const std::vector<std::pair<std::string, double>> teacher = {
      {"y", 0.4}, {"h", 0.3}, {"e", 0.2}, {"l", 0.06}, {"u", 0.04}};
  for (const std::size_t k : {0U, 1U, 2U, 4U}) {
    std::map<TokenId, double> mean;
    double mean_entropy = 0, entropy = 0;
    for (const auto& [text, probability] : teacher) {
      told_ = {{text, std::log(probability), {}}};
      for (std::size_t i = 0; i < k; ++i)
        told_[0].likeliest.emplace_back(teacher[i].first, std::log(teacher[i].second));
      exchange_.completion.text = text;
      const dataset::SignalRow row = rows(static_cast<std::int64_t>(k) + 1).rows[0];
      for (const auto& slot : row.slots) mean[slot.id] += probability * static_cast<double>(slot.weight);
      mean_entropy += probability * static_cast<double>(row.entropy);
      entropy -= probability * std::log(probability);
    }
    for (const auto& [text, probability] : teacher) EXPECT_NEAR(mean[id(text.c_str())], probability, 3e-5) << k << text;
    EXPECT_NEAR(mean_entropy, entropy, 1e-6) << k;
  }
}

TEST_F(ToldSignalTest, NoMoreThanThereIsRoomFor) {
  const ToldRows made = rows(1);
  EXPECT_EQ(shown(made.rows[0]), (Slots{{id("y"), 1000}}));
  EXPECT_EQ(made.told, 3);
}

TEST_F(ToldSignalTest, RowsAreCutAsTheExampleIs) {
  rows(1);
  const auto length = static_cast<std::int64_t>(example_.ids.size());
  EXPECT_EQ(rows(1, length - 2).rows.size(), 2U);
  EXPECT_EQ(rows(1, length - 2).told, 2);
}

TEST_F(ToldSignalTest, AnEndThatWasToldIsALikelihoodToo) {
  told_.push_back({"<|im_end|>", std::log(0.25), {}});
  const ToldRows made = rows(1);
  EXPECT_EQ(made.told, 4);
  EXPECT_EQ(shown(made.rows[3]), (Slots{{id_of_end(), 1000}}));
  EXPECT_NEAR(made.rows[3].entropy, std::log(4), 1e-6);
}

TEST_F(ToldSignalTest, WhatWasntToldIsText) {
  told_.clear();
  const ToldRows made = rows(2);
  EXPECT_EQ(made.told, 0);
  ASSERT_EQ(made.rows.size(), example_.targets());
  for (const auto& row : made.rows) EXPECT_EQ(row.slots.front().weight, 1);
}

}  // namespace
}  // namespace retort::pipeline
