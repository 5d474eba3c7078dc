#include "base/utf8.h"

#include <gtest/gtest.h>

namespace retort {
namespace {

TEST(RepairedUtf8, KeepsTextAndReplacesOtherBytes) {
  EXPECT_EQ(repaired_utf8(""), "");
  EXPECT_EQ(repaired_utf8("h\xC3\xA9 \"\n"), "h\xC3\xA9 \"\n");
  EXPECT_EQ(repaired_utf8("a\xFFz"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(repaired_utf8("a\xC3"), "a\xEF\xBF\xBD");
}

}  // namespace
}  // namespace retort
