#include "callers/ownership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace retort::callers {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Named = std::map<std::string, std::string, std::less<>>;

struct WrittenStake {
  const char* entity;
  const char* owner;
  const char* percent;
};

Percent percent(std::string_view text) { return *Percent::parse(text); }

OwnershipGraph graph_of(const std::vector<WrittenStake>& stakes) {
  std::map<std::string, std::vector<Stake>> owners;
  for (const auto& stake : stakes) owners[stake.entity].push_back({stake.owner, percent(stake.percent)});
  OwnershipGraph graph;
  for (const auto& [entity, list] : owners) EXPECT_TRUE(graph.set_owners(entity, list).has_value());
  return graph;
}

std::set<std::string> names(const Listings& listings) {
  std::set<std::string> set;
  for (const auto& [entity, listing] : listings) set.insert(entity);
  return set;
}

TEST(Percent, IsAnExactDecimal) {
  EXPECT_EQ(percent("50").text(), "50.0");
  EXPECT_EQ(percent("050.000").text(), "50.0");
  EXPECT_EQ(percent("33.333").text(), "33.333");
  EXPECT_EQ(percent("0.000000000001").text(), "0.000000000001");
  EXPECT_EQ(percent("0.1") + percent("0.2"), percent("0.3"));
  EXPECT_EQ(percent("100.000000000000"), Percent::whole(100));
  EXPECT_LT(percent("49.999999999999"), Percent::whole(50));
}

TEST(Percent, RefusesWhatIsNone) {
  for (const char* text : {"", ".", "5.", ".5", "-1", "+1", "1e1", " 5", "5 ", "5%", "1,5", "100.000000000001", "101",
                           "1000", "99999999999999999999", "0.1234567890123", "nan", "0x1", "5.5.5"}) {
    EXPECT_FALSE(Percent::parse(text).has_value()) << text;
  }
}

TEST(OwnershipGraph, RefusesStakesThatCannotBe) {
  OwnershipGraph graph;
  EXPECT_THAT(graph.set_owners("A", {{"X", percent("60")}, {"Y", percent("40.000000000001")}}).error().message,
              HasSubstr("100.000000000001 % together"));
  EXPECT_THAT(graph.set_owners("A", {{"X", percent("1")}, {"X", percent("2")}}).error().message, HasSubstr("twice"));
  EXPECT_FALSE(graph.set_owners("A", {{"X", Percent()}}).has_value());
  EXPECT_TRUE(graph.owners().empty());
  EXPECT_TRUE(graph.set_owners("A", {{"X", percent("60")}, {"Y", percent("40")}}).has_value());
}

struct Example {
  const char* what;
  std::vector<WrittenStake> stakes;
  std::set<std::string> listed;  // beside the blocked persons X and Y
};

// The examples of OFAC's FAQ 401, and the aggregation of FAQ 399.
const std::vector<Example>& examples() {
  static const std::vector<Example> kExamples = {
      {"1: through A", {{"A", "X", "50"}, {"B", "A", "50"}}, {"A", "B"}},
      {"2: half of two that own a quarter each",
       {{"A", "X", "50"}, {"B", "X", "50"}, {"C", "A", "25"}, {"C", "B", "25"}},
       {"A", "B", "C"}},
      {"3: directly and through A", {{"A", "X", "50"}, {"B", "X", "10"}, {"B", "A", "40"}}, {"A", "B"}},
      {"4: B isn't blocked, so its quarter of C does not count",
       {{"A", "X", "50"}, {"B", "X", "25"}, {"C", "A", "25"}, {"C", "B", "25"}},
       {"A"}},
      {"5: quarters of two that own all of C",
       {{"A", "X", "25"}, {"B", "X", "25"}, {"C", "A", "50"}, {"C", "B", "50"}},
       {}},
      {"399: two blocked persons add up", {{"A", "X", "25"}, {"A", "Y", "25"}}, {"A"}},
      {"399: and fall short", {{"A", "X", "25"}, {"A", "Y", "24.999999999999"}}, {}},
  };
  return kExamples;
}

TEST(ListedEntities, AgreeWithTheExamplesOfTheFiftyPercentRule) {
  const Named blocked = {{"X", "sdn"}, {"Y", "sdn"}};
  for (const Example& example : examples()) {
    std::set<std::string> expected = example.listed;
    expected.insert({"X", "Y"});
    EXPECT_EQ(names(listed_entities(graph_of(example.stakes), blocked, {})), expected) << example.what;
  }
}

TEST(ListedEntities, MoreThanHalfIsAnotherRuleThanHalf) {
  const auto graph = graph_of({{"A", "X", "50"}, {"B", "X", "50.000000000001"}, {"C", "B", "50"}, {"D", "B", "51"}});
  const Named blocked = {{"X", "sdn"}};
  EXPECT_EQ(names(listed_entities(graph, blocked, {})), (std::set<std::string>{"A", "B", "C", "D", "X"}));
  const OwnershipRule more{.threshold = Percent::whole(50), .or_more = false};
  EXPECT_EQ(names(listed_entities(graph, blocked, more)), (std::set<std::string>{"B", "D", "X"}));
  EXPECT_EQ(more.text(), "> 50.0 %");
}

TEST(ListedEntities, ACircleDoesNotListItself) {
  const auto circle = graph_of({{"A", "B", "60"}, {"B", "A", "60"}, {"C", "C", "90"}});
  EXPECT_THAT(listed_entities(circle, {}, {}), IsEmpty());
  const auto entered =
      graph_of({{"A", "B", "45"}, {"A", "X", "55"}, {"B", "A", "60"}, {"D", "D", "50"}, {"D", "X", "49"}});
  EXPECT_EQ(names(listed_entities(entered, {{"X", "sdn"}}, {})), (std::set<std::string>{"A", "B", "X"}));
}

TEST(ListedEntities, SayWhy) {
  const auto graph =
      graph_of({{"A", "X", "50"}, {"B", "X", "50"}, {"C", "A", "25"}, {"C", "B", "25"}, {"C", "Z", "50"}});
  const Listings listings = listed_entities(graph, {{"X", "sdn"}}, {});
  const Listing& why = listings.at("C");
  EXPECT_EQ(why.step, 2);
  EXPECT_EQ(why.aggregate, Percent::whole(50));
  EXPECT_THAT(why.through, ElementsAre(Stake{"A", percent("25")}, Stake{"B", percent("25")}));
  EXPECT_EQ(
      explain(listings, "C", {}),
      "C: 25.0 % by A + 25.0 % by B = 50.0 % (rule >= 50.0 %); A: 50.0 % by X = 50.0 % (rule >= 50.0 %); B: 50.0 % by "
      "X = 50.0 % (rule >= 50.0 %); X is named by the list 'sdn'");
  EXPECT_EQ(explain(listings, "Z", {}), "");
}

// Another way to the same set: whole sums anew for every entity, in no particular order, until nothing changes.
std::set<std::string> brute_force(const std::map<std::string, std::map<std::string, std::int64_t>>& owners,
                                  std::set<std::string> listed, std::int64_t threshold, bool or_more) {
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [entity, stakes] : owners) {
      std::int64_t sum = 0;
      for (const auto& [owner, milli] : stakes) sum += listed.contains(owner) ? milli : 0;
      if (listed.contains(entity) || !(or_more ? sum >= threshold : sum > threshold)) continue;
      listed.insert(entity);
      changed = true;
    }
  }
  return listed;
}

TEST(ListedEntities, AreTheFixedPointThatBruteForceFinds) {
  Random random(20261126);
  int reached_by_owners = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::uint64_t entities = 2 + random.below(14);
    const auto name = [](std::uint64_t i) { return "e" + std::to_string(i); };
    std::map<std::string, std::map<std::string, std::int64_t>> owners;  // thousandths of a percent
    OwnershipGraph graph;
    for (std::uint64_t entity = 0; entity < entities; ++entity) {
      std::int64_t left = 100'000;
      std::vector<Stake> stakes;
      for (std::uint64_t i = random.below(5); i > 0; --i) {
        const std::string owner = name(random.below(entities));  // itself, too, and in circles
        // Round numbers often, so that sums meet the threshold exactly.
        const std::int64_t milli = random.below(2) == 0 ? static_cast<std::int64_t>(random.below(11)) * 5'000
                                                        : static_cast<std::int64_t>(random.below(60'000));
        if (milli == 0 || milli > left || owners[name(entity)].contains(owner)) continue;
        left -= milli;
        owners[name(entity)][owner] = milli;
        std::string decimals = std::to_string(milli % 1000);
        decimals.insert(0, 3 - decimals.size(), '0');
        stakes.push_back({owner, percent(std::to_string(milli / 1000) + "." + decimals)});
      }
      ASSERT_TRUE(graph.set_owners(name(entity), stakes).has_value());
    }
    Named named;
    std::set<std::string> start;
    for (std::uint64_t i = random.below(4); i > 0; --i) {
      const std::string entity = name(random.below(entities));
      named[entity] = "list";
      start.insert(entity);
    }
    const bool or_more = random.below(2) == 0;
    const auto found = names(listed_entities(graph, named, {.threshold = Percent::whole(50), .or_more = or_more}));
    ASSERT_EQ(found, brute_force(owners, start, 50'000, or_more)) << "round " << round;
    reached_by_owners += found.size() > start.size() ? 1 : 0;
  }
  EXPECT_GT(reached_by_owners, 200) << "the graphs are too dull to prove anything";
}

}  // namespace
}  // namespace retort::callers
