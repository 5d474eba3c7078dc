#include "serve/text_stream.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/text.h"

namespace retort::serve {
namespace {

struct Shown {
  std::string text;
  bool stopped = false;
};

// The text cut at the given places, everything shown checked on the way.
Shown show(const std::vector<std::string>& pieces, const std::vector<std::string>& stop) {
  TextStream stream(stop);
  Shown shown;
  for (const std::string& piece : pieces) {
    shown.stopped = stream.push(piece);
    if (shown.stopped) break;
    const std::string text = stream.take();
    EXPECT_TRUE(is_valid_utf8(text));
    shown.text += text;
    EXPECT_EQ(stream.taken(), shown.text.size());
  }
  shown.text += stream.finish();
  return shown;
}

TEST(TextStreamTest, EverySplitPointShowsTheSame) {
  const std::string text = "Grüße, 世界 👋! a\n\nEND b\n\nENDE c";
  const std::vector<std::pair<std::string, std::string>> cases = {{"", text},
                                                                  {"\n\nENDE", "Grüße, 世界 👋! a\n\nEND b"},
                                                                  {"界", "Grüße, 世"},
                                                                  {"👋!", "Grüße, 世界 "},
                                                                  {"nothing", text}};
  for (const auto& [stop, expected] : cases) {
    const std::vector<std::string> stops = stop.empty() ? std::vector<std::string>{} : std::vector<std::string>{stop};
    for (std::size_t i = 0; i <= text.size(); ++i) {
      for (std::size_t j = i; j <= text.size(); ++j) {
        const Shown shown = show({text.substr(0, i), text.substr(i, j - i), text.substr(j)}, stops);
        ASSERT_EQ(shown.text, expected) << i << " " << j << " " << stop;
        ASSERT_EQ(shown.stopped, expected != text);
      }
    }
  }
}

TEST(TextStreamTest, NoPartOfAStopStringIsEverShown) {
  const std::vector<std::string> stops = {"abcd", "cx"};
  TextStream stream(stops);
  EXPECT_FALSE(stream.push("12ab"));
  EXPECT_EQ(stream.take(), "12");
  EXPECT_FALSE(stream.push("c"));
  EXPECT_EQ(stream.take(), "");
  EXPECT_TRUE(stream.push("x")) << "the other one, inside the first's beginning";
  EXPECT_EQ(stream.finish(), "ab");
  EXPECT_EQ(stream.pushed(), 4U);
}

TEST(TextStreamTest, TheEarliestOfTwoStopsCounts) {
  const std::vector<std::string> stops = {"zz", "b"};
  TextStream stream(stops);
  EXPECT_TRUE(stream.push("abzz"));
  EXPECT_EQ(stream.finish(), "a");
}

TEST(TextStreamTest, WhatOnlyLookedLikeAStopIsShownAtTheEnd) { EXPECT_EQ(show({"one EN"}, {"END"}).text, "one EN"); }

TEST(TextStreamTest, HalfACharacterIsHeldBackAndDroppedAtTheEnd) {
  TextStream stream;
  stream.push("a\xe4\xb8");
  EXPECT_EQ(stream.take(), "a");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStreamTest, BytesThatAreNoTextGoOn) {
  TextStream stream;
  stream.push("\xff");
  stream.push("a");
  EXPECT_EQ(stream.take(),
            "\xff"
            "a");
}

}  // namespace
}  // namespace retort::serve
