#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/random.h"

namespace retort {
namespace {

std::string as_the_library(const Json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// A text of what has a form of its own: quotes, control bytes, other scripts, halves of characters.
std::string text_of(Random& random) {
  static const std::string kPieces[] = {
      "plain words ", "\"",           "\\",   "\n", std::string(1, '\0'), "\x1f", "\x7f",
      "\u00e9",       "\u65e5\u672c", "\xff", "/",  "\xe6\x97",           "",     "\U0001f600"};
  std::string text;
  for (std::uint64_t i = random.below(4); i > 0; --i) text += kPieces[random.below(std::size(kPieces))];
  return text;
}

Json value_of(Random& random, int depth) {
  switch (random.below(depth > 0 ? 9 : 7)) {
    case 0: return nullptr;
    case 1: return random.below(2) == 0;
    case 2: return static_cast<std::int64_t>(random.next());
    case 3: return random.next();
    case 4: return random.normal() * std::pow(10.0, static_cast<double>(random.below(40)) - 20);
    case 5: return text_of(random);
    case 6: return std::numeric_limits<double>::quiet_NaN();
    case 7: {
      Json array = Json::array();
      for (std::uint64_t i = random.below(4); i > 0; --i) array.push_back(value_of(random, depth - 1));
      return array;
    }
    default: {
      Json object = Json::object();
      for (std::uint64_t i = random.below(4); i > 0; --i) object[text_of(random)] = value_of(random, depth - 1);
      return object;
    }
  }
}

TEST(CanonicalJson, HasTheLibrarysBytes) {
  for (const Json& value :
       {Json(), Json("a\"b"), Json(std::numeric_limits<std::int64_t>::min()), Json(-0.0), Json(1.0), Json(0),
        Json(std::numeric_limits<std::uint64_t>::max()), Json::object(), Json::array(), Json::binary({1, 2})}) {
    EXPECT_EQ(canonical_json(value), as_the_library(value));
  }
  Random random(7);
  for (int i = 0; i < 20'000; ++i) {
    const Json value = value_of(random, 4);
    ASSERT_EQ(canonical_json(value), as_the_library(value));
  }
}

}  // namespace
}  // namespace retort
