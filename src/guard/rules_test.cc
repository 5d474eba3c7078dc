#include "guard/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/files.h"

namespace retort::guard {
namespace {

using ::testing::HasSubstr;

class RulesTest : public ::testing::Test {
 public:
  RulesTest() {
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "vpn.txt") << "198.51.100.0/24\n";
  }
  ~RulesTest() override { std::filesystem::remove_all(folder); }
  Result<std::shared_ptr<const Rules>> load(const std::string& yaml) {
    std::ofstream(folder / "guard.yaml") << yaml;
    return load_rules(folder / "guard.yaml", [](const std::string& name) -> std::optional<std::string> {
      if (name == "KEY") return "secret";
      return std::nullopt;
    });
  }
  std::string refusal(const std::string& yaml) {
    const auto loaded = load(yaml);
    EXPECT_FALSE(loaded) << yaml;
    if (loaded) return "";
    EXPECT_EQ(loaded.error().fault, Fault::kCaller);
    return loaded.error().message;
  }
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("retort-rules-" + std::to_string(getpid()));
};

constexpr const char* kSmall =
    "upstreams: [{name: a, url: \"http://127.0.0.1:1/v1\", key_env: KEY, models: [m]}, "
    "{name: b, url: \"http://127.0.0.1:2\"}, {name: c, dialect: anthropic, url: \"https://x\"}]\n";

TEST_F(RulesTest, FindsTheUpstreamOfAModel) {
  const auto rules = load(kSmall).value();
  EXPECT_EQ(rules->upstream_for(api::Family::kOpenAi, "m")->options.name, "a");
  EXPECT_EQ(rules->upstream_for(api::Family::kOpenAi, "other")->options.name, "b");
  EXPECT_EQ(rules->upstream_for(api::Family::kAnthropic, "m")->options.name, "c");
  EXPECT_EQ(rules->upstream_for(api::Family::kOpenAi, "m")->key, "secret");
  EXPECT_EQ(rules->upstream_for(api::Family::kOpenAi, "m")->origin.path, "") << "/v1 is the client's to say";
}

TEST_F(RulesTest, TakesPercentAsWrittenInQuotesOrNot) {
  for (const char* written : {"33.333333333333", "\"33.333333333333\""}) {
    const auto rules = load(std::string(kSmall) + "callers: {listed_from: " + written + "}").value();
    EXPECT_EQ(rules->ownership.threshold.text(), "33.333333333333") << "no binary fraction came between";
  }
  EXPECT_EQ(load(std::string(kSmall) + "callers: {listed_from: 50}").value()->ownership.threshold,
            callers::Percent::whole(50));
}

TEST_F(RulesTest, APriceMayBeNothing) {
  const auto rules = load(std::string(kSmall) + "prices: {embedder: {input_per_mtok: 1, output_per_mtok: 0}}");
  ASSERT_TRUE(rules) << rules.error().message;
  EXPECT_EQ((*rules)->price_of("embedder")->output_per_mtok, 0);
}

TEST_F(RulesTest, SaysWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "upstreams"},
      {"listn: x\n" + std::string(kSmall), "did you mean listen?"},
      {"listen: nowhere\n" + std::string(kSmall), "127.0.0.1:8400"},
      {"upstreams: [{name: a, url: \"ftp://x\"}]", "http"},
      {"upstreams: [{name: a, url: \"http://x\", key_env: NONE}]", "no variable 'NONE'"},
      {"upstreams: [{name: a, url: \"http://x\", dialct: openai}]", "did you mean 'dialect'"},
      {std::string(kSmall) + "tiers: {verified: {expose: {logprob: 1}}}", "did you mean 'logprobs'"},
      {std::string(kSmall) + "tiers: {verified: {expose: {logprobs: 30}}}", "20"},
      {std::string(kSmall) + "tiers: {verified: {expose: {reasoning: summary}}}", "summary_model"},
      {std::string(kSmall) +
           "tiers: {verified: {expose: {reasoning: summary, summary_model: m}, limits: {usd_per_day: 1}}}",
       "prices"},
      {std::string(kSmall) +
           "tiers: {verified: {limits: {usd_per_day: 1}}}\nprices: {m: {input_per_mtok: 1, output_per_mtok: 2}}",
       "max_output_tokens"},
      {std::string(kSmall) + "admin: {listen: \"127.0.0.1:0\"}", "token_env"},
      {std::string(kSmall) + "evidence: {required: true}", "folder"},
      {std::string(kSmall) + "network: {trusted_hops: [\"10.0.0.0/33\"]}", "10.0.0.0/33"},
      {std::string(kSmall) + "network: {mmdb: [absent.mmdb]}", "absent.mmdb"},
      {std::string(kSmall) + "network: {rules: [{name: r, countries: [XX], outcome: refuse}], unknown_country: pass}",
       "refuse_by_country_alone"},
      {std::string(kSmall) + "callers: {listed_from: \"150\"}", "150"},
      {std::string(kSmall) + "callers: {listed_from: 1e1}", "1e1"},
      {std::string(kSmall) + "callers: {listed_from: [50]}", "33.333"},
      {std::string(kSmall) +
           "network: {lists: [{kind: vpn, path: vpn.txt}], rules: [{name: r, kinds: [vpn], outcome: verify}]}\n"
           "steps: {automatic_up_to: cap}",
       "automatic_up_to"},
      {std::string(kSmall) + "steps: {automatic_up_to: block}", "ask_verification"},
  };
  for (const auto& [yaml, part] : cases) EXPECT_THAT(refusal(yaml), HasSubstr(part)) << yaml;
}

// RETORT_WRITE_PAGES=1 writes the page instead of comparing.
TEST(GuardPages, AreWhatTheDeclarationsSay) {
  const std::filesystem::path path = std::filesystem::path(RETORT_SOURCE_DIR) / "docs" / "GUARD-KEYS.md";
  if (std::getenv("RETORT_WRITE_PAGES") != nullptr) {
    ASSERT_TRUE(write_file(path, guard_keys_page()));
  }
  EXPECT_EQ(read_file(path).value_or(""), guard_keys_page())
      << "docs/GUARD-KEYS.md is stale: run this test with RETORT_WRITE_PAGES=1 and commit the page.";
}

TEST(GuardPages, TheExampleIsAccepted) {
  const auto rules = load_rules(std::filesystem::path(RETORT_SOURCE_DIR) / "examples" / "guard.yaml",
                                [](const std::string&) { return std::optional<std::string>("secret"); });
  ASSERT_TRUE(rules) << rules.error().message;
  EXPECT_TRUE((*rules)->warnings.empty());
}

TEST_F(RulesTest, WarnsOfWhatIsSeldomMeant) {
  const auto rules = load(std::string(kSmall) + "listen: 0.0.0.0:0").value();
  EXPECT_EQ(rules->warnings.size(), 2U);
}

}  // namespace
}  // namespace retort::guard
