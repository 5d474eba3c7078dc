#include "exporter/student_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/json.h"
#include "exporter/made_for_test.h"
#include "exporter/proof.h"
#include "gguf/architecture.h"
#include "model/safetensors.h"

namespace retort::exporter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StudentFileTest : public FolderTest {};

TEST_F(StudentFileTest, TheCutIsTheTeachersLayersBitForBit) {
  for (const bool tied : {true, false}) {
    const gguf::File teacher = make_teacher({.tied_head = tied, .rope_freqs = !tied});
    const std::vector<std::int64_t> layers = {0, 2, 3};
    const auto student = student_from_teacher(teacher, layers);
    ASSERT_TRUE(student) << student.error().message;
    const auto written =
        write_student(teacher, *student, made_metadata(teacher, layers), gguf::TensorType::kF32, path("cut.gguf"));
    ASSERT_TRUE(written) << written.error().message;
    const auto cut = gguf::File::open(path("cut.gguf"));
    ASSERT_TRUE(cut) << cut.error().message;
    EXPECT_TRUE(gguf::check_model(*cut)) << gguf::check_model(*cut).error().message;
    // A tied head has no tensor of its own; frequency factors are kept.
    EXPECT_EQ(cut->find("output.weight") == nullptr, tied);
    EXPECT_EQ(cut->find("rope_freqs.weight") == nullptr, tied);
    for (const gguf::TensorInfo& tensor : cut->tensors()) {
      std::string source = tensor.name;
      if (source.starts_with("blk.")) source = "blk." + std::to_string(layers[source[4] - '0']) + source.substr(5);
      ASSERT_NE(teacher.find(source), nullptr) << source;
      // Query and key rows were permuted there and back.
      EXPECT_EQ(cut->floats(tensor).value(), teacher.floats(*teacher.find(source)).value()) << tensor.name;
    }
  }
}

TEST_F(StudentFileTest, MetadataSaysWhatTheStudentIs) {
  const gguf::File teacher = make_teacher({.type = gguf::TensorType::kQ4_1});
  const std::vector<std::int64_t> layers = {0, 3};
  const auto student = student_from_teacher(teacher, layers);
  const StudentMetadata papers = made_metadata(teacher, layers);
  ASSERT_TRUE(write_student(teacher, *student, papers, gguf::TensorType::kQ8_0, path("s.gguf")));
  const auto file = gguf::File::open(path("s.gguf"));
  ASSERT_TRUE(file);
  const gguf::Metadata& metadata = file->metadata();
  EXPECT_EQ(metadata.get<std::string>("general.name"), "tiny-student");
  EXPECT_EQ(metadata.get<std::string>("general.license"), "apache-2.0");
  EXPECT_EQ(metadata.get<std::int64_t>("llama.block_count"), 2);
  EXPECT_EQ(metadata.get<std::int64_t>("general.file_type"), 7);
  EXPECT_EQ(metadata.get<std::int64_t>("general.base_model.count"), 1);
  EXPECT_EQ(metadata.get<std::string>("general.base_model.0.name"), "Tiny test model");
  EXPECT_EQ(metadata.get<std::string>("general.base_model.0.repo_url"), "https://huggingface.co/retort/tiny");
  EXPECT_THAT(metadata.get<std::vector<std::int32_t>>("retort.layers").value(), ElementsAre(0, 3));
  EXPECT_EQ(metadata.get<std::string>("retort.recipe"), papers.recipe_yaml);
  for (const std::string key : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.chat_template"}) {
    ASSERT_TRUE(metadata.contains(key));
    EXPECT_EQ(*metadata.find_value(key), *teacher.metadata().find_value(key)) << key;
  }
  const auto json = parse_json(metadata.get<std::string>("retort.lineage").value(), "lineage");
  EXPECT_EQ(lineage_from_json(*json, "lineage").value(), papers.lineage);
  EXPECT_EQ(file->file_type_name(), "Q8_0");
  EXPECT_TRUE(check_file(path("s.gguf"))) << check_file(path("s.gguf")).error().message;
  // The same input gives the same bytes.
  ASSERT_TRUE(write_student(teacher, *student, papers, gguf::TensorType::kQ8_0, path("again.gguf")));
  EXPECT_EQ(sha256_file(path("s.gguf")).value(), sha256_file(path("again.gguf")).value());
}

TEST_F(StudentFileTest, StudentsThatDontFitAreRefused) {
  const gguf::File teacher = make_teacher();
  const StudentMetadata papers = made_metadata(teacher, {0, 1});
  auto student = student_from_teacher(teacher, {0, 1});
  ASSERT_TRUE(student);
  Student wider = *student;
  wider.config.vocabulary = 128;
  EXPECT_THAT(write_student(teacher, wider, papers, gguf::TensorType::kF16, path("x.gguf")).error().message,
              HasSubstr("vocabulary has 128 tokens"));
  Student broken = *student;
  broken.values = [&](const std::string& name) -> Result<std::vector<float>> {
    RETORT_ASSIGN(auto values, student->values(name));
    if (name == "blk.1.ffn_down.weight") values[7] = std::numeric_limits<float>::quiet_NaN();
    return values;
  };
  const auto nan = write_student(teacher, broken, papers, gguf::TensorType::kF16, path("x.gguf"));
  ASSERT_FALSE(nan);
  EXPECT_THAT(nan.error().message, HasSubstr("blk.1.ffn_down.weight"));
  EXPECT_FALSE(std::filesystem::exists(path("x.gguf")));
  EXPECT_FALSE(write_student(teacher, *student, papers, gguf::TensorType::kIQ2_XXS, path("x.gguf")));
  EXPECT_FALSE(student_from_teacher(teacher, {3, 1}));
  EXPECT_FALSE(student_from_teacher(teacher, {0, 9}));
}

TEST_F(StudentFileTest, ByWayOfAHuggingFaceFolderBitForBit) {
  const std::vector<gguf::testing::TinyModelOptions> families = {
      {}, {.window = 64, .tied_head = false}, {.architecture = "qwen2"}, {.head_dim = 32, .architecture = "qwen3"}};
  for (const auto& family : families) {
    const gguf::File teacher = make_teacher(family);
    const StudentMetadata papers = made_metadata(teacher, {0, 1, 2, 3});
    const auto whole = student_from_teacher(teacher, {0, 1, 2, 3});
    ASSERT_TRUE(whole);
    ASSERT_TRUE(write_hugging_face_folder(*whole, papers.lineage, path("folder")));
    const auto back = student_from_hugging_face(path("folder"));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->config, whole->config);
    ASSERT_TRUE(write_student(teacher, *back, papers, gguf::TensorType::kF32, path("back.gguf")));
    const auto file = gguf::File::open(path("back.gguf"));
    ASSERT_TRUE(file);
    EXPECT_TRUE(gguf::check_model(*file)) << gguf::check_model(*file).error().message;
    ASSERT_EQ(file->tensors().size(), teacher.tensors().size());
    for (const gguf::TensorInfo& tensor : teacher.tensors()) {
      ASSERT_NE(file->find(tensor.name), nullptr) << tensor.name;
      EXPECT_EQ(file->floats(*file->find(tensor.name)).value(), teacher.floats(tensor).value()) << tensor.name;
    }
    // Queries of Llama files lie in another order there, those of Qwen files don't.
    const bool moved = student_from_teacher(teacher, {0, 1, 2, 3})->values("blk.0.attn_q.weight").value() !=
                       teacher.floats(*teacher.find("blk.0.attn_q.weight")).value();
    EXPECT_EQ(moved, family.architecture == "llama");
  }
}

TEST_F(StudentFileTest, CheckpointsGiveTheSameFile) {
  const gguf::File teacher = make_teacher();
  const std::vector<std::int64_t> layers = {1, 2};
  const auto student = student_from_teacher(teacher, layers);
  model::SafetensorsWriter writer(
      {{"format", "retort-weights"}, {"version", "1"}, {"config", canonical_json(model::to_json(student->config))}});
  std::vector<std::vector<float>> kept;
  const auto names = model::tensor_names(student->config);
  kept.reserve(names.size());
  for (const std::string& name : names) {
    kept.push_back(student->values(name).value());
    writer.add(name, model::StoredType::kF32, model::tensor_shape(student->config, name),
               [&values = kept.back()] { return std::as_bytes(std::span<const float>(values)); });
  }
  ASSERT_TRUE(writer.write(path("student.safetensors")));
  const auto loaded = student_from_checkpoint(path("student.safetensors"));
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->config, student->config);
  const StudentMetadata papers = made_metadata(teacher, layers);
  ASSERT_TRUE(write_student(teacher, *student, papers, gguf::TensorType::kF16, path("a.gguf")));
  ASSERT_TRUE(write_student(teacher, *loaded, papers, gguf::TensorType::kF16, path("b.gguf")));
  EXPECT_EQ(sha256_file(path("a.gguf")).value(), sha256_file(path("b.gguf")).value());
  EXPECT_FALSE(student_from_checkpoint(path("a.gguf")));
  EXPECT_FALSE(student_from_checkpoint(path("none.safetensors")));
}

}  // namespace
}  // namespace retort::exporter
