#include "pipeline/report_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "base/files.h"
#include "pipeline/report_sections.h"
#include "report/report.h"

namespace retort::pipeline {
namespace {

using testing::HasSubstr;
using testing::Not;

Estimate exact(double value) { return {value, value, value}; }

ModelScore model(const std::string& name, const std::string& type, std::int64_t layers, double megabytes,
                 double decode) {
  ModelScore score;
  score.name = name;
  score.file = name + ".gguf";
  score.type = type;
  score.layers = layers;
  score.size_bytes = exact(megabytes * 1e6);
  score.decode_tokens_per_s = exact(decode);
  score.prefill_tokens_per_s = exact(decode * 8);
  return score;
}

RunFacts example() {
  RunFacts facts;
  facts.name = "quickstart";
  facts.code_version = "0.1.0";
  facts.started_at = "2026-11-22T05:00:00Z";
  facts.command = "build/bin/retort run recipes/quickstart.yaml";
  facts.recipe_yaml = "name: quickstart\nteacher: smollm2-135m-instruct\n";
  facts.machine = "2 cores, bfloat16 at 920 GFLOP/s";
  facts.stages = {
      {"collect", 210, 121004, "720 exchanges"}, {"train", 388, 169000, "165 steps"}, {"evaluate", 120, 18412, ""}};
  facts.teacher.name = "SmolLM2 135M Instruct";
  facts.teacher.file_digest = sha256("teacher");
  facts.teacher_type = "Q4_1";
  facts.teacher_layers = 30;
  facts.teacher_parameters = 134515008;
  facts.student_parameters = 99112512;
  facts.terms = {{"decision", "allowed_with_obligations"},
                 {"licence", "apache-2.0"},
                 {"licence_name", "Apache License 2.0"},
                 {"explanation", "Derivatives may be made and distributed."},
                 {"authorisation", {{"by", "Ada Legal"}, {"scope", "one student"}, {"document", "ab12"}}},
                 {"obligations", {{{"kind", "notice"}, {"value", "Keep the notices."}, {"when", "it is passed on"}}}}};
  facts.duties = {{{"kind", "notice"}, {"state", "left_to_a_person"}, {"sentence", "Add the licence's text."}}};
  facts.teacher_reference = "the teacher's weights (Q4_1) expanded to F16";
  facts.prompt_source = "self_generated";
  facts.collected = 720;
  facts.skipped_rows = 3;
  facts.personal_data = "2 e-mail addresses";
  facts.personal_data_mode = "mask";
  facts.answer_tokens = 90000;
  facts.user_tokens = 31004;
  facts.truncated_answers = 211;
  facts.type_speeds = {{"F16", 759}, {"Q8_0", 570}, {"Q4_1", 340}};
  facts.collect_tokens_per_s = 702;
  facts.kept = 672;
  facts.dropped = {{"repetition", 31}, {"normalised_duplicate", 12}, {"too_short", 5}, {"empty", 0}};
  facts.train_exchanges = 544;
  facts.held_out_exchanges = 128;
  facts.layer_method = "greedy_kl";
  for (int i = 0; i < 30; ++i) {
    LayerFacts layer;
    layer.layer = i;
    layer.block_influence = 0.05 + 0.5 * std::exp(-i / 3.0) + 0.3 * std::exp(-(29 - i) / 2.0);
    layer.kept = i < 14 || i > 23;
    if (!layer.kept) {
      layer.removed_at = (i * 7) % 10;
      layer.kl_after_removal = 0.1 + 0.18 * static_cast<double>(layer.removed_at);
    }
    facts.layers.push_back(layer);
  }
  FitFacts& fit = facts.fit.emplace();
  fit.tokens = 32768;
  fit.kl_before = 1.72;
  fit.kl_after = 0.84;
  for (int layer = 0; layer < 20; ++layer) {
    fit.errors_before.push_back(layer < 3 ? 0 : 0.02 + 0.2 * std::exp(-(layer % 5)));
    fit.errors_after.push_back(0.6 * fit.errors_before.back());
  }
  for (int step = 1; step <= 165; ++step) {
    MetricFacts metric;
    metric.step = step;
    metric.tokens = step * 1024;
    metric.loss = 0.62 + 1.35 * std::exp(-step / 22.0) + 0.05 * std::sin(step * 12.9);
    metric.learning_rate = 6e-4 * std::min(1.0, step / 16.0);
    metric.gradient_norm = 1 + 5 * std::exp(-step / 30.0);
    if (step % 12 == 0) metric.held_out_kl = 0.645 + 1.155 * std::exp(-step / 24.0);
    facts.metrics.push_back(metric);
  }
  facts.compute_type = "bfloat16";
  facts.trained_tokens = 168960;
  facts.train_tokens_per_s = 436;
  facts.peak_memory_bytes = 2100000000;

  Scorecard& card = facts.scorecard;
  card.teacher = model("teacher", "Q4_1", 30, 98, 150);
  card.before = model("before", "Q8_0", 20, 105, 160);
  card.student = model("student", "Q8_0", 20, 105, 162);
  card.teacher.kl_nats = exact(0);
  card.teacher.top1_agreement = exact(1);
  card.teacher.perplexity = Estimate{3.1, 3.0, 3.2};
  card.before.kl_nats = Estimate{1.8, 1.76, 1.84};
  card.before.top1_agreement = Estimate{0.41, 0.40, 0.42};
  card.before.perplexity = Estimate{23.4, 22, 24.9};
  card.student.kl_nats = Estimate{0.648, 0.62, 0.67};
  card.student.top1_agreement = Estimate{0.643, 0.634, 0.652};
  card.student.perplexity = Estimate{6.61, 6.4, 6.85};
  card.student.ended_by_itself = Estimate{0.66, 0.5, 0.8};
  card.others = {model("student F16", "F16", 20, 198, 171), model("teacher F16", "F16", 30, 271, 115),
                 model("teacher Q8_0", "Q8_0", 30, 144, 110)};
  card.held_out = {128, 18412, 0.8, 0.95, 160};
  card.wall_s = 860;
  facts.share_of_kl_closed = Estimate{0.64, 0.63, 0.65};
  facts.compared = {{"ab",
                     "Why is the sky <blue>?",
                     {{"The", 0.02, true, "The", "The", 0.8, 0.7}, {" sky", 2.6, false, " sky", " sea", 0.6, 0.4}}}};
  facts.answers = {{"Write a haiku.", "Soft rain on the roof", "rain rain rain rain", "Rain falls on the leaves"}};
  return facts;
}

Json find_section(const Json& document, const std::string& title) {
  for (const Json& section : document["sections"]) {
    if (section["title"] == title) return section;
  }
  return nullptr;
}

TEST(ReportDocument, RendersWithEverySectionInOrder) {
  const Json document = report_document(example());
  std::vector<std::string> titles;
  for (const Json& section : document["sections"]) titles.push_back(section["title"]);
  EXPECT_THAT(titles,
              testing::ElementsAre("Verdict", "Learning", "Before and after", "Size and speed", "Where they disagree",
                                   "Answers side by side", "From answers to data", "Time and tokens",
                                   "The choice of layers", "Provenance and terms", "Repeat it"));
  const auto html = report::render_html(document);
  ASSERT_TRUE(html) << html.error().message;
  EXPECT_THAT(*html, HasSubstr("Why is the sky &lt;blue&gt;?"));
  if (const char* path = std::getenv("RETORT_REPORT_EXAMPLE")) {
    ASSERT_TRUE(write_file(path, *html));
  }
}

TEST(ReportDocument, SaysWhatFittingTheLayersGave) {
  RunFacts facts = example();
  EXPECT_THAT(find_section(report_document(facts), "The choice of layers").dump(), HasSubstr("from 1.72 to 0.84 nats"));
  EXPECT_THAT(find_section(report_document(facts), "Verdict").dump(), HasSubstr("had brought that from 1.72 to 0.84."));
  facts.fit->kl_before.reset();
  EXPECT_THAT(find_section(report_document(facts), "The choice of layers").dump(),
              testing::AllOf(HasSubstr("squares"), Not(HasSubstr("brought the KL"))));
  facts.fit.reset();
  EXPECT_THAT(find_section(report_document(facts), "The choice of layers").dump(), Not(HasSubstr("squares")));
}

TEST(ReportDocument, SaysWhatTheTermsAskAndWhatIsLeft) {
  const std::string section = find_section(report_document(example()), "Provenance and terms").dump();
  for (const char* words :
       {"Apache License 2.0: allowed with obligations", "Ada Legal: one student", "SHA-256 ab12", "Keep the notices.",
        "When it is passed on.", "Left to a person", "Add the licence's text."}) {
    EXPECT_THAT(section, HasSubstr(words));
  }
  // As runs of before wrote it.
  RunFacts old = example();
  old.terms = {{"verdict", "allowed"}, {"licence", "mit"}, {"clause", "Anything goes."}, {"obligations", {"Keep it."}}};
  const std::string before = find_section(report_document(old), "Provenance and terms").dump();
  for (const char* words : {"mit: allowed", "Anything goes.", "Keep it."}) EXPECT_THAT(before, HasSubstr(words));
}

TEST(ReportDocument, TheVerdictComparesAtEqualTypeAndSaysWhatWasLost) {
  const Json lines = find_section(report_document(example()), "Verdict")["blocks"][0]["lines"];
  ASSERT_EQ(lines.size(), 3U);
  // 144 MB / 105 MB, both Q8_0: not the teacher's file as given, which is smaller than the student.
  EXPECT_EQ(lines[0]["figure"], "1.37×");
  EXPECT_EQ(lines[0]["headline"], "smaller at equal type");
  EXPECT_THAT(lines[0]["detail"].get<std::string>(), HasSubstr("98.0 MB: 1.07× larger"));
  EXPECT_EQ(lines[1]["figure"], "1.47×");  // 162 / 110
  EXPECT_THAT(lines[1]["detail"].get<std::string>(), HasSubstr("1.08× faster"));
  EXPECT_EQ(lines[2]["figure"], "64.3 %");
  const auto detail = lines[2]["detail"].get<std::string>();
  EXPECT_THAT(detail, HasSubstr("63.4 to 65.2 %"));
  EXPECT_THAT(detail, HasSubstr("0.65 nats per token of KL to the teacher (0.62 to 0.67)"));
  EXPECT_THAT(detail, HasSubstr("from 3.10 to 6.61"));
}

TEST(ReportDocument, SaysThatTheTeacherIsQuantisedAndWhoTheRivalIs) {
  RunFacts facts = example();
  const auto note = [](const RunFacts& from) {
    return find_section(report_document(from), "Verdict")["blocks"][1]["text"].get<std::string>();
  };
  EXPECT_THAT(note(facts), HasSubstr("itself quantised (Q4_1)"));
  EXPECT_THAT(note(facts), HasSubstr("loses nothing"));  // the file as given is as small as the student
  facts.teacher_type = "F16";
  facts.scorecard.teacher.size_bytes = exact(271e6);
  ModelScore quantised = model("teacher Q5_0", "Q5_0", 30, 104, 140);
  quantised.kl_nats = Estimate{0.021, 0.02, 0.022};
  facts.scorecard.others.push_back(quantised);
  EXPECT_THAT(note(facts), Not(HasSubstr("itself quantised")));
  EXPECT_THAT(note(facts), HasSubstr("quantised to Q5_0, 104.0 MB, has KL 0.021 against the student's 0.648"));
}

TEST(ReportDocument, AStudentThatIsLargerOrSlowerIsCalledSo) {
  RunFacts facts = example();
  facts.scorecard.student.size_bytes = exact(300e6);
  facts.scorecard.student.decode_tokens_per_s = exact(55);
  const Json lines = find_section(report_document(facts), "Verdict")["blocks"][0]["lines"];
  EXPECT_EQ(lines[0]["headline"], "larger at equal type");
  EXPECT_EQ(lines[0]["figure"], "2.08×");
  EXPECT_EQ(lines[1]["headline"], "slower at equal type");
  EXPECT_EQ(lines[1]["figure"], "2.00×");
  EXPECT_EQ(lines[1]["tone"], "bad");
}

TEST(ReportDocument, PairsAreOfOneType) {
  const RunFacts facts = example();
  const auto pairs = equal_types(facts.scorecard);
  ASSERT_EQ(pairs.size(), 2U);
  EXPECT_EQ(pairs[0].type, "Q8_0");
  EXPECT_EQ(pairs[0].teacher->name, "teacher Q8_0");
  EXPECT_EQ(pairs[0].student->name, "student");
  EXPECT_EQ(pairs[1].type, "F16");
}

TEST(ReportDocument, DrawsTheHealthWhileItTrained) {
  RunFacts facts = example();
  const auto health = [](double share) {
    train::StudentHealth one;
    one.tokens = 3000;
    one.teacher_entropy = 1.2;
    one.student_entropy = 1.2 + share;
    one.calibration_error = 0.3 * share;
    one.agreement = 0.7 - 0.3 * share;
    one.perplexity = 6 + 10 * share;
    one.teacher_end_at_end = 0.8;
    one.student_end_at_end = 0.8 - 0.4 * share;
    one.teacher_end_elsewhere = 0.002;
    one.student_end_elsewhere = 0.003;
    for (std::size_t p = 0; p < 4; ++p) one.kl_by_position[p] = 0.5 + share / (1.0 + static_cast<double>(p));
    one.answers =
        train::OwnAnswers{{8, 40 - 10 * share, 0.25, 0, 0.125, 0.5 * share, 0.9}, {8, 42, 0.25, 0, 0, 0, 0.95}};
    return one;
  };
  facts.metrics.front().health_before = health(1);
  for (MetricFacts& line : facts.metrics) {
    if (line.held_out_kl) line.health = health(std::exp(-static_cast<double>(line.step) / 40));
  }
  facts.training_warnings = {"After step 12: The student copies."};
  const Json document = report_document(facts);
  const Json section = find_section(document, "While it trained");
  ASSERT_FALSE(section.is_null());
  EXPECT_EQ(section["blocks"][0]["text"], "After step 12: The student copies.");
  std::vector<std::string> titles;
  for (const Json& block : section["blocks"]) {
    if (!block.contains("title")) continue;
    titles.push_back(block["title"]);
    EXPECT_EQ(block["series"][0]["points"][0][0], 0) << titles.back();  // before any step
    EXPECT_EQ(block["series"][0]["points"].size(), 1U + 165 / 12) << titles.back();
  }
  EXPECT_THAT(titles, testing::ElementsAre("Entropy", "Calibration error", "Agreement", "KL by place in the answer",
                                           "Ending where the teacher ended", "Ending elsewhere",
                                           "Perplexity on the teacher's answers", "Own answers: length",
                                           "Own answers: what they do", "Own answers: variety"));
  const auto html = report::render_html(document);
  ASSERT_TRUE(html) << html.error().message;
  EXPECT_THAT(*html, HasSubstr("chart small"));
  if (const char* path = std::getenv("RETORT_REPORT_EXAMPLE")) {
    ASSERT_TRUE(write_file(std::string(path) + ".health.html", *html));
  }
  // With a text of the user's and learning from itself there is more to draw.
  for (MetricFacts& line : facts.metrics) {
    if (line.health) line.health->text = train::TextFigures{4000, 30, 20};
    if (line.step > 120) line.data_kl = 0.6, line.rollout_kl = 0.9;
    if (line.step % 16 == 0)
      line.rollouts = train::OwnAnswers{{30, 60, 0.5, 0, 0, 0, 0.8}, {30, 70, 0.5, 0, 0, 0, 0.9}};
  }
  const Json more = find_section(report_document(facts), "While it trained");
  EXPECT_EQ(more["blocks"].size(), section["blocks"].size() + 5);
}

TEST(ReportDocument, LeavesOutWhatIsNotKnown) {
  RunFacts facts;
  facts.name = "bare";
  const Json document = report_document(facts);
  EXPECT_TRUE(document["sections"].empty());
  const auto html = report::render_html(document);
  EXPECT_TRUE(html) << html.error().message;
}

TEST(ReportDocument, AnyMissingMetricStillRenders) {
  const RunFacts whole = example();
  using Field = std::optional<Estimate> ModelScore::*;
  for (const Field field :
       {&ModelScore::kl_nats, &ModelScore::top1_agreement, &ModelScore::perplexity, &ModelScore::size_bytes,
        &ModelScore::prefill_tokens_per_s, &ModelScore::decode_tokens_per_s}) {
    RunFacts facts = whole;
    facts.scorecard.teacher.*field = std::nullopt;
    facts.scorecard.before.*field = std::nullopt;
    facts.scorecard.student.*field = std::nullopt;
    EXPECT_TRUE(report::render_html(report_document(facts)));
  }
}

}  // namespace
}  // namespace retort::pipeline
