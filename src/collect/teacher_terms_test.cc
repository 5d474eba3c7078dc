#include "collect/teacher_terms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "gguf/testing.h"

namespace retort::collect {
namespace {

constexpr std::int64_t kNow = 1'795'000'000'000;  // 2026-11-18

TEST(TeacherTermsTest, TheRecipesKeysBecomeTheQuestion) {
  TeacherOptions teacher;
  teacher.api = "openai";
  teacher.model = "gpt-5";
  teacher.endpoints = {{.url = "https://api.openai.com/v1", .key_env = {}, .key_file = {}}};
  teacher.terms = {"classifier", true, true, "DE", 12, {"Ada", "ab", "all", "2027-01-01", true}};
  const terms::Query query = terms_query(teacher, {"Grace", "mit"}, kNow);
  EXPECT_EQ(query.model, "gpt-5");
  EXPECT_EQ(query.route, "openai");
  EXPECT_EQ(query.purpose, terms::Purpose::kClassifier);
  EXPECT_TRUE(query.distributed && query.commercial);
  EXPECT_EQ(query.region, "DE");
  EXPECT_EQ(query.monthly_users, 12);
  EXPECT_EQ(query.authorisation, (terms::Authorisation{"Ada", "ab", "all", "2027-01-01", true}));
  EXPECT_EQ(query.acceptance, (terms::Acceptance{"Grace", "mit"}));
  EXPECT_EQ(query.today, "2026-11-18");
}

TEST(TeacherTermsTest, TheRouteIsTheRecipesOrThatOfTheEndpoints) {
  TeacherOptions teacher;
  teacher.api = "openai";
  const auto route = [&](const std::vector<std::string>& urls) {
    teacher.endpoints.clear();
    for (const std::string& url : urls) teacher.endpoints.push_back({.url = url, .key_env = {}, .key_file = {}});
    return terms_query(teacher, {}, kNow).route;
  };
  EXPECT_EQ(route({"http://127.0.0.1:8000/v1"}), "own");
  EXPECT_EQ(route({"http://10.0.0.1/v1", "https://gateway.example/v1"}), "gateway.example");
  EXPECT_EQ(route({"https://api.x.ai/v1", "http://10.0.0.1/v1"}), "xai");
  teacher.route = "own";
  EXPECT_EQ(route({"https://vllm.acme.example/v1"}), "own");
  teacher = {};
  teacher.file = "tiny.gguf";
  EXPECT_EQ(terms_query(teacher, {}, kNow).route, "") << "a file is asked through nobody";
}

TEST(TeacherTermsTest, AFileSaysItsLicenceAndNames) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("retort-terms-" + std::to_string(::getpid()) + ".gguf");
  ASSERT_TRUE(gguf::testing::write_tiny_model(path, {}));
  {
    const auto file = gguf::File::open(path);
    ASSERT_TRUE(file);
    const auto declared = declared_by(*file);
    ASSERT_TRUE(declared) << declared.error().message;
    EXPECT_EQ(declared->licence, "apache-2.0");
    EXPECT_FALSE(declared->model_name.empty());
    EXPECT_THAT(declared->other_names, ::testing::Contains(path.stem().string()));
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace retort::collect
