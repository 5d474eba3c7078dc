// A tiny teacher, its cut and their papers, for the tests of this module.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/digest.h"
#include "exporter/student_file.h"
#include "gguf/file.h"
#include "gguf/testing.h"

namespace retort::exporter {

class FolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("retort-exporter-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) +
               std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path path(const std::string& name) const { return folder_ / name; }

  gguf::File make_teacher(gguf::testing::TinyModelOptions options = {}) {
    options.layers = 4;
    EXPECT_TRUE(gguf::testing::write_tiny_model(path("teacher.gguf"), options));
    auto file = gguf::File::open(path("teacher.gguf"));
    EXPECT_TRUE(file) << file.error().message;
    return std::move(*file);
  }

 private:
  std::filesystem::path folder_;
};

inline StudentMetadata made_metadata(const gguf::File& teacher, const std::vector<std::int64_t>& layers) {
  StudentMetadata made;
  made.recipe_yaml = "name: tiny\n";
  made.lineage.name = "tiny-student";
  made.lineage.code_version = "0.1.0";
  made.lineage.teacher = {"Tiny test model",
                          "teacher.gguf",
                          teacher.file_type_name(),
                          "retort/tiny",
                          "apache-2.0",
                          4,
                          sha256_file(teacher.path()).value(),
                          sha256(gguf::testing::tiny_chat_template()),
                          {}};
  made.lineage.layers = layers;
  made.lineage.weights = sha256("weights");
  made.lineage.recipe = sha256(made.recipe_yaml);
  made.lineage.terms = {{"explanation", "Apache-2.0 allows it."}, {"obligations", {"Keep the notices."}}};
  return made;
}

}  // namespace retort::exporter
