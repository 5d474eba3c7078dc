#include "dataset/teacher_signal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "base/files.h"
#include "dataset/signal_writer.h"

namespace retort::dataset {
namespace {

using testing::HasSubstr;

SignalHeader tiny_header(std::int64_t rows = 2500) {
  SignalHeader header;
  header.slots = 3;
  header.vocabulary = 70'000;  // three bytes an id
  header.rows = rows;
  header.temperature = 1.5;
  header.seed = 0xFFFF'FFFF'FFFF'FFFF;
  header.tokenizer = sha256(std::string_view("tokenizer"));
  header.teacher = sha256(std::string_view("teacher"));
  header.examples = sha256(std::string_view("examples"));
  header.compute = "float32";
  return header;
}

SignalRow tiny_row(std::int64_t index) {
  SignalRow row;
  row.log_z = static_cast<float>(index) * 0.5F;
  row.entropy = 1.25F;
  row.slots = {{static_cast<TokenId>(index), 0.5F}, {69'999, 1.0F}, {3, 0.0F}};
  return row;
}

class SignalTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("signal_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "teacher.signal";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Appends rows up to `end`; commits when all are there.
  void write(const SignalHeader& header, std::int64_t end) {
    auto writer = SignalWriter::open(path_, header);
    ASSERT_TRUE(writer) << writer.error().message;
    for (std::int64_t i = writer->rows(); i < end; ++i) ASSERT_TRUE(writer->append(tiny_row(i)));
    if (end < header.rows) return;
    ASSERT_TRUE(writer->commit());
  }
  std::string refused() const {
    const auto file = SignalFile::open(path_);
    return file ? std::string() : file.error().message;
  }

  std::filesystem::path folder_, path_;
};

TEST_F(SignalTest, GivesBackWhatWasWritten) {
  const SignalHeader header = tiny_header();
  write(header, header.rows);
  const auto file = SignalFile::open(path_);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->header(), header);
  for (const std::int64_t i : {0, 1023, 1024, 2499}) {
    const SignalRow row = file->row(i);
    EXPECT_EQ(row.log_z, static_cast<float>(i) * 0.5F);
    EXPECT_EQ(row.entropy, 1.25F);
    EXPECT_EQ(row.slots[0].id, i);
    EXPECT_NEAR(row.slots[0].weight, 0.5, 1e-5);
    EXPECT_EQ(row.slots[1].id, 69'999);
    EXPECT_EQ(row.slots[1].weight, 1);
    EXPECT_EQ(row.slots[2].weight, 0);
  }
}

// The bytes of the page docs/formats/teacher-signal.md: a change of the format is seen here.
TEST_F(SignalTest, HasTheBytesOfItsPage) {
  SignalHeader header = tiny_header(1);
  header.vocabulary = 50;  // two bytes an id
  write(header, 1);
  const std::string bytes = *read_file(path_);
  ASSERT_EQ(bytes.size(), 4096U + 20 + 8);
  EXPECT_EQ(bytes.substr(0, 8), "RTSIGNAL");
  EXPECT_EQ(bytes.substr(8, 4), std::string("\1\0\0\0", 4));
  EXPECT_THAT(bytes, HasSubstr("\"kind\":\"sampled\""));
  EXPECT_THAT(bytes, HasSubstr("\"tail\":\"drawn\""));
  EXPECT_EQ(bytes.substr(4096, 12), std::string("\0\0\0\0\0\0\xA0\x3F\0\0\0\x80", 12));  // 0, 1.25, id 0, 1/2
}

TEST_F(SignalTest, GoesOnAfterAKill) {
  const SignalHeader header = tiny_header();
  write(header, header.rows);
  const std::string whole = *read_file(path_);
  std::filesystem::remove(path_);
  write(header, 1500);  // a block is on disk, the rest is lost
  EXPECT_FALSE(std::filesystem::exists(path_));
  const std::filesystem::path part = path_.string() + ".part";
  ASSERT_TRUE(write_file(part, *read_file(part) + "half a block"));
  EXPECT_EQ(SignalWriter::open(path_, header)->rows(), 1024);
  write(header, header.rows);
  EXPECT_EQ(*read_file(path_), whole);

  // Another header: nothing of it is of use.
  write(header, 1500);
  EXPECT_EQ(SignalWriter::open(path_, tiny_header(2000))->rows(), 0);
}

TEST_F(SignalTest, EveryKindOfDamageIsFound) {
  const SignalHeader header = tiny_header();
  write(header, header.rows);
  const std::string good = *read_file(path_);
  for (const std::size_t place : {std::size_t{60}, std::size_t{5000}, good.size() - 100, good.size() - 1}) {
    std::string bad = good;
    bad[place] = static_cast<char>(bad[place] ^ 1);
    ASSERT_TRUE(write_file(path_, bad));
    EXPECT_THAT(refused(), HasSubstr("damaged")) << place;
  }
  for (const std::size_t length : {std::size_t{10}, std::size_t{4000}, std::size_t{4096}, good.size() - 1}) {
    ASSERT_TRUE(write_file(path_, good.substr(0, length)));
    EXPECT_NE(refused(), "") << length;
  }
  // Whole blocks in each other's place.
  const std::size_t block = static_cast<std::size_t>(1024 * header.row_bytes() + 8);
  ASSERT_TRUE(write_file(path_, good.substr(0, 4096) + good.substr(4096 + block, block) + good.substr(4096, block) +
                                    good.substr(4096 + 2 * block)));
  EXPECT_THAT(refused(), HasSubstr("checksum of block 0"));
  std::string newer = good;
  newer[8] = 2;
  ASSERT_TRUE(write_file(path_, newer));
  EXPECT_THAT(refused(), HasSubstr("newer"));
  ASSERT_TRUE(write_file(path_, "GGUF and so on, long enough to be read"));
  EXPECT_THAT(refused(), HasSubstr("not a teacher's signal"));
  std::filesystem::remove(path_);
  EXPECT_NE(refused(), "");
}

TEST(SignalHeader, WhatDoesNotFitIsSaid) {
  const SignalHeader wanted = tiny_header();
  const auto said = [&](auto change) {
    SignalHeader found = wanted;
    change(found);
    const auto fits = check_fits(found, wanted, "x.signal");
    return fits ? std::string() : fits.error().message;
  };
  EXPECT_EQ(said([](SignalHeader&) {}), "");
  EXPECT_EQ(said([](SignalHeader& header) { header.compute = "bfloat16"; }), "");
  EXPECT_THAT(said([](SignalHeader& header) { header.tokenizer = {}; }), HasSubstr("another tokenizer"));
  EXPECT_THAT(said([](SignalHeader& header) { header.teacher = {}; }), HasSubstr("another teacher"));
  EXPECT_THAT(said([](SignalHeader& header) { header.examples = {}; }), HasSubstr("other examples"));
  EXPECT_THAT(said([](SignalHeader& header) { header.slots = 4; }), HasSubstr("4 tokens a place"));
  EXPECT_THAT(said([](SignalHeader& header) { header.temperature = 1; }), HasSubstr("temperature 1"));
}

TEST(SignalHeader, DefaultsTakeAtMost48BytesAToken) {
  SignalHeader header;
  header.slots = 8;
  header.vocabulary = 49'152;
  EXPECT_EQ(header.row_bytes(), 40);
  header.vocabulary = 152'064;
  EXPECT_EQ(header.row_bytes(), 48);
}

std::vector<float> peaked(std::size_t count) {
  std::vector<float> p(count);
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += p[i] = std::exp(3.0F * std::sin(static_cast<float>(i) * 1.7F));
  for (float& value : p) value = static_cast<float>(static_cast<double>(value) / sum);
  return p;
}

// Trap: a truncated top-k is a biased target. The mean of the drawn weights must be the distribution.
TEST(DrawSlots, TheMeanOfTheWeightsIsTheDistribution) {
  constexpr int kDraws = 20'000;
  for (const std::size_t slots : {1U, 5U, 8U}) {
    const std::vector<float> p = peaked(40);
    std::vector<double> sum(p.size()), squares(p.size());
    Random random(3);
    for (int draw = 0; draw < kDraws; ++draw) {
      std::set<TokenId> seen;
      double mass = 0;
      for (const SignalSlot& slot : draw_slots(p, slots, random)) {
        EXPECT_TRUE(seen.insert(slot.id).second);  // each once
        const auto weight = static_cast<double>(slot.weight);
        sum[static_cast<std::size_t>(slot.id)] += weight;
        squares[static_cast<std::size_t>(slot.id)] += weight * weight;
        mass += weight;
      }
      ASSERT_NEAR(mass, 1, 1e-4);
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double mean = sum[i] / kDraws;
      const double error = std::sqrt(std::max(squares[i] / kDraws - mean * mean, 0.0) / kDraws);
      EXPECT_NEAR(mean, p[i], 4.5 * error + 1e-7) << slots << " " << i;
    }
  }
}

TEST(DrawSlots, ACertainTokenIsTakenForItself) {
  std::vector<float> p(100, 0);
  p[17] = 1;
  Random random(1);
  const auto slots = draw_slots(p, 8, random);
  EXPECT_EQ(slots[0].id, 17);
  EXPECT_EQ(slots[0].weight, 1);
  for (std::size_t i = 1; i < slots.size(); ++i) EXPECT_EQ(slots[i].weight, 0);
}

TEST(TopSlots, AreTheLikeliestAndNeverMoreThanAll) {
  const std::vector<float> p = {0.1F, 0.4F, 0.05F, 0.3F, 0.15F};
  const auto slots = top_slots(p, 3);
  EXPECT_EQ(slots[0].id, 1);
  EXPECT_EQ(slots[1].id, 3);
  EXPECT_EQ(slots[2].id, 4);
  float sum = 0;
  for (const SignalSlot& slot : top_slots(p, 5)) sum += slot.weight;
  EXPECT_LE(sum, 1);
  EXPECT_GT(sum, 0.9999F);
}

}  // namespace
}  // namespace retort::dataset
