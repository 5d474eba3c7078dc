#include "evidence/recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "evidence/exported.h"
#include "evidence/spool_for_test.h"

namespace retort::evidence {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kNow = 1764160000123;  // 2025-11-26

AdmissionRecord admission(const std::string& id, const std::string& organisation, std::int64_t unix_ms = kNow) {
  AdmissionRecord record;
  record.id = id;
  record.time_unix_ms = unix_ms;
  record.account = "rk_1";
  record.organisation = organisation;
  record.dialect = "openai.chat";
  record.model = "m";
  record.client = {"192.0.2.1", "agent", "t13d"};
  return record;
}

CompletionRecord completion(const std::string& id, const std::string& organisation, std::int64_t unix_ms = kNow) {
  CompletionRecord record;
  record.id = id;
  record.time_unix_ms = unix_ms;
  record.organisation = organisation;
  record.status = 200;
  record.finish = "stop";
  record.input_tokens = 3;
  record.output_tokens = 4;
  return record;
}

const std::string kBody = R"({"messages":[{"content":"a secret question","role":"user"}],"model":"m"})";
const std::vector<NamedText> kTexts = {{"prompt", "a secret question"}};
const Answer kAnswer = {"a secret answer", "seen", "hidden", R"([{"name":"f"}])"};

class RecorderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = empty_folder("recorder");
    options_.prompts = Prompts::kWhole;
    options_.master.fill(9);
    options_.keys_folder = folder_ / "keys";
    spool_ = Spool::open(small_spool(folder_), clock_).value();
  }
  void TearDown() override {
    spool_.reset();
    fs::remove_all(folder_);
  }
  std::vector<Json> exported(bool with_key = true) {
    std::vector<Json> lines;
    ExportOptions options;
    options.folder = folder_;
    if (with_key) options.master = options_.master;
    options.keys_folder = options_.keys_folder;
    const auto done = export_exchanges(options, [&](const std::string& line) -> Result<void> {
      lines.push_back(parse_json(line, "line").value());
      return {};
    });
    EXPECT_TRUE(done) << done.error().message;
    last_ = done.value_or(Exported{});
    return lines;
  }
  std::string all_bytes() {
    std::string bytes;
    const std::vector<fs::path> segments = list_segments(folder_).value();
    for (const fs::path& path : segments) bytes += bytes_in(path);
    return bytes;
  }

  const SystemClock clock_;
  fs::path folder_;
  RecorderOptions options_;
  std::unique_ptr<Spool> spool_;
  Exported last_;
};

TEST_F(RecorderTest, AnExchangeIsExportedAsTheContractSays) {
  Recorder recorder(options_, *spool_);
  AdmissionRecord record = admission("ex_1", "acme");
  record.end_customer = "c-1";
  ASSERT_TRUE(recorder.admit(record, kBody, kTexts));
  ASSERT_TRUE(recorder.complete(completion("ex_1", "acme"), kAnswer));
  const std::vector<Json> lines = exported();
  ASSERT_EQ(lines.size(), 1U);
  Json line = lines[0];
  EXPECT_EQ(line["id"], "ex_1");
  EXPECT_EQ(line["time"], "2025-11-26T12:26:40.123Z");
  EXPECT_EQ(line["account"], "rk_1");
  EXPECT_EQ(line["dialect"], "openai.chat");
  EXPECT_EQ(line["model"], "m");
  EXPECT_EQ(line["request"], parse_json(kBody, "body").value());
  EXPECT_EQ(line["completion"], (Json{{"text", "a secret answer"},
                                      {"reasoning", "seen"},
                                      {"tool_calls", Json::array({{{"name", "f"}}})},
                                      {"finish", "stop"}}));
  EXPECT_EQ(line["hidden_reasoning"], "hidden");
  EXPECT_EQ(line["usage"], (Json{{"input", 3}, {"output", 4}, {"reasoning", 0}}));
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["batch"], false);
  EXPECT_EQ(line["client"], (Json{{"ip", "192.0.2.1"}, {"user_agent", "agent"}, {"ja4", "t13d"}}));
  EXPECT_EQ(line["end_customer"], "c-1");
  EXPECT_EQ(line["texts"].size(), 5U);
  EXPECT_THAT(all_bytes(), Not(HasSubstr("secret")));
}

TEST_F(RecorderTest, WithoutTheMasterKeyTheTextsAreAbsent) {
  Recorder recorder(options_, *spool_);
  ASSERT_TRUE(recorder.admit(admission("ex_1", "acme"), kBody, kTexts));
  ASSERT_TRUE(recorder.complete(completion("ex_1", "acme"), kAnswer));
  const std::vector<Json> lines = exported(false);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_FALSE(lines[0].contains("request"));
  EXPECT_FALSE(lines[0].contains("hidden_reasoning"));
  EXPECT_EQ(lines[0]["completion"], (Json{{"finish", "stop"}}));
  EXPECT_EQ(last_.unreadable, 2U);
}

TEST_F(RecorderTest, SketchAndNoneKeepNoText) {
  for (const Prompts prompts : {Prompts::kSketch, Prompts::kNone}) {
    options_.prompts = prompts;
    Recorder recorder(options_, *spool_);
    const std::string id = prompts == Prompts::kSketch ? "sketched" : "counted";
    ASSERT_TRUE(recorder.admit(admission(id, "acme"), kBody, kTexts));
    ASSERT_TRUE(recorder.complete(completion(id, "acme"), kAnswer));
  }
  const std::vector<Json> lines = exported();
  ASSERT_EQ(lines.size(), 2U);
  for (const Json& line : lines) {
    EXPECT_FALSE(line.contains("request"));
    EXPECT_EQ(line["texts"][0]["name"], "prompt");
    EXPECT_EQ(line["texts"][0]["words"], 3);
    EXPECT_EQ(line["texts"][0].contains("sketch"), line["id"] == "sketched");
  }
  EXPECT_FALSE(is_there(options_.keys_folder));
  EXPECT_THAT(all_bytes(), Not(HasSubstr("secret")));
}

TEST_F(RecorderTest, ErasureDestroysOneOrganisationsTextsAndTheChainHolds) {
  Recorder recorder(options_, *spool_);
  for (const char* organisation : {"acme", "other"}) {
    for (int day = 0; day < 2; ++day) {
      const std::string id = std::string(organisation) + std::to_string(day);
      ASSERT_TRUE(recorder.admit(admission(id, organisation, kNow + day * kDayMs), kBody, kTexts));
      ASSERT_TRUE(recorder.complete(completion(id, organisation, kNow + day * kDayMs), kAnswer));
    }
  }
  EXPECT_EQ(recorder.erase("acme", "2025-11-26", "ops@example", kNow), 1U);
  std::vector<Json> lines = exported();
  ASSERT_EQ(lines.size(), 4U);
  for (const Json& line : lines) EXPECT_EQ(line.contains("request"), line["id"] != "acme0") << line["id"];
  // What comes after on the same day has a new key.
  ASSERT_TRUE(recorder.admit(admission("again", "acme"), kBody, kTexts));
  EXPECT_TRUE(exported().back().contains("request"));
  EXPECT_EQ(recorder.erase("acme", std::nullopt, "ops@example", kNow), 2U);
  lines = exported();
  for (const Json& line : lines) EXPECT_EQ(line.contains("request"), line["organisation"] == "other") << line["id"];
  ASSERT_TRUE(spool_->close());
  EXPECT_TRUE(verified(folder_).holds);
  EXPECT_THAT(all_bytes(), HasSubstr(R"("act":"erase","by":"ops@example","day":"2025-11-26","organisation":"acme")"));
}

TEST_F(RecorderTest, ASweepDestroysWhatIsOlderThanTheRetention) {
  options_.retention_days = 1;
  Recorder recorder(options_, *spool_);
  for (int day = 0; day < 4; ++day) {
    ASSERT_TRUE(recorder.admit(admission("d" + std::to_string(day), "acme", kNow + day * kDayMs), kBody, kTexts));
  }
  const auto swept = recorder.sweep(kNow + 3 * kDayMs);
  ASSERT_TRUE(swept) << swept.error().message;
  EXPECT_EQ(*swept, (std::vector<std::string>{"2025-11-26", "2025-11-27"}));
  const std::vector<Json> lines = exported();
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_FALSE(lines[0].contains("request"));
  EXPECT_FALSE(lines[1].contains("request"));
  EXPECT_TRUE(lines[2].contains("request"));
  EXPECT_TRUE(lines[3].contains("request"));
  EXPECT_EQ(recorder.sweep(kNow + 3 * kDayMs)->size(), 0U);
}

TEST_F(RecorderTest, APayloadOpensBesideNoOtherRecord) {
  // Two admissions whose attachments are exchanged, with the chain made anew: the ciphertexts don't open there.
  MemorySink sink;
  Recorder recorder(options_, sink);
  ASSERT_TRUE(recorder.admit(admission("a", "acme"), kBody, kTexts));
  ASSERT_TRUE(recorder.admit(admission("b", "acme"), kBody, kTexts));
  ASSERT_TRUE(spool_->append(Kind::kAdmission, sink.records[0].text, sink.records[1].attachment));
  ASSERT_TRUE(spool_->append(Kind::kAdmission, sink.records[1].text, sink.records[1].attachment));
  const std::vector<Json> lines = exported();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_FALSE(lines[0].contains("request"));
  EXPECT_TRUE(lines[1].contains("request"));
}

TEST_F(RecorderTest, AnotherMasterKeyIsToldAndNotTakenForErasure) {
  {
    Recorder recorder(options_, *spool_);
    ASSERT_TRUE(recorder.admit(admission("a", "acme"), kBody, kTexts));
  }
  options_.master.fill(8);
  const auto done = export_exchanges({folder_, options_.master, options_.keys_folder},
                                     [](const std::string&) -> Result<void> { return {}; });
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("another master key"));
}

TEST_F(RecorderTest, UnfinishedAndRefusedExchangesAreExportedToo) {
  Recorder recorder(options_, *spool_);
  ASSERT_TRUE(recorder.admit(admission("open", "acme"), kBody, kTexts));
  AdmissionRecord refused = admission("refused", "acme");
  refused.decision.allowed = false;
  refused.status = 403;
  ASSERT_TRUE(recorder.admit(refused, {}, {}));
  const std::vector<Json> lines = exported();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["id"], "refused");
  EXPECT_EQ(lines[0]["status"], 403);
  EXPECT_EQ(lines[1]["id"], "open");
  EXPECT_FALSE(lines[1].contains("completion"));
  EXPECT_EQ(last_.unfinished, 1U);
}

TEST_F(RecorderTest, ARecordOfAnotherFormIsPassedOverAndCounted) {
  Recorder recorder(options_, *spool_);
  ASSERT_TRUE(spool_->append(Kind::kAdmission, "{\"form\":\"of a later version\"}", {}));
  ASSERT_TRUE(spool_->append(Kind::kCompletion, "no JSON", {}));
  ASSERT_TRUE(spool_->append(static_cast<Kind>(77), "{}", {}));
  ASSERT_TRUE(recorder.admit(admission("a", "acme"), kBody, kTexts));
  EXPECT_EQ(exported().size(), 1U);
  EXPECT_EQ(last_.skipped, 2U);
  EXPECT_TRUE(verified(folder_).holds);
}

TEST_F(RecorderTest, TheSinksRefusalIsTheCallers) {
  MemorySink sink;
  sink.refuses_with = "full";
  Recorder recorder(options_, sink);
  EXPECT_EQ(recorder.admit(admission("a", "acme"), kBody, kTexts).error().fault, Fault::kWorld);
  EXPECT_EQ(recorder.erase("acme", std::nullopt, "me", kNow).error().fault, Fault::kWorld);
}

TEST_F(RecorderTest, WhatIsInForceIsNamedByItsDigest) {
  MemorySink sink;
  Recorder recorder(options_, sink);
  const std::string digest = recorder.in_force({{"policy", "p1"}, {"lists/tor", "t1"}}, kNow).value();
  EXPECT_EQ(recorder.in_force({{"policy", "p1"}, {"lists/tor", "t1"}}, kNow).value(), digest);
  EXPECT_NE(recorder.in_force({{"policy", "p2"}, {"lists/tor", "t1"}}, kNow).value(), digest);
  EXPECT_THAT(sink.records[0].text, HasSubstr(digest));
}

TEST_F(RecorderTest, KeyFilesHoldNoNameAndAreTheOwnersAlone) {
  Recorder recorder(options_, *spool_);
  ASSERT_TRUE(recorder.admit(admission("a", "acme-corporation"), kBody, kTexts));
  ASSERT_TRUE(recorder.sync_keys());
  const fs::path file = options_.keys_folder / "2025-11-26.keys";
  EXPECT_EQ(fs::file_size(file), 104U);
  EXPECT_THAT(bytes_in(file), Not(HasSubstr("acme")));
  EXPECT_EQ(fs::status(file).permissions() & (fs::perms::group_all | fs::perms::others_all), fs::perms::none);
  // A torn slot, as a power failure may leave it, is written over.
  put_bytes(file, bytes_in(file) + "LIVE torn");
  Recorder again(options_, *spool_);
  ASSERT_TRUE(again.admit(admission("b", "second"), kBody, kTexts));
  EXPECT_EQ(fs::file_size(file), 208U);
  EXPECT_TRUE(exported()[1].contains("request"));
}

}  // namespace
}  // namespace retort::evidence
