#include "catalogue/catalogue.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace retort::catalogue {
namespace {

class CatalogueTest : public testing::Test {
 protected:
  CatalogueTest() : folder_(std::filesystem::path(testing::TempDir()) / "catalogue_test") {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "models");
  }
  ~CatalogueTest() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(CatalogueTest, ANameIsItsFileInTheCache) {
  const std::filesystem::path file = folder_ / "models" / models()[0].file_name;
  std::ofstream(file) << "x";
  EXPECT_EQ(find_model("smollm2-135m-instruct", folder_).value(), file);
}

TEST_F(CatalogueTest, AMissingFileSaysHowToFetchIt) {
  const auto found = find_model("smollm2-135m-instruct", folder_);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().fault, Fault::kCaller);
  EXPECT_NE(found.error().message.find("make setup"), std::string::npos) << found.error().message;
}

TEST_F(CatalogueTest, APathIsItself) {
  std::ofstream(folder_ / "a.gguf") << "x";
  EXPECT_EQ(find_model((folder_ / "a.gguf").string(), folder_).value(), folder_ / "a.gguf");
  EXPECT_FALSE(find_model(folder_.string(), folder_));
}

TEST_F(CatalogueTest, AMisspeltNameIsAnsweredWithTheNearest) {
  const auto found = find_model("smolm2-135m-instruct", folder_);
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("'smollm2-135m-instruct'?"), std::string::npos) << found.error().message;
}

TEST(CacheFolder, TheMostSpecificVariableWins) {
  EXPECT_EQ(default_cache_folder("/a", "/b", "/c"), "/a");
  EXPECT_EQ(default_cache_folder("", "/b", "/c"), "/b/retort");
  EXPECT_EQ(default_cache_folder(nullptr, nullptr, "/c"), "/c/.cache/retort");
}

}  // namespace
}  // namespace retort::catalogue
