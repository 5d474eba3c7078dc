#include "llama/speed.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "gguf/testing.h"

namespace retort::llama {
namespace {

std::filesystem::path folder_for(const char* name) {
  auto folder = std::filesystem::path(::testing::TempDir()) / (std::string(name) + "_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  return folder;
}

TEST(SpeedTest, MeasuresBothKinds) {
  const auto folder = folder_for("retort_speed");
  ASSERT_TRUE(gguf::testing::write_tiny_model(folder / "tiny.gguf", {}));
  SpeedOptions options;
  options.threads = 1;
  options.prefill_tokens = 64;
  options.decode_tokens = 8;
  options.repetitions = 1;
  const auto speed = measure_speed(folder / "tiny.gguf", options, SystemClock());
  ASSERT_TRUE(speed) << speed.error().message;
  EXPECT_GT(speed->prefill_tokens_per_s, 0);
  EXPECT_GT(speed->decode_tokens_per_s, 0);
  options.decode_tokens = 0;
  EXPECT_FALSE(measure_speed(folder / "tiny.gguf", options, SystemClock()));
}

TEST(SpeedTest, MeasuresWorkOnManyTexts) {
  const auto folder = folder_for("retort_work");
  ASSERT_TRUE(gguf::testing::write_tiny_model(folder / "tiny.gguf", {}));
  const auto rates = measure_work(folder / "tiny.gguf", 4, 20, {}, 1, SystemClock());
  ASSERT_TRUE(rates) << rates.error().message;
  EXPECT_GT(rates->decode_tokens_per_s, 0);
  EXPECT_GT(rates->read_tokens_per_s, 0);
  EXPECT_FALSE(measure_work(folder / "tiny.gguf", 0, 20, {}, 1, SystemClock()));
}

TEST(TypeProbeTest, ConvertsOnceAndMeasuresEveryCandidate) {
  const auto folder = folder_for("retort_probe");
  gguf::testing::TinyModelOptions tiny;
  tiny.type = gguf::TensorType::kQ4_1;
  ASSERT_TRUE(gguf::testing::write_tiny_model(folder / "tiny.gguf", tiny));
  auto file = gguf::File::open(folder / "tiny.gguf");
  ASSERT_TRUE(file) << file.error().message;
  TypeProbeOptions options;
  options.threads = 1;
  options.parallel = 4;
  options.length = 3;
  SilentProgress progress;
  const auto probe = fastest_type(*file, folder / "cache", options, SystemClock(), progress);
  ASSERT_TRUE(probe) << probe.error().message;
  ASSERT_EQ(probe->measured.size(), 3U);
  EXPECT_EQ(probe->measured[0].type, gguf::TensorType::kQ4_1);
  for (const TypeSpeed& entry : probe->measured) {
    EXPECT_GT(entry.tokens_per_s, 0);
    EXPECT_LE(entry.tokens_per_s, probe->fastest.tokens_per_s);
    EXPECT_TRUE(std::filesystem::exists(entry.path));
  }
  const auto written = std::filesystem::last_write_time(probe->measured[1].path);
  ASSERT_TRUE(fastest_type(*file, folder / "cache", options, SystemClock(), progress));
  EXPECT_EQ(std::filesystem::last_write_time(probe->measured[1].path), written) << "converted once";
}

TEST(TypeProbeTest, AnExactFileKeepsItsType) {
  const auto folder = folder_for("retort_probe_f32");
  ASSERT_TRUE(gguf::testing::write_tiny_model(folder / "tiny.gguf", {}));
  auto file = gguf::File::open(folder / "tiny.gguf");
  ASSERT_TRUE(file);
  SilentProgress progress;
  const auto probe = fastest_type(*file, folder / "cache", {}, SystemClock(), progress);
  ASSERT_TRUE(probe);
  EXPECT_EQ(probe->fastest.type, gguf::TensorType::kF32);
  EXPECT_EQ(probe->fastest.path, folder / "tiny.gguf");
  EXPECT_FALSE(std::filesystem::exists(folder / "cache")) << "nothing was converted";
}

}  // namespace
}  // namespace retort::llama
