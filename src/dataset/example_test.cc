#include "dataset/example.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "dataset/exchange_for_test.h"

namespace retort::dataset {
namespace {

using testing::HasSubstr;

// Each target's id, in order.
std::vector<TokenId> targets(const Example& example) {
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < example.ids.size(); ++i) {
    if (example.supervised[i] != 0) ids.push_back(example.ids[i]);
  }
  return ids;
}

std::string spell(std::span<const TokenId> ids) {
  std::string text;
  for (const TokenId id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

TEST(Example, AssistantSupervisesTheAnswerWithItsEnd) {
  const Example example = make_example({}, make_exchange({}), Supervision::kAssistant);
  EXPECT_EQ(targets(example), (std::vector<TokenId>{30, 31, 32, 33, 2}));
  // The template's newline after the answer is not a target, and there is nothing behind the last target.
  EXPECT_EQ(example.ids.back(), 2);
  EXPECT_EQ(example.ids.size(), example.supervised.size());
  EXPECT_EQ(example.targets(), 5);
}

TEST(Example, SampledSupervisesAlsoTheUsersTurnTheTeacherWrote) {
  EXPECT_EQ(targets(make_example({}, make_exchange({}), Supervision::kSampled)),
            (std::vector<TokenId>{20, 21, 22, 2, 30, 31, 32, 33, 2}));
  // A user's own turn is not the teacher's.
  EXPECT_EQ(targets(make_example({}, make_exchange({.self_generated = false}), Supervision::kSampled)),
            (std::vector<TokenId>{30, 31, 32, 33, 2}));
}

TEST(Example, ATruncatedAnswerGetsNoInventedEnd) {
  const Example example = make_example({}, make_exchange({.finish = FinishReason::kLength}), Supervision::kAssistant);
  EXPECT_EQ(targets(example), (std::vector<TokenId>{30, 31, 32, 33}));
  EXPECT_EQ(example.ids.back(), 33);
}

TEST(Example, GoesByPositionNotById) {
  // The answer holds the id of the scaffold's newline, the question that of the end.
  const Example example =
      make_example({}, make_exchange({.question_ids = {2, 3}, .answer_ids = {3, 1, 2}}), Supervision::kAssistant);
  EXPECT_EQ(targets(example), (std::vector<TokenId>{3, 1, 2, 2}));
}

TEST(Example, ADialogueFromAFileSupervisesEveryAssistantsTurn) {
  Exchange exchange;
  exchange.tokens.ids = {1, 20, 2, 1, 30, 2, 1, 21, 2, 1, 31, 2};
  exchange.tokens.spans = {{1, 3, SpanKind::kUser, false},
                           {4, 6, SpanKind::kAssistant, false},
                           {7, 9, SpanKind::kUser, false},
                           {10, 12, SpanKind::kAssistant, false}};
  for (const Supervision each : {Supervision::kAssistant, Supervision::kSampled}) {
    EXPECT_EQ(targets(make_example({}, exchange, each)), (std::vector<TokenId>{30, 2, 31, 2}));
  }
}

TEST(Example, NothingIsPredictedAtTheFirstPosition) {
  Exchange exchange;
  exchange.tokens.ids = {5, 6};
  exchange.tokens.spans = {{0, 2, SpanKind::kAssistant, true}};
  EXPECT_EQ(targets(make_example({}, exchange, Supervision::kAssistant)), (std::vector<TokenId>{6}));
  exchange.tokens.spans.clear();
  EXPECT_TRUE(make_example({}, exchange, Supervision::kAssistant).ids.empty());
}

TEST(Example, IsShownWithItsTargetsMarked) {
  const Example example = make_example({}, make_exchange({}), Supervision::kSampled);
  EXPECT_EQ(render_marked(example, spell), "1 10 2 3 1⟦20 21 22 2⟧3 1⟦30 31 32 33 2⟧");
  EXPECT_EQ(mark(example, spell).size(), 4U);
}

TEST(Supervision, HasNames) {
  EXPECT_EQ(supervision_from_name("sampled").value(), Supervision::kSampled);
  EXPECT_EQ(supervision_from_name("assistant").value(), Supervision::kAssistant);
  EXPECT_FALSE(supervision_from_name("all"));
}

TEST(Materialise, ReadsFromTheStoreAndRefusesMixedTokenizers) {
  std::string pattern = (std::filesystem::temp_directory_path() / "retort-example-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  {
    auto store = store::ExchangeStore::open(std::filesystem::path(pattern) / "s.sqlite").value();
    Exchange other = make_exchange({.answer = "other"});
    other.tokens.tokenizer_fingerprint.bytes[0] = 1;
    const Digest a = store.add(make_exchange({})).value();
    const Digest b = store.add(make_exchange({.answer = "second"})).value();
    const Digest c = store.add(other).value();
    const auto examples = materialise(store, std::vector<Digest>{b, a}, Supervision::kAssistant);
    ASSERT_TRUE(examples) << examples.error().message;
    EXPECT_EQ(examples->at(0).exchange_id, b);
    EXPECT_EQ(examples->at(1).exchange_id, a);
    const auto mixed = materialise(store, std::vector<Digest>{a, c}, Supervision::kAssistant);
    ASSERT_FALSE(mixed);
    EXPECT_THAT(mixed.error().message, HasSubstr("different tokenizers"));
  }
  std::filesystem::remove_all(pattern);
}

}  // namespace
}  // namespace retort::dataset
