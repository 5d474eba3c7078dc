#include "dataset/curate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/json.h"
#include "dataset/exchange_for_test.h"
#include "recipe/recipe.h"

namespace retort::dataset {
namespace {

using testing::HasSubstr;

Curation curate_these(const std::vector<MadeExchange>& exchanges, const CurateOptions& options = {}) {
  Curator curator(options);
  for (std::size_t i = 0; i < exchanges.size(); ++i) {
    // Different seeds: equal contents have different ids, as when they are really sampled twice.
    Exchange exchange = make_exchange(exchanges[i]);
    exchange.provenance.sampling->seed = i;
    curator.add(exchange_id(exchange), exchange);
  }
  return curator.finish();
}

// The only exchange's reason, or "kept".
std::string fate(const MadeExchange& exchange, const CurateOptions& options = {}) {
  const Curation curation = curate_these({exchange}, options);
  return curation.dropped.empty() ? "kept" : std::string(name_of(curation.dropped.front().reason));
}

std::vector<TokenId> loop(int repeats) {
  std::vector<TokenId> ids;
  for (int i = 0; i < repeats; ++i) ids.insert(ids.end(), {40, 41, 42});
  return ids;
}

TEST(Curate, KeepsWhatIsFine) {
  const Curation curation = curate_these({{}});
  EXPECT_EQ(curation.kept.size(), 1U);
  EXPECT_EQ(curation.kept_answer_tokens, 5);  // the end token included
  EXPECT_EQ(curation.kept_tokens, 17);
  EXPECT_EQ(curation.kept_truncated, 0);
}

TEST(Curate, DropsWithItsReason) {
  EXPECT_EQ(fate({.answer = " \n\t"}), "empty");
  EXPECT_EQ(fate({.question = "  "}), "empty");
  EXPECT_EQ(fate({.answer_ids = {30}}), "too_short");
  EXPECT_EQ(fate({.answer_ids = {30, 31, 32}}), "kept");
  CurateOptions limited;
  limited.max_tokens = 4;
  EXPECT_EQ(fate({}, limited), "too_long");
  EXPECT_EQ(fate({.answer_ids = {30, 31, 32}}, limited), "kept");
  EXPECT_EQ(fate({.answer_ids = loop(8)}), "repetition");
  EXPECT_EQ(fate({.answer_ids = loop(7)}), "kept");
}

TEST(Curate, LooksForLoopsOnlyWhereTheTeacherSampled) {
  EXPECT_EQ(fate({.question_ids = loop(10)}), "repetition");
  EXPECT_EQ(fate({.question_ids = loop(10), .self_generated = false}), "kept");
  CurateOptions lenient;
  lenient.drop_repetition = false;
  EXPECT_EQ(fate({.answer_ids = loop(50)}, lenient), "kept");
}

TEST(Curate, DropsTruncatedAnswersOnlyWhenAsked) {
  const MadeExchange cut = {.finish = FinishReason::kLength};
  EXPECT_EQ(fate(cut), "kept");
  EXPECT_EQ(curate_these({cut}).kept_truncated, 1);
  CurateOptions strict;
  strict.drop_truncated = true;
  EXPECT_EQ(fate(cut, strict), "truncated");
  EXPECT_EQ(fate({.finish = FinishReason::kUnknown}, strict), "kept");
}

TEST(Curate, DropsDuplicatesAfterTheFirst) {
  const std::vector<MadeExchange> exchanges = {
      {},
      {},
      {.question = "what is  a retort", .answer = "A vessel, of a distillery"},
      {.answer = "Something else entirely."},  // same prompt, other answer: worth learning from
      {.question = "What is 3.5?", .answer = "A number."},
      {.question = "What is 35?", .answer = "A number."},
      {.question = "What is a-b?", .answer = "A number."},
      {.question = "What is a+b?", .answer = "A number."},
  };
  const Curation curation = curate_these(exchanges);
  EXPECT_EQ(curation.kept.size(), 6U);
  ASSERT_EQ(curation.dropped.size(), 2U);
  EXPECT_EQ(curation.dropped[0].reason, DropReason::kExactDuplicate);
  EXPECT_EQ(curation.dropped[0].detail, "same as " + curation.kept[0].short_hex());
  EXPECT_EQ(curation.dropped[1].reason, DropReason::kNormalisedDuplicate);
  EXPECT_EQ(curation.count(DropReason::kExactDuplicate), 1);
  EXPECT_EQ(curation.seen(), 8);
  // Prompts that differ by spelling only share a group.
  EXPECT_EQ(curation.prompt_groups[0], curation.prompt_groups[1]);
  EXPECT_NE(curation.prompt_groups[2], curation.prompt_groups[3]);

  CurateOptions exact;
  exact.deduplicate = "exact";
  EXPECT_EQ(curate_these(exchanges, exact).dropped.size(), 1U);
  CurateOptions none;
  none.deduplicate = "none";
  EXPECT_EQ(curate_these(exchanges, none).dropped.size(), 0U);
}

TEST(NormaliseText, LeavesOutCaseSpacingAndPunctuationOfSentences) {
  EXPECT_EQ(normalise_text("  Hello,\n\tWorld!  "), "hello world");
  EXPECT_EQ(normalise_text("It's 3.5, or 1,000."), "its 3.5 or 1,000");
  EXPECT_EQ(normalise_text("Ünïcode — ok"), "Ünïcode — ok");
  EXPECT_EQ(normalise_text(" ?! "), "?!");
  EXPECT_EQ(normalise_text(""), "");
  EXPECT_EQ(normalise_text("a = b * c"), "a = b * c");
}

TEST(Curation, JsonReadsBack) {
  const Curation curation =
      curate_these({{}, {}, {.answer_ids = {30}}, {.answer = "x", .finish = FinishReason::kLength}});
  const Json json = to_json(curation);
  EXPECT_EQ(json["counts"]["too_short"], 1);
  const auto back = curation_from_json(parse_json(canonical_json(json), "test").value());
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_json(*back), json);
  Json newer = json;
  newer["version"] = 2;
  EXPECT_THAT(curation_from_json(newer).error().message, HasSubstr("version 2; this program reads version 1"));
  Json damaged = json;
  damaged["prompt_groups"].clear();
  EXPECT_FALSE(curation_from_json(damaged));
}

TEST(Curate, SaysWhenNothingIsLeft) {
  std::string pattern = (std::filesystem::temp_directory_path() / "retort-curate-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  {
    auto store = store::ExchangeStore::open(std::filesystem::path(pattern) / "s.sqlite").value();
    std::vector<Digest> ids = {store.add(make_exchange({.answer = " "})).value(),
                               store.add(make_exchange({.answer_ids = {30}})).value()};
    const auto nothing = curate(store, ids, {});
    ASSERT_FALSE(nothing);
    EXPECT_EQ(nothing.error().fault, Fault::kCaller);
    EXPECT_THAT(nothing.error().message,
                HasSubstr("Nothing is left after curation: all 2 exchanges were dropped (1 empty, 1 too_short)"));
    EXPECT_THAT(curate(store, {}, {}).error().message, HasSubstr("There are no exchanges to curate"));
    ids.push_back(store.add(make_exchange({})).value());
    EXPECT_EQ(curate(store, ids, {})->kept, (std::vector<Digest>{ids[2]}));
    ids.push_back(Digest{});
    EXPECT_FALSE(curate(store, ids, {}));
  }
  std::filesystem::remove_all(pattern);
}

TEST(CurateOptions, RefuseImpossibleCombinations) {
  auto schema = std::make_shared<recipe::Schema>();
  schema->add(curate_option_set());
  EXPECT_TRUE(recipe::Recipe::parse("", "r", schema));
  const auto refused = recipe::Recipe::parse("curate: {min_tokens: 9, max_tokens: 8}", "r", schema);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("curate.max_tokens is 8, less than curate.min_tokens (9)"));
  // The same words everywhere: what the struct says is what the recipe gives.
  const CurateOptions defaults = recipe::Recipe::parse("", "r", schema)->get(curate_option_set());
  EXPECT_EQ(defaults.deduplicate, CurateOptions{}.deduplicate);
  EXPECT_EQ(defaults.max_tokens, std::nullopt);
}

}  // namespace
}  // namespace retort::dataset
