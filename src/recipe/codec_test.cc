#include "recipe/codec.h"

#include <gtest/gtest.h>

#include "recipe/choices.h"
#include "recipe/yaml_reader.h"

namespace retort::recipe {
namespace {

Node yaml(std::string_view text) {
  std::vector<YamlFault> faults;
  auto node = read_yaml(text, faults);
  EXPECT_TRUE(node) << node.error().message;
  EXPECT_TRUE(faults.empty());
  return node ? *node : Node();
}

template <class T>
std::string refusal(std::string_view text, const OptionText& option = {}) {
  const auto value = Codec<T>::parse(yaml(text), option);
  return value ? "accepted" : value.error();
}

TEST(YamlScalar, IsResolvedByTheCoreSchema) {
  using Kind = Node::Kind;
  EXPECT_EQ(yaml("3").kind, Kind::kInteger);
  EXPECT_EQ(yaml("+3").integer, 3);
  EXPECT_EQ(yaml("-7").integer, -7);
  EXPECT_EQ(yaml("007").integer, 7);
  EXPECT_EQ(yaml("\"3\"").kind, Kind::kText);
  EXPECT_EQ(yaml("'true'").kind, Kind::kText);
  EXPECT_EQ(yaml("true").kind, Kind::kBool);
  EXPECT_EQ(yaml("yes").kind, Kind::kText);
  EXPECT_EQ(yaml("~").kind, Kind::kNull);
  EXPECT_EQ(yaml("").kind, Kind::kNull);
  for (const char* number : {"1e-3", "5e-4", "1E3", ".5", "1.", "1.5", "-0.25", "+2.5e+1"}) {
    EXPECT_EQ(yaml(number).kind, Kind::kNumber) << number;
  }
  EXPECT_DOUBLE_EQ(yaml("5e-4").number, 0.0005);
  EXPECT_DOUBLE_EQ(yaml("+2.5e+1").number, 25.0);
  for (const char* text : {"1.2.3", "e5", "1e", ".", "12abc", "1_000", "0x1F", "1,5"}) {
    EXPECT_EQ(yaml(text).kind, Kind::kText) << text;
  }
  // Beyond 64 bits it is a number, which no whole-number option takes.
  EXPECT_EQ(yaml("9223372036854775807").kind, Kind::kInteger);
  EXPECT_EQ(yaml("9223372036854775808").kind, Kind::kNumber);
}

TEST(Codec, RefusesOtherTypesInsteadOfCoercing) {
  EXPECT_EQ(refusal<std::int64_t>("\"3\""), "a whole number");
  EXPECT_EQ(refusal<std::int64_t>("3.0"), "a whole number");
  EXPECT_EQ(refusal<std::int64_t>("true"), "a whole number");
  EXPECT_EQ(refusal<std::int64_t>("1e3"), "a whole number");
  EXPECT_EQ(refusal<double>("\"0.5\""), "a number");
  EXPECT_EQ(refusal<double>("3"), "accepted");
  EXPECT_EQ(refusal<double>("5e-4"), "accepted");
  EXPECT_EQ(refusal<double>(".inf"), "a number");
  EXPECT_EQ(refusal<double>(".nan"), "a number");
  EXPECT_EQ(refusal<double>("1e999"), "a number");
  EXPECT_EQ(refusal<bool>("yes"), "true or false");
  EXPECT_EQ(refusal<bool>("1"), "true or false");
  EXPECT_EQ(refusal<std::string>("3"), "a text (put it in quotes)");
  EXPECT_EQ(refusal<std::string>("a"), "accepted");
  EXPECT_EQ(refusal<std::vector<std::int64_t>>("[1, x]"), "a list of whole numbers");
}

TEST(Codec, ChecksRanges) {
  const OptionText range = {.minimum = 1, .maximum = 8};
  EXPECT_EQ(refusal<std::int64_t>("0", range), "a whole number from 1 to 8");
  EXPECT_EQ(refusal<std::int64_t>("9", range), "a whole number from 1 to 8");
  EXPECT_EQ(refusal<std::int64_t>("8", range), "accepted");
  const OptionText positive = {.minimum = 0, .above_minimum = true};
  EXPECT_EQ(refusal<double>("0", positive), "a number above 0");
  EXPECT_EQ(refusal<double>("1e-9", positive), "accepted");
  EXPECT_EQ(refusal<std::int32_t>("2147483648"), "a whole number");
  EXPECT_EQ(refusal<std::int32_t>("-2147483648"), "accepted");
  EXPECT_EQ(refusal<std::uint64_t>("-1"), "a whole number");
  EXPECT_EQ(refusal<std::vector<std::int64_t>>("[1, 9]", range), "a list of whole numbers, each from 1 to 8");
  EXPECT_EQ(refusal<std::string>("c", {.choices = {"a", "b"}}), "one of: a, b");
  EXPECT_EQ(refusal<std::optional<std::int64_t>>("0", range), "a whole number from 1 to 8, or null");
  EXPECT_EQ(refusal<std::optional<std::int64_t>>("null", range), "accepted");
}

TEST(CountOrList, TakesBothShapesAndNothingElse) {
  const OptionText range = {.minimum = 1};
  const auto count = Codec<CountOrList>::parse(yaml("20"), range);
  ASSERT_TRUE(count);
  EXPECT_FALSE(count->is_list());
  EXPECT_EQ(count->count(), 20);
  const auto list = Codec<CountOrList>::parse(yaml("[0, 1, 29]"), range);
  ASSERT_TRUE(list);
  EXPECT_TRUE(list->is_list());
  EXPECT_EQ(list->count(), 3);
  EXPECT_EQ(list->list(), (std::vector<std::int64_t>{0, 1, 29}));
  EXPECT_EQ(refusal<CountOrList>("0", range), "a whole number of at least 1, or a list of indices");
  for (const char* bad : {"[]", "[1, 1]", "[2, 1]", "[-1]", "[1.5]", "['1']"}) {
    EXPECT_NE(refusal<CountOrList>(bad, range), "accepted") << bad;
  }
}

// What is written must read back as the same value: the effective recipe stands in the run and in the exported model.
TEST(Yaml, WrittenValuesReadBack) {
  const std::vector<Node> values = {
      Node::of(true),
      Node::of(std::int64_t{-5}),
      Node::of(0.1),
      Node::of(1.0),
      Node::of(5e-4),
      Node::of(1e300),
      Node::of(1.0 / 3.0),
      Node::null(),
      Node::of(std::string()),
      Node::of(std::string("true")),
      Node::of(std::string("3")),
      Node::of(std::string("null")),
      Node::of(std::string("a: b # c")),
      Node::of(std::string("line\nline\t\"q\" \\ \x01 é")),
      Node::of(std::string("- x")),
      Node::of(std::string("/a/b-c.d")),
      Node::of(std::string("smollm2-135m")),
      Node::of(std::string("no")),
      Node::list({Node::of(std::int64_t{1}), Node::of(std::string("a, b"))}),
      Node::map({{"file", Node::of(std::string("x: y")), 0}, {"format", Node::of(std::string("lines")), 0}}),
  };
  for (const Node& value : values) {
    const Node back = yaml("k: " + to_yaml(value));
    ASSERT_EQ(back.kind, Node::Kind::kMap);
    EXPECT_EQ(back.members[0].value.kind, value.kind) << to_yaml(value);
    EXPECT_EQ(to_yaml(back.members[0].value), to_yaml(value));
    EXPECT_TRUE(value.kind != Node::Kind::kText || back.members[0].value.text == value.text) << to_yaml(value);
    EXPECT_EQ(back.members[0].value.number, value.number);
  }
}

}  // namespace
}  // namespace retort::recipe
