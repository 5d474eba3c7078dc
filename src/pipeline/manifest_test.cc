#include "pipeline/manifest.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/files.h"

namespace retort::pipeline {
namespace {

class ManifestTest : public testing::Test {
 protected:
  ManifestTest() : path_(std::filesystem::path(testing::TempDir()) / "manifest_test.json") {
    std::filesystem::remove(path_);
  }
  std::filesystem::path path_;
};

Manifest example() {
  Manifest manifest;
  manifest.name = "a";
  manifest.code_version = "0.1.0";
  manifest.created_at = "2026-11-22T04:37:47Z";
  manifest.command = "retort run a.yaml";
  manifest.recipe_digest = sha256("recipe");
  StageRecord& stage = manifest.at("collect");
  stage.key = sha256("key");
  stage.done = true;
  stage.started_at = "2026-11-22T04:37:47Z";
  stage.finished_at = "2026-11-22T04:38:47Z";
  stage.seconds = 59.5;
  stage.tokens = 1234;
  stage.summary = "24 exchanges";
  stage.content = sha256("content");
  stage.outputs = {{"collect/collection.json", sha256("file"), 77}};
  return manifest;
}

TEST_F(ManifestTest, ReadsBackWhatItWrote) {
  const Manifest written = example();
  ASSERT_TRUE(save_manifest(written, path_));
  const auto read = load_manifest(path_);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->name, "a");
  EXPECT_EQ(read->command, "retort run a.yaml");
  EXPECT_EQ(read->recipe_digest, sha256("recipe"));
  ASSERT_EQ(read->stages.size(), 1U);
  const StageRecord& stage = read->stages[0];
  EXPECT_EQ(stage.key, sha256("key"));
  EXPECT_TRUE(stage.done);
  EXPECT_DOUBLE_EQ(stage.seconds, 59.5);
  EXPECT_EQ(stage.tokens, 1234);
  EXPECT_EQ(stage.content, sha256("content"));
  ASSERT_EQ(stage.outputs.size(), 1U);
  EXPECT_EQ(stage.outputs[0].path, "collect/collection.json");
  EXPECT_EQ(stage.outputs[0].digest, sha256("file"));
  EXPECT_EQ(stage.outputs[0].size_bytes, 77U);
  EXPECT_DOUBLE_EQ(read->total_seconds(), 59.5);
}

TEST_F(ManifestTest, ANewerVersionIsRefusedByASentence) {
  ASSERT_TRUE(save_manifest(example(), path_));
  std::string text = read_file(path_).value();
  const std::string version = "\"version\": 1";
  text.replace(text.find(version), version.size(), "\"version\": 99");
  ASSERT_TRUE(write_file(path_, text));
  const auto read = load_manifest(path_);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().fault, Fault::kCaller);
  EXPECT_NE(read.error().message.find("newer Retort"), std::string::npos) << read.error().message;
  EXPECT_NE(read.error().message.find("99"), std::string::npos) << read.error().message;
}

TEST_F(ManifestTest, AnotherDocumentOrADamagedOneIsRefused) {
  ASSERT_TRUE(write_file(path_, "{\"format\": \"something else\"}"));
  EXPECT_FALSE(load_manifest(path_));
  ASSERT_TRUE(write_file(path_, "[]"));
  EXPECT_FALSE(load_manifest(path_));
  ASSERT_TRUE(save_manifest(example(), path_));
  const std::string text = read_file(path_).value();
  ASSERT_TRUE(write_file(path_, text.substr(0, text.size() / 2)));
  const auto read = load_manifest(path_);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().fault, Fault::kCaller);
}

}  // namespace
}  // namespace retort::pipeline
