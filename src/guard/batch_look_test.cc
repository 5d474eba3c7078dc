#include "guard/batch_look.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::guard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kType = "multipart/form-data; boundary=b";
constexpr const char* kMessages = R"("messages":[{"role":"user","content":"hi"}])";

std::string line(const std::string& more, const std::string& model = "m") {
  return R"({"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":")" + model + "\"," +
         kMessages + more + "}}\n";
}
std::string form(const std::string& lines, const std::string& purpose = "batch") {
  return "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n" + purpose +
         "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n" + lines + "\r\n--b--\r\n";
}

class BatchLookTest : public ::testing::Test {
 public:
  BatchLookTest() {
    rules.policy.prices["m"].input_per_mtok = 1;
    rules.policy.prices["m"].output_per_mtok = 10;
    policy.tier_name = "t";
    policy.tier.expose.models = {"m", "free"};
  }
  BatchRefusal refused(const std::string& lines) {
    const auto look = look_into_upload(kType, form(lines), {.rules = rules, .policy = policy, .reader = reader});
    EXPECT_FALSE(look) << lines;
    return look ? BatchRefusal{} : look.error();
  }
  std::optional<BatchLook> taken(const std::string& text) {
    auto look = look_into_upload(kType, text, {.rules = rules, .policy = policy, .reader = reader});
    EXPECT_TRUE(look) << look.error().sentence;
    return look.value_or(std::nullopt);
  }
  Rules rules;
  policy::EffectivePolicy policy;
  api::RequestReader reader;
};

TEST_F(BatchLookTest, EveryLineIsJudgedAndNamed) {
  const std::vector<std::tuple<std::string, std::string, std::string>> cases = {
      {line(R"(,"logprobs":true)"), "logprobs_not_allowed", "expose.logprobs"},
      {line(R"(,"n":3)"), "n_not_allowed", "expose.n"},
      {line("", "other"), "model_not_found", "expose.models"},
      {line(R"(,"n":"x")"), "invalid_request", "request"},
      {line(R"(,"model":"m")"), "invalid_request", "request"},
      {"nonsense\n", "invalid_request", "request"},
  };
  for (const auto& [bad, code, rule] : cases) {
    const BatchRefusal refusal = refused(line("") + line("") + bad + line(""));
    EXPECT_THAT(refusal.sentence, HasSubstr("Line 3 of the batch")) << bad;
    EXPECT_EQ(refusal.code, code) << bad;
    EXPECT_EQ(refusal.rule, rule) << bad;
  }
  policy.tier.expose.reasoning = "none";
  EXPECT_EQ(refused(line(R"(,"reasoning_effort":"high")")).rule, "expose.reasoning");
  policy.blocked = true;
  EXPECT_EQ(refused(line("")).rule, "steps.block");
}

TEST_F(BatchLookTest, CountsTheWorstCaseOfAll) {
  const std::string two = line(R"(,"max_tokens":100)") + line(R"(,"max_tokens":50)");
  const auto look = taken(form(two));
  ASSERT_TRUE(look);
  EXPECT_EQ(look->requests, 2U);
  EXPECT_EQ(look->path, "/v1/chat/completions");
  EXPECT_EQ(look->body, "") << "nothing changed";
  ASSERT_TRUE(look->worst);
  EXPECT_GE(*look->worst, 150 * 10'000);
  EXPECT_LT(*look->worst, 150 * 10'000 + static_cast<std::int64_t>(two.size()) * 1'000);
  EXPECT_FALSE(taken(form(two + line("")))->worst) << "an answer without a bound";
  EXPECT_FALSE(taken(form(two + line(R"(,"max_tokens":5)", "free")))->worst) << "a model without a price";
}

TEST_F(BatchLookTest, SetsWhatNobodyWishedForAndOpensBlobs) {
  policy.tier.expose.max_output_tokens = 64;
  const std::string own = line(R"(,"max_tokens":10)");
  const auto look = taken(form(line("") + own));
  EXPECT_EQ(look->body, form(line(R"(,"max_completion_tokens":64)") + own));
  EXPECT_THAT(refused(line(R"(,"max_tokens":65)")).sentence, HasSubstr("Line 1"));

  const std::string list =
      R"({"requests":[{"custom_id":"a","params":{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q"},)"
      R"({"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"SEALED"},{"type":"text","text":"a"}]},)"
      R"({"role":"user","content":"r"}]}}]})";
  BatchTerms terms{.rules = rules, .policy = policy, .reader = reader};
  std::string model;
  terms.fate = [&](std::string_view of, std::string_view blob, const Digest&) {
    model = of;
    return blob == "SEALED" ? api::BlobFate{api::BlobFate::Kind::kReplace, "OPEN", {}}
                            : api::BlobFate{api::BlobFate::Kind::kRefuse, {}, "no"};
  };
  terms.rule = [] { return std::string("sealing.tampered"); };
  const auto opened = look_into_list(list, terms);
  ASSERT_TRUE(opened);
  EXPECT_EQ(model, "m");
  EXPECT_THAT(opened->body, HasSubstr(R"("signature":"OPEN")"));
  std::string forged = list;
  forged.replace(forged.find("SEALED"), 6, "FORGED");
  const auto refusal = look_into_list(forged, terms);
  ASSERT_FALSE(refusal);
  EXPECT_EQ(refusal.error().rule, "sealing.tampered");
  EXPECT_THAT(refusal.error().sentence, HasSubstr("Request 1 of the batch"));
}

TEST_F(BatchLookTest, FilesForOtherPurposesPassAndFormsAreReadStrictly) {
  const auto other =
      look_into_upload(kType, form("anything", "user_data"), {.rules = rules, .policy = policy, .reader = reader});
  ASSERT_TRUE(other);
  EXPECT_FALSE(*other);
  const std::string purpose = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b--\r\n";
  EXPECT_FALSE(look_into_upload(kType, purpose, {.rules = rules, .policy = policy, .reader = reader}));
  EXPECT_FALSE(look_into_upload("application/json", "{}", {.rules = rules, .policy = policy, .reader = reader}));
}

}  // namespace
}  // namespace retort::guard
