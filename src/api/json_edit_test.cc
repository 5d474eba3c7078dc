#include "api/json_edit.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "api/json_spans.h"

namespace retort::api {
namespace {

using Ordered = nlohmann::ordered_json;

TEST(JsonEdit, ChangesOneMemberAndNoOtherByte) {
  const std::string object = "{ \"a\" : 1.50,\n\t\"b\":[1, 2 ,{\"c\":\"}\\\"\"}] , \"d\\u0065\":null }";
  EXPECT_EQ(JsonEdit(object).apply(), object);
  EXPECT_EQ(JsonEdit(object).remove("a").apply(), "{ \"b\":[1, 2 ,{\"c\":\"}\\\"\"}] , \"d\\u0065\":null }");
  EXPECT_EQ(JsonEdit(object).remove("b").apply(), "{ \"a\" : 1.50 , \"d\\u0065\":null }");
  EXPECT_EQ(JsonEdit(object).remove("de").apply(), "{ \"a\" : 1.50,\n\t\"b\":[1, 2 ,{\"c\":\"}\\\"\"}] }");
  EXPECT_EQ(JsonEdit(object).set("de", "true").apply(),
            "{ \"a\" : 1.50,\n\t\"b\":[1, 2 ,{\"c\":\"}\\\"\"}] , \"d\\u0065\":true }");
  EXPECT_EQ(JsonEdit(object).set("new", "7").apply(),
            "{ \"a\" : 1.50,\n\t\"b\":[1, 2 ,{\"c\":\"}\\\"\"}] , \"d\\u0065\":null,\"new\":7 }");
  EXPECT_EQ(JsonEdit("{ }").set("x", "1").set("y\"", "2").apply(), "{\"x\":1,\"y\\\"\":2 }");
  EXPECT_EQ(JsonEdit("{\"x\":1}").remove("x").apply(), "{}");
  EXPECT_EQ(JsonEdit("{\"x\":1}").remove("x").set("x", "2").apply(), "{\"x\":2}");
}

TEST(JsonEdit, SaysWhatIsThere) {
  const JsonEdit edit("{\"a\": [1, 2] ,\"b\\n\":\"x\"}");
  EXPECT_TRUE(edit.has("a"));
  EXPECT_EQ(edit.value("a"), "[1, 2]");
  EXPECT_EQ(edit.value("b\n"), "\"x\"");
  EXPECT_FALSE(edit.has("c"));
  JsonEdit changed("{\"a\":1}");
  changed.set("a", "2").set("b", "3").set("b", "4");
  EXPECT_EQ(changed.value("a"), "2");
  EXPECT_EQ(changed.value("b"), "4");
  changed.remove("a").remove("b");
  EXPECT_FALSE(changed.has("a"));
  EXPECT_FALSE(changed.has("b"));
}

// A random value, as text with random white space and escapes.
class RandomJson {
 public:
  explicit RandomJson(unsigned seed) : random_(seed) {}

  std::size_t below(std::size_t bound) { return random_() % bound; }
  std::string space() { return std::string(below(4) == 0 ? " \n\t"[below(3)] == '\n' ? 2 : 1 : 0, ' '); }
  std::string text() {
    const std::vector<std::string> pieces = {"a",   "\\\"",    "\\\\",           "}",        "{",   ",", ":", "[", "]",
                                             "\\n", "\\u00e9", "\\ud83d\\ude00", "\xC3\xA9", "key", " "};
    std::string out = "\"";
    for (std::size_t i = below(6); i > 0; --i) out += pieces[below(pieces.size())];
    return out + "\"";
  }
  std::string value(int depth) {
    switch (below(depth > 0 ? 8 : 6)) {
      case 0: return "null";
      case 1: return "true";
      case 2: return "-1.50e+3";
      case 3: return std::to_string(below(1000));
      case 4:
      case 5: return text();
      case 6: {
        std::string out = "[" + space();
        for (std::size_t i = 0, n = below(4); i < n; ++i)
          out += (i > 0 ? "," : "") + space() + value(depth - 1) + space();
        return out + "]";
      }
      default: return object(depth - 1, 4);
    }
  }
  std::string object(int depth, std::size_t most) {
    std::string out = "{" + space();
    std::vector<std::string> keys;
    for (std::size_t i = 0, n = below(most + 1); i < n; ++i) {
      const std::string key = "\"k" + std::to_string(i) + text().substr(1);
      out += (i > 0 ? "," : "") + space() + key + space() + ":" + space() + value(depth) + space();
    }
    return out + "}";
  }

 private:
  std::mt19937 random_;
};

TEST(JsonEdit, DoesToRandomObjectsWhatADocumentTreeDoes) {
  RandomJson random(11);
  for (int round = 0; round < 4000; ++round) {
    const std::string object = random.space() + random.object(3, 6) + random.space();
    Ordered tree = Ordered::parse(object);
    JsonEdit edit(object);
    for (std::size_t step = random.below(5); step > 0; --step) {
      std::string key = "new" + std::to_string(random.below(3));
      if (!tree.empty() && random.below(3) > 0)
        key = std::next(tree.begin(), static_cast<int>(random.below(tree.size()))).key();
      if (random.below(2) == 0) {
        edit.remove(key);
        tree.erase(key);
      } else {
        const std::string value = random.value(2);
        edit.set(key, value);
        tree[key] = Ordered::parse(value);
      }
    }
    const std::string changed = edit.apply();
    const Ordered read = Ordered::parse(changed, nullptr, false);
    ASSERT_FALSE(read.is_discarded()) << object << " became " << changed;
    // The order may differ where a removed member was set again.
    EXPECT_EQ(nlohmann::json::parse(changed), nlohmann::json::parse(tree.dump())) << object << " became " << changed;
  }
}

TEST(JsonSpans, FindsWhatADocumentTreeHolds) {
  RandomJson random(12);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = random.object(4, 6);
    const Ordered tree = Ordered::parse(text);
    const JsonSpans spans(text);
    ASSERT_EQ(spans.members(spans.root()).size(), tree.size());
    for (const auto& [key, value] : tree.items()) {
      const Span place = spans.member(spans.root(), key);
      ASSERT_EQ(Ordered::parse(spans.text(place)), value) << text;
      if (value.is_array()) {
        const std::vector<Span> elements = spans.elements(place);
        ASSERT_EQ(elements.size(), value.size());
        for (std::size_t i = 0; i < elements.size(); ++i) EXPECT_EQ(Ordered::parse(spans.text(elements[i])), value[i]);
      }
      if (value.is_string()) {
        EXPECT_EQ(decoded_string(spans.text(place)), value.get<std::string>());
        EXPECT_EQ(Ordered::parse(quoted_string(value.get<std::string>())), value);
      }
    }
    EXPECT_TRUE(spans.member(spans.root(), "not there").empty());
  }
}

TEST(JsonSpans, StaysWithinTextThatIsNoJson) {
  RandomJson random(13);
  for (int round = 0; round < 5000; ++round) {
    std::string text = random.object(3, 5);
    for (std::size_t i = random.below(4) + 1; i > 0; --i)
      text[random.below(text.size())] = "\"\\{}[],:x\xFF"[random.below(10)];
    text.resize(random.below(text.size() + 1));
    const std::vector<char> exact(text.begin(), text.end());
    const std::string_view view(exact.data(), exact.size());
    const JsonSpans spans(view);
    for (const MemberSpan& member : spans.members(spans.root())) {
      ASSERT_LE(member.value.end, view.size());
      decoded_string(spans.text(member.key));
      spans.elements(member.value);
    }
    spans.member(spans.root(), "k1");
    JsonEdit(view).remove("k0").set("k1", "1").set("z", "2").apply();
  }
}

}  // namespace
}  // namespace retort::api
