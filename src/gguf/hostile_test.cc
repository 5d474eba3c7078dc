// Damaged and hostile files: each is refused with a sentence, none crashes. The same loop under a sanitizer is the
// fuzzer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "base/random.h"
#include "gguf/architecture.h"
#include "gguf/file.h"
#include "gguf/testing.h"

namespace retort::gguf {
namespace {

using ::testing::HasSubstr;

class HostileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() /
            ("retort-hostile-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) +
             std::to_string(::getpid()) + ".gguf");
    testing::TinyModelOptions options;
    options.layers = 1;
    options.hidden = 32;
    options.intermediate = 32;
    ASSERT_TRUE(testing::write_tiny_model(path_, options));
    bytes_ = read_file(path_).value();
  }
  void TearDown() override { std::filesystem::remove(path_); }

  Result<File> open(const std::string& bytes) {
    // Not write_file(): hundreds of fsyncs would take most of the test's time.
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    return File::open(path_);
  }
  // Whatever the file says, using it must not crash.
  void use(const std::string& bytes) {
    const auto file = open(bytes);
    if (!file) {
      EXPECT_EQ(file.error().fault, Fault::kCaller);
      EXPECT_FALSE(file.error().message.empty());
      return;
    }
    static_cast<void>(check_model(*file));
    static_cast<void>(file->check_finite());
  }
  template <class T>
  std::string with(std::size_t place, T value) const {
    std::string changed = bytes_;
    std::memcpy(changed.data() + place, &value, sizeof(value));
    return changed;
  }
  std::string refusal(const std::string& bytes) {
    const auto file = open(bytes);
    return file ? std::string("accepted") : file.error().message;
  }
  // Where the text stands in the file, after its length.
  std::size_t place_of(const std::string& text) const { return bytes_.find(text); }

  std::filesystem::path path_;
  std::string bytes_;
};

TEST_F(HostileTest, EveryTruncationIsRefused) {
  Random random(11);
  for (int i = 0; i < 400; ++i) {
    const std::size_t length = i < 64 ? static_cast<std::size_t>(i) : random.below(bytes_.size());
    const auto file = open(bytes_.substr(0, length));
    ASSERT_FALSE(file) << "accepted at " << length << " of " << bytes_.size();
    EXPECT_EQ(file.error().fault, Fault::kCaller);
    EXPECT_THAT(file.error().message, HasSubstr(path_.string()));
  }
}

TEST_F(HostileTest, FlippedBytesNeverCrash) {
  Random random(12);
  const std::size_t header = place_of("ffn_down") + 100;  // names, shapes, offsets: where damage hurts
  for (int i = 0; i < 1500; ++i) {
    std::string changed = bytes_;
    const std::uint64_t flips = 1 + random.below(4);
    for (std::uint64_t k = 0; k < flips; ++k) {
      changed[random.below(i % 5 == 0 ? changed.size() : header)] = static_cast<char>(random.below(256));
    }
    use(changed);
  }
}

TEST_F(HostileTest, HugeNumbersNeverCrash) {
  // Every eight bytes of the header in turn become a length beyond all bounds.
  for (std::size_t place = 4; place + 8 < 700; ++place) {
    use(with<std::uint64_t>(place, ~std::uint64_t{0} >> (place % 3)));
  }
}

TEST_F(HostileTest, SentencesSayWhatIsWrong) {
  EXPECT_EQ(refusal(bytes_), "accepted");
  EXPECT_THAT(refusal(""), HasSubstr("empty"));
  EXPECT_THAT(refusal("PK\3\4 this is a zip"), HasSubstr("isn't a GGUF file"));
  EXPECT_THAT(refusal(with<std::uint32_t>(4, 1)), HasSubstr("version 1"));
  EXPECT_THAT(refusal(with<std::uint32_t>(4, 4)), HasSubstr("version 4"));
  EXPECT_THAT(refusal(with<std::uint32_t>(4, 0x03000000)), HasSubstr("big-endian"));
  EXPECT_THAT(refusal(with<std::uint64_t>(8, std::uint64_t{1} << 60U)), HasSubstr("tensors"));
  EXPECT_THAT(refusal(with<std::uint64_t>(16, std::uint64_t{1} << 60U)), HasSubstr("metadata keys"));
  EXPECT_THAT(refusal(with<std::uint64_t>(24, std::uint64_t{1} << 62U)), HasSubstr("claims"));
  // The key's own text.
  EXPECT_THAT(refusal(with<std::uint8_t>(place_of("general.name"), 0xFF)), HasSubstr("not text"));
  std::string twice = bytes_;
  twice.replace(place_of("general.license"), 15, "general.licensf");
  EXPECT_EQ(refusal(twice), "accepted");
  // A tensor: name, dimensions u32, lengths u64 each, type u32, offset u64.
  const std::size_t norm = place_of("output_norm.weight") + std::strlen("output_norm.weight");
  EXPECT_THAT(refusal(with<std::uint32_t>(norm, 0)), HasSubstr("dimensions"));
  EXPECT_THAT(refusal(with<std::uint32_t>(norm, 9)), HasSubstr("dimensions"));
  EXPECT_THAT(refusal(with<std::uint64_t>(norm + 4, 0)), HasSubstr("dimension of 0"));
  EXPECT_THAT(refusal(with<std::uint64_t>(norm + 4, std::uint64_t{1} << 61U)), HasSubstr("no file can hold"));
  EXPECT_THAT(refusal(with<std::uint32_t>(norm + 12, 4)), HasSubstr("type number 4"));
  EXPECT_THAT(refusal(with<std::uint32_t>(norm + 12, 77)), HasSubstr("type number 77"));
  EXPECT_THAT(refusal(with<std::uint32_t>(norm + 12, 12)), HasSubstr("don't divide"));
  EXPECT_THAT(refusal(with<std::uint64_t>(norm + 16, 8)), HasSubstr("lies at offset 8"));
  std::string same_name = bytes_;
  same_name.replace(place_of("blk.0.attn_q.weight"), 19, "blk.0.attn_k.weight");
  EXPECT_THAT(refusal(same_name), HasSubstr("stands twice"));
  EXPECT_THAT(refusal(bytes_.substr(0, bytes_.size() - 100)), HasSubstr("truncated"));
}

TEST_F(HostileTest, MissingFileAndFolder) {
  const auto missing = File::open("/nonexistent/model.gguf");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().fault, Fault::kCaller);
  EXPECT_FALSE(File::open(std::filesystem::temp_directory_path()));
}

}  // namespace
}  // namespace retort::gguf
