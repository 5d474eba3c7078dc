#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

namespace retort::model {
namespace {

using ::testing::HasSubstr;

class SafetensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("retort_safetensors_" + std::to_string(::getpid()) + "_" +
                                                  ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write_bytes(const std::string& header, std::size_t data_bytes) {
    std::string bytes(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>((header.size() >> (8 * i)) & 0xFFU);
    bytes += header + std::string(data_bytes, 'x');
    return write_raw(bytes);
  }
  std::filesystem::path write_raw(const std::string& bytes) {
    const auto path = folder_ / "file.safetensors";
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  std::string refusal(const std::filesystem::path& path) {
    const auto reader = SafetensorsReader::open(path);
    if (reader) return "accepted";
    EXPECT_EQ(reader.error().fault, Fault::kCaller);
    return reader.error().message;
  }
  std::filesystem::path folder_;
};

TEST_F(SafetensorsTest, ReadsWhatItWrote) {
  const std::vector<float> first = {1.5F, -2, 0, 3e-30F, 4, 5};
  const std::vector<std::uint16_t> second = {0x3F80, 0xC000};  // 1, -2
  SafetensorsWriter writer({{"config", "{\"a\":1}"}, {"format", "x"}});
  writer.add("b", StoredType::kF32, {2, 3}, [&] { return std::as_bytes(std::span(first)); });
  writer.add("a", StoredType::kBF16, {2}, [&] { return std::as_bytes(std::span(second)); });
  const auto path = folder_ / "w.safetensors";
  ASSERT_TRUE(writer.write(path));
  const auto reader = SafetensorsReader::open(path);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->metadata().at("config"), "{\"a\":1}");
  ASSERT_EQ(reader->tensors().size(), 2U);
  EXPECT_EQ(reader->tensors()[0].name, "b");
  EXPECT_EQ(reader->tensors()[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(*reader->floats(*reader->find("b")), first);
  EXPECT_EQ(*reader->floats(*reader->find("a")), (std::vector<float>{1, -2}));
  EXPECT_EQ(reader->find("c"), nullptr);
  // The tensors lie aligned.
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(reader->bytes(*reader->find("b")).data()) % 8, 0U);
}

TEST_F(SafetensorsTest, HalfFloatsAreExact) {
  const std::vector<std::uint16_t> halves = {0x3C00, 0xC000, 0x0001, 0x7BFF, 0x8000};
  SafetensorsWriter writer((std::map<std::string, std::string>()));
  writer.add("h", StoredType::kF16, {5}, [&] { return std::as_bytes(std::span(halves)); });
  ASSERT_TRUE(writer.write(folder_ / "h"));
  const auto reader = SafetensorsReader::open(folder_ / "h");
  ASSERT_TRUE(reader);
  EXPECT_EQ(*reader->floats(reader->tensors()[0]), (std::vector<float>{1, -2, 0x1p-24F, 65504, -0.0F}));
}

TEST_F(SafetensorsTest, RefusesDamage) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(refusal(write_bytes(good, 8)), "accepted");
  EXPECT_THAT(refusal(write_bytes(good, 7)), HasSubstr("only 7"));
  EXPECT_THAT(refusal(write_bytes(good, 9)), HasSubstr("8 of 9"));
  EXPECT_THAT(refusal(write_raw("abc")), HasSubstr("only 3 bytes"));
  EXPECT_THAT(refusal(write_raw(std::string(8, '\xFF') + "{}")), HasSubstr("header claims"));
  EXPECT_THAT(refusal(write_bytes("[]", 0)), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal(write_bytes("{\"a\":", 0)), HasSubstr("header"));
  EXPECT_THAT(refusal(write_bytes(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8)),
              HasSubstr("'F64', which is not supported"));
  EXPECT_THAT(refusal(write_bytes(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("no proper shape"));
  EXPECT_THAT(refusal(write_bytes(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8)),
              HasSubstr("does not have the size"));
  EXPECT_THAT(refusal(write_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8)),
              HasSubstr("does not have the size"));
  EXPECT_THAT(refusal(write_bytes(R"({"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,8]}})", 8)),
              HasSubstr("does not have the size"));
  EXPECT_THAT(refusal(write_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                  R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                                  12)),
              HasSubstr("overlaps another or leaves a gap"));
  EXPECT_THAT(refusal(folder_ / "absent"), HasSubstr("absent"));
}

TEST_F(SafetensorsTest, EveryTruncationIsRefused) {
  const std::vector<float> values(5, 1.0F);
  SafetensorsWriter writer(std::map<std::string, std::string>{{"k", "v"}});
  writer.add("a", StoredType::kF32, {5}, [&] { return std::as_bytes(std::span(values)); });
  const auto path = folder_ / "t";
  ASSERT_TRUE(writer.write(path));
  const auto whole = read_file(path);
  ASSERT_TRUE(whole);
  for (std::size_t length = 0; length < whole->size(); ++length) {
    EXPECT_NE(refusal(write_raw(whole->substr(0, length))), "accepted") << length;
  }
}

TEST_F(SafetensorsTest, AFailedWriteLeavesTheOldFile) {
  const auto path = write_raw("old") / "w";  // no file can stand inside a file
  SafetensorsWriter writer((std::map<std::string, std::string>()));
  const auto written = writer.write(path);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().fault, Fault::kWorld);
  EXPECT_EQ(*read_file(folder_ / "file.safetensors"), "old");
}

}  // namespace
}  // namespace retort::model
