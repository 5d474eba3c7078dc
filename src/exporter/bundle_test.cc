#include "exporter/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/files.h"
#include "dataset/dataset.h"
#include "exporter/made_for_test.h"

namespace retort::exporter {
namespace {

using ::testing::HasSubstr;

class BundleTest : public FolderTest {
 protected:
  void SetUp() override {
    FolderTest::SetUp();
    teacher_.emplace(make_teacher());
    auto opened = store::ExchangeStore::open(path("exchanges.sqlite"));
    ASSERT_TRUE(opened) << opened.error().message;
    store_.emplace(std::move(*opened));
    StudentMetadata papers = made_metadata(*teacher_, {0, 2});
    dataset::Dataset data;
    for (int i = 0; i < 5; ++i) {
      Exchange exchange;
      exchange.prompt.messages = {{Role::kUser, "question " + std::to_string(i)}};
      exchange.completion = {"answer", FinishReason::kEnd};
      exchange.tokens.ids = {1, 50, 2};
      exchange.provenance.model = ModelIdentity{"Tiny test model", papers.lineage.teacher.file_digest,
                                                papers.lineage.teacher.template_digest, "F16"};
      exchange.provenance.sampling = SamplingOptions{};
      exchange.provenance.created_at = "2026-11-22T00:00:00Z";
      (i < 3 ? data.train : data.held_out).push_back(store_->add(exchange).value());
    }
    papers.lineage.dataset = dataset::save(data, path("dataset.json")).value();
    papers.lineage.train_exchanges = 3;
    papers.lineage.held_out_exchanges = 2;
    const auto student = student_from_teacher(*teacher_, {0, 2});
    input_.card.lineage = papers.lineage;
    input_.card.languages = {"en"};
    input_.card.prompt_source = "self_generated";
    input_.card.command = "retort run tiny.yaml";
    input_.recipe_yaml = papers.recipe_yaml;
    input_.dataset = path("dataset.json");
    for (const auto& [name, type] :
         {std::pair{"tiny-F16.gguf", gguf::TensorType::kF16}, std::pair{"tiny-Q8_0.gguf", gguf::TensorType::kQ8_0}}) {
      ASSERT_TRUE(write_student(*teacher_, *student, papers, type, path(name)));
      input_.models.push_back(path(name));
    }
    Scorecard scorecard;
    scorecard.teacher.name = "teacher";
    scorecard.teacher.kl_nats = Estimate{0, 0, 0};
    scorecard.student.name = "student";
    scorecard.student.kl_nats = Estimate{0.65, 0.61, 0.69};
    scorecard.held_out = {2, 300, 0.8, 0.95, 160};
    input_.card.scorecard = scorecard;
    const auto written = write_bundle(input_, path("bundle"));
    ASSERT_TRUE(written) << written.error().message;
  }

  Result<VerifyReport> verify(const store::ExchangeStore* store = nullptr,
                              const std::optional<std::filesystem::path>& teacher = std::nullopt) {
    SilentProgress progress;
    return verify_bundle(path("bundle"), store, teacher, progress);
  }
  // The sentences of the checks that failed.
  std::string failures(const store::ExchangeStore* store = nullptr) {
    const auto report = verify(store);
    if (!report) return report.error().message;
    std::string out;
    for (const Check& check : report->checks) {
      if (check.state == CheckState::kFailed) out += check.subject + ": " + check.sentence + "\n";
    }
    return out;
  }
  std::string text(const std::string& name) { return read_file(path("bundle") / name).value(); }
  void replace(const std::string& name, const std::string& bytes) {
    // A new file: models in a bundle may be hard links to the run's.
    std::filesystem::remove(path("bundle") / name);
    std::ofstream(path("bundle") / name, std::ios::binary) << bytes;
  }
  // Lists the changed file with its new digest, as a forger would.
  void list_again(const std::string& name) {
    std::string sums = text("SHA256SUMS");
    const std::size_t at = sums.find("  " + name + "\n");
    ASSERT_NE(at, std::string::npos);
    sums.replace(at - 64, 64, sha256_file(path("bundle") / name).value().hex());
    replace("SHA256SUMS", sums);
  }

  std::optional<gguf::File> teacher_;
  std::optional<store::ExchangeStore> store_;
  BundleInput input_;
};

TEST_F(BundleTest, AFreshBundleVerifies) {
  EXPECT_EQ(failures(), "");
  const auto away = verify();
  const Json json = to_json(*away);
  EXPECT_TRUE(json["passed"].get<bool>());
  EXPECT_THAT(json.dump(), HasSubstr("exchanges absent: 5 ids named, not checked"));
  EXPECT_THAT(json.dump(), HasSubstr("teacher absent"));
  const auto whole = verify(&*store_, path("teacher.gguf"));
  ASSERT_TRUE(whole);
  EXPECT_TRUE(whole->passed());
  EXPECT_THAT(to_json(*whole).dump(), HasSubstr("5 exchanges in the store"));
  // Writing it again replaces it.
  ASSERT_TRUE(write_bundle(input_, path("bundle")));
  EXPECT_EQ(failures(&*store_), "");
  EXPECT_FALSE(std::filesystem::exists(path("bundle.partial")));
  EXPECT_FALSE(std::filesystem::exists(path("bundle.old")));
}

TEST_F(BundleTest, AnyChangedByteIsFound) {
  for (const std::string name : {"README.md", "lineage.json", "dataset.json", "recipe.yaml", "scorecard.json",
                                 "tiny-F16.gguf", "tiny-Q8_0.gguf", "NOTICE"}) {
    const std::string original = text(name);
    std::string changed = original;
    changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
    replace(name, changed);
    EXPECT_THAT(failures(), HasSubstr(name + ": was changed")) << name;
    replace(name, original);
  }
  EXPECT_EQ(failures(), "");
  std::filesystem::remove(path("bundle") / "scorecard.json");
  EXPECT_THAT(failures(), HasSubstr("scorecard.json: is missing"));
  ASSERT_TRUE(write_bundle(input_, path("bundle")));
  replace("extra.txt", "hello");
  EXPECT_THAT(failures(), HasSubstr("extra.txt: isn't listed"));
}

TEST_F(BundleTest, ForgedPapersAreFoundAlthoughTheSumsAreRight) {
  std::string lineage = text("lineage.json");
  lineage.replace(lineage.find("apache-2.0"), 10, "other-1.00");
  replace("lineage.json", lineage);
  list_again("lineage.json");
  EXPECT_THAT(failures(), HasSubstr("the lineage inside the model isn't"));
  ASSERT_TRUE(write_bundle(input_, path("bundle")));
  replace("recipe.yaml", "name: other\n");
  list_again("recipe.yaml");
  EXPECT_THAT(failures(), HasSubstr("recipe.yaml isn't the recipe"));
  ASSERT_TRUE(write_bundle(input_, path("bundle")));
  dataset::Dataset other;
  other.train = {sha256("x")};
  ASSERT_TRUE(dataset::save(other, path("bundle") / "dataset.json"));
  list_again("dataset.json");
  EXPECT_THAT(failures(), HasSubstr("isn't the dataset"));
}

TEST_F(BundleTest, ExchangesAreWalkedWhenTheStoreIsThere) {
  auto empty = store::ExchangeStore::open(path("empty.sqlite"));
  ASSERT_TRUE(empty);
  EXPECT_THAT(failures(&*empty), HasSubstr("exchanges:"));
  const auto wrong_teacher = verify(nullptr, path("tiny-F16.gguf"));
  EXPECT_FALSE(wrong_teacher->passed());
}

TEST_F(BundleTest, WhatIsNoBundleIsRefused) {
  SilentProgress progress;
  EXPECT_EQ(verify_bundle(path("nowhere"), nullptr, std::nullopt, progress).error().fault, Fault::kCaller);
  std::string bundle = text("bundle.json");
  bundle.replace(bundle.find("\"version\": 1"), 12, "\"version\": 2");
  replace("bundle.json", bundle);
  const auto newer = verify();
  ASSERT_FALSE(newer);
  EXPECT_THAT(newer.error().message, HasSubstr("newer"));
  replace("bundle.json", "{}");
  EXPECT_FALSE(verify());
  replace("bundle.json", "not json");
  EXPECT_FALSE(verify());
}

TEST_F(BundleTest, HostileSumsDontLeadOut) {
  replace("SHA256SUMS", std::string(64, '0') + "  ../teacher.gguf\n");
  EXPECT_THAT(failures(), HasSubstr("isn't 'DIGEST  NAME'"));
}

TEST_F(BundleTest, MismatchedInputIsRefusedAndTheOldBundleStays) {
  BundleInput other = input_;
  other.card.lineage.name = "another";
  EXPECT_FALSE(write_bundle(other, path("bundle")));
  other = input_;
  other.recipe_yaml = "name: other\n";
  EXPECT_FALSE(write_bundle(other, path("bundle")));
  EXPECT_EQ(failures(), "");
  EXPECT_FALSE(std::filesystem::exists(path("bundle.partial")));
}

TEST_F(BundleTest, TheCardNamesALicenceAsTheHubDoes) {
  CardFacts facts = input_.card;
  facts.lineage.teacher.licence = "qwen-research";
  facts.lineage.terms = {{"licence_link", "https://example.org/l"}};
  EXPECT_THAT(model_card(facts), HasSubstr("license: \"other\"\nlicense_name: \"qwen-research\"\nlicense_link: "
                                           "\"https://example.org/l\"\n"));
  facts.lineage.teacher.licence = "llama3.1";
  EXPECT_THAT(model_card(facts), HasSubstr("license: \"llama3.1\"\n"));
}

TEST_F(BundleTest, TheCardSaysWhatWasRecorded) {
  const std::string card = text("README.md");
  EXPECT_THAT(card, ::testing::StartsWith("---\nlicense: \"apache-2.0\"\nbase_model: \"retort/tiny\"\n"));
  EXPECT_THAT(card, HasSubstr("base_model_relation: finetune"));
  EXPECT_THAT(card, HasSubstr("0.650 (0.610 to 0.690)"));
  EXPECT_THAT(card, HasSubstr("Keep the notices."));
  EXPECT_THAT(text("NOTICE"), HasSubstr("Keep the notices."));
  EXPECT_THAT(card, HasSubstr("`tiny-Q8_0.gguf`"));
  EXPECT_THAT(card, HasSubstr("retort run tiny.yaml"));
}

}  // namespace
}  // namespace retort::exporter
