#include "evidence/sketch.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <set>
#include <vector>

#include "base/digest.h"
#include "base/random.h"

namespace retort::evidence {
namespace {

SecretKey key_of(std::uint8_t fill) {
  SecretKey key{};
  key.fill(fill);
  return key;
}

// Words w0, w1, …, each once, so that k-shingles are distinct.
std::string words(int begin, int end) {
  std::string text;
  for (int i = begin; i < end; ++i) text += "w" + std::to_string(i) + " ";
  return text;
}

double bit_agreement(std::uint64_t a, std::uint64_t b) { return 1 - std::popcount(a ^ b) / 64.0; }

TEST(Sketch, EstimatesResemblanceWithinItsDeviation) {
  // Two texts of n words that share a run of m: of their 5-shingles m - 4 are shared and 2 (n - 4) - (m - 4) are in
  // either.
  constexpr int kWords = 600;
  for (const int shared : {0, 150, 300, 450, 600}) {
    const double common = std::max(0, shared - 4);
    const double expected = common / (2.0 * (kWords - 4) - common);
    double sum = 0;
    double squares = 0;
    constexpr int kKeys = 60;
    for (int seed = 0; seed < kKeys; ++seed) {
      const Sketcher sketcher(key_of(static_cast<std::uint8_t>(seed)));
      const Sketch a = sketcher.sketch(words(0, kWords));
      const Sketch b = sketcher.sketch(words(kWords - shared, 2 * kWords - shared));
      const double error = resemblance(a.shingles5, b.shingles5) - expected;
      sum += error;
      squares += error * error;
    }
    EXPECT_NEAR(sum / kKeys, 0, 4 * 0.063 / std::sqrt(kKeys)) << shared;
    EXPECT_LE(std::sqrt(squares / kKeys), 1.35 * std::sqrt(expected * (1 - expected) / 64) + 1e-9) << shared;
  }
}

TEST(Sketch, IsKeyedAndDeterministic) {
  const Sketcher one(key_of(1));
  const Sketcher other(key_of(2));
  const std::string text = words(0, 100);
  EXPECT_EQ(one.sketch(text), Sketcher(key_of(1)).sketch(text));
  EXPECT_LT(resemblance(one.sketch(text).shingles5, other.sketch(text).shingles5), 0.1);
  EXPECT_NE(one.sketch(text).simhash, other.sketch(text).simhash);
}

// What was kept yesterday is compared with what is kept tomorrow.
TEST(Sketch, StaysTheSameOverVersions) {
  const Sketcher sketcher(key_of(7));
  std::string text;
  for (int i = 0; i < 400; ++i) {
    text += "Word" + std::to_string(i * i % 97) + (i % 7 != 0 ? " " : ", \u00c4\u00d6 \u4e2d\u6587-") +
            (i % 11 != 0 ? "" : "ALONGERWORDTHANSIXTEENBYTES ");
  }
  const auto digest = [&](std::string_view of) { return sha256(sketcher.sketch(of).text()).hex(); };
  EXPECT_EQ(digest(text), "7919dcbcb43f6d5bef30eaf1a6dc9b7b1773cdd4e939ce7a0669b443ea9c9a33");
  EXPECT_EQ(digest("Hello"), "7ff1ec225062d9ec092345f5e9d25fee77ca350c3236ed1e61ce26da4d9ed52d");
  EXPECT_EQ(digest(""), "a198c390da6587befb1a5ddb63d11f3bd5b8617b9de3f7f7a5bb8073522da562");
}

TEST(Sketch, TwoSketchesMergeToThatOfBothTexts) {
  const Sketcher sketcher(key_of(3));
  // Joined by a run of words that both have, so that no shingle is of the joint alone.
  const Sketch a = sketcher.sketch(words(0, 200));
  const Sketch b = sketcher.sketch(words(190, 400));
  MinHash both = a.shingles8;
  both.merge(b.shingles8);
  EXPECT_EQ(both, sketcher.sketch(words(0, 400)).shingles8);
}

TEST(Sketch, DensifiedHasNoEmptyBinAndKeepsWhatIsAlike) {
  const Sketcher sketcher(key_of(4));
  const MinHash sparse = sketcher.sketch(words(0, 20)).shingles5;
  ASSERT_NE(std::count(sparse.bins.begin(), sparse.bins.end(), MinHash::kEmpty), 0);
  const MinHash dense = sparse.densified();
  EXPECT_EQ(std::count(dense.bins.begin(), dense.bins.end(), MinHash::kEmpty), 0);
  EXPECT_EQ(dense, sketcher.sketch(words(0, 20)).shingles5.densified());
  // The share of equal bins of dense sketches estimates the same resemblance: 8 of 24 shingles.
  double sum = 0;
  for (int seed = 0; seed < 100; ++seed) {
    const Sketcher one(key_of(static_cast<std::uint8_t>(seed)));
    const MinHash a = one.sketch(words(0, 20)).shingles5.densified();
    const MinHash b = one.sketch(words(8, 28)).shingles5.densified();
    int equal = 0;
    for (std::size_t i = 0; i < MinHash::kBins; ++i) equal += a.bins[i] == b.bins[i] ? 1 : 0;
    sum += equal / 64.0;
  }
  EXPECT_NEAR(sum / 100, 8.0 / 24.0, 0.05);
  EXPECT_EQ(MinHash().densified(), MinHash());
}

TEST(Sketch, SimHashTellsAlikeFromUnlikeTexts) {
  const Sketcher sketcher(key_of(5));
  const std::uint64_t base = sketcher.sketch(words(0, 300)).simhash;
  EXPECT_GT(bit_agreement(base, sketcher.sketch(words(10, 310)).simhash), 0.8);
  EXPECT_NEAR(bit_agreement(base, sketcher.sketch(words(1000, 1300)).simhash), 0.5, 0.25);
}

TEST(Sketch, WordsAreThoseOfEveryScript) {
  EXPECT_EQ(count_words("Solve: 12+x = 15, please!"), 5);
  EXPECT_EQ(count_words("  \n"), 0);
  EXPECT_EQ(count_words("na\xC3\xAFve caf\xC3\xA9"), 2);
  EXPECT_EQ(count_words("\xE4\xBD\xA0\xE5\xA5\xBD ok"), 3);                 // two Chinese characters
  EXPECT_EQ(count_words("\xE2\x80\x9Cquoted\xE2\x80\x9D\xC2\xA0text"), 2);  // quotation marks, a hard space
  const Sketcher sketcher(key_of(6));
  EXPECT_EQ(sketcher.sketch("HELLO World, again").shingles5, sketcher.sketch("hello world again").shingles5);
  EXPECT_NE(sketcher.sketch("hello world").shingles5, sketcher.sketch("hello there").shingles5);  // fewer than k words
  EXPECT_EQ(sketcher.sketch("").shingles5, MinHash());
}

TEST(Sketch, ReadsItsOwnTextAndNoOther) {
  const Sketch sketch = Sketcher(key_of(7)).sketch(words(0, 50));
  const std::string text = sketch.text();
  EXPECT_EQ(text.size(), 716U);
  EXPECT_EQ(Sketch::from_text(text), sketch);
  EXPECT_FALSE(Sketch::from_text(text.substr(4)));
  EXPECT_FALSE(Sketch::from_text("no base64"));
}

TEST(Sketch, TakesAnyBytes) {
  Random random(9);
  const Sketcher sketcher(key_of(8));
  for (int i = 0; i < 300; ++i) {
    std::string bytes(random.below(200), '\0');
    for (char& c : bytes) c = static_cast<char>(random.next());
    EXPECT_EQ(sketcher.sketch(bytes).bytes, static_cast<std::int64_t>(bytes.size()));
  }
}

}  // namespace
}  // namespace retort::evidence
