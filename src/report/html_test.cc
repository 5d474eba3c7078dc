#include "report/html.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace retort::report {
namespace {

TEST(Escape, MakesMarkupText) {
  EXPECT_EQ(escape("<b a=\"1\" c='2'>&</b>"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;&lt;/b&gt;");
}

TEST(Escape, ShowsControlCharacters) {
  EXPECT_EQ(escape(std::string_view("a\0b\x1b\x7f", 5)), "a␀b␛␡");
  EXPECT_EQ(escape("\xC2\x85"), "␦");  // a C1 control
  EXPECT_EQ(escape("a\n\tb"), "a\n\tb");
  EXPECT_EQ(escape_visible("a\n\tb"), "a↵⇥b");
}

TEST(Escape, SpellsOutWhatTurnsTheDirection) {
  EXPECT_EQ(escape("user\xE2\x80\xAEtxt.exe"), "user⟦U+202E⟧txt.exe");
  EXPECT_EQ(escape("\xE2\x81\xA6"), "⟦U+2066⟧");
}

TEST(Escape, KeepsOtherLettersAndReplacesBrokenBytes) {
  EXPECT_EQ(escape("naïve 日本 🙂"), "naïve 日本 🙂");
  EXPECT_EQ(escape("a\xFF"
                   "b\xC3"),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  EXPECT_EQ(escape("\xED\xA0\x80<"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD&lt;");  // a surrogate
}

TEST(NumberText, SaysAboutThreeFigures) {
  EXPECT_EQ(number_text(0), "0");
  EXPECT_EQ(number_text(0.6471), "0.65");
  EXPECT_EQ(number_text(0.5), "0.5");
  EXPECT_EQ(number_text(-3.14159), "-3.14");
  EXPECT_EQ(number_text(23.44), "23.4");
  EXPECT_EQ(number_text(759.2), "759");
  EXPECT_EQ(number_text(12345.6), "12,346");
  EXPECT_EQ(number_text(1234567), "1.23M");
  EXPECT_EQ(number_text(0.00012), "1.2e-04");
  EXPECT_EQ(number_text(std::nan("")), "—");
}

TEST(Coordinate, IsShortAndNeverNegativeZero) {
  EXPECT_EQ(coordinate(12.3456), "12.35");
  EXPECT_EQ(coordinate(-0.0001), "0");
  EXPECT_EQ(coordinate(INFINITY), "0");
}

}  // namespace
}  // namespace retort::report
