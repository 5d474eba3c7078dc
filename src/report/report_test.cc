#include "report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace retort::report {
namespace {

using testing::HasSubstr;
using testing::Not;

Json example() {
  auto text = read_file(std::string(RETORT_SOURCE_DIR) + "/docs/formats/report_example.json");
  RETORT_CHECK(text.has_value());
  auto json = parse_json(*text, "the example");
  RETORT_CHECK(json.has_value());
  return *json;
}

std::string render(const Json& document) {
  auto html = render_html(document);
  EXPECT_TRUE(html) << html.error().message;
  return html.value_or("");
}

Json with_block(Json block) {
  return {{"version", 1}, {"title", "t"}, {"sections", {{{"title", "s"}, {"blocks", {std::move(block)}}}}}};
}

// Every string of a document replaced, but for those that choose (type, tone, …).
Json poisoned(const Json& value, const std::string& poison, const std::string& key = "") {
  if (value.is_string()) {
    const bool chooses = key == "type" || key == "tone" || key == "role" || key == "x_scale" || key == "y_scale";
    return chooses ? value : Json(poison);
  }
  if (value.is_array()) {
    Json list = Json::array();
    for (const Json& entry : value) list.push_back(poisoned(entry, poison, key));
    return list;
  }
  if (value.is_object()) {
    Json object = Json::object();
    for (const auto& [name, entry] : value.items()) object[name] = poisoned(entry, poison, name);
    return object;
  }
  return value;
}

// A reader of HTML just good enough to find a page's tags: complains about "<" that begins none of ours.
std::vector<std::string> tags_of(const std::string& html) {
  std::vector<std::string> tags;
  const std::size_t style = html.find("<style>");
  const std::size_t style_end = html.find("</style>");
  for (std::size_t i = html.find('<'); i != std::string::npos; i = html.find('<', i + 1)) {
    if (i > style && i < style_end) continue;
    std::size_t end = i + 1;
    while (end < html.size() &&
           (std::isalnum(static_cast<unsigned char>(html[end])) != 0 || html[end] == '/' || html[end] == '!'))
      ++end;
    tags.push_back(html.substr(i + 1, end - i - 1));
  }
  return tags;
}

TEST(Report, RendersTheExampleOfEveryBlock) {
  const std::string html = render(example());
  for (const char* part :
       {"class=\"verdict\"", "class=\"pairs\"", "<table>", "class=\"plot wide\"", "class=\"plot narrow\"", "whisker",
        "rows funnel", "rows timeline", "class=\"tokens\"", "class=\"answers\"", "<pre ", "class=\"provenance\"",
        "prefers-color-scheme:dark", "@media print"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
  // Writes the page for a person to look at.
  if (const char* path = std::getenv("RETORT_REPORT_EXAMPLE")) {
    ASSERT_TRUE(write_file(path, html));
  }
}

TEST(Report, NeedsNoNetworkAndNoScript) {
  const std::string html = render(example());
  for (const char* absent : {"<script", "http://", "https://", "src=", "@import", "url(", "<link rel=\"stylesheet"}) {
    EXPECT_THAT(html, Not(HasSubstr(absent))) << absent;
  }
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
}

TEST(Report, HostileTextStaysText) {
  const std::string poison =
      "</style></title></pre></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"' "
      "onmouseover='alert(1)\"&#60;b";
  // As long, so that nothing is laid out in another way.
  const Json clean = poisoned(example(), std::string(poison.size(), 'w'));
  const std::string html = render(poisoned(example(), poison));
  // Not one tag more, of any kind.
  EXPECT_EQ(tags_of(html), tags_of(render(clean)));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  // No quote that would end an attribute: the poison's own stands escaped everywhere.
  EXPECT_THAT(html, Not(HasSubstr("onerror=alert(1)>\"")));
  EXPECT_THAT(html, HasSubstr("&#39;alert(1)&quot;&amp;#60;b"));
}

TEST(Report, EveryTagIsClosed) {
  const std::string html = render(example());
  std::vector<std::string> open;
  const std::size_t style = html.find("<style>");
  const std::size_t style_end = html.find("</style>");
  for (std::size_t i = html.find('<'); i != std::string::npos; i = html.find('<', i + 1)) {
    if (i > style && i < style_end) continue;
    const std::size_t end = html.find('>', i);
    std::string tag = html.substr(i + 1, end - i - 1);
    if (tag[0] == '!' || tag.back() == '/') continue;
    const bool closes = tag[0] == '/';
    const std::string name = tag.substr(closes ? 1 : 0, tag.find_first_of(" \n", 1) - (closes ? 1 : 0));
    if (name == "meta" || name == "link" || name == "br") continue;
    if (!closes) {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << name;
    ASSERT_EQ(open.back(), name) << html.substr(i > 200 ? i - 200 : 0, 260);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

TEST(Report, PlotsCarryTitleAndDescription) {
  const std::string html = render(example());
  std::size_t plots = 0;
  for (std::size_t i = html.find("<svg class=\"plot"); i != std::string::npos;
       i = html.find("<svg class=\"plot", i + 1)) {
    const std::string svg = html.substr(i, html.find("</svg>", i) - i);
    EXPECT_THAT(svg, HasSubstr("role=\"img\""));
    EXPECT_THAT(svg, HasSubstr("<title id="));
    EXPECT_THAT(svg, HasSubstr("<desc id="));
    ++plots;
  }
  EXPECT_GE(plots, 4U);
}

TEST(Report, DrawsAGapWhereAPointIsNull) {
  const std::string html =
      render(with_block({{"type", "line_chart"},
                         {"title", "t"},
                         {"x_label", "x"},
                         {"y_label", "y"},
                         {"series", {{{"name", "a"}, {"points", {{0, 1}, {1, 2}, {2, nullptr}, {3, 1}, {4, 2}}}}}}}));
  const std::size_t path = html.find("<path d=\"M", html.find("class=\"curve"));
  const std::string d = html.substr(path, html.find("\"/>", path) - path);
  EXPECT_EQ(std::count(d.begin(), d.end(), 'M'), 2);
}

TEST(Report, EmptyChartsSaySo) {
  EXPECT_THAT(
      render(with_block(
          {{"type", "line_chart"}, {"title", "t"}, {"x_label", "x"}, {"y_label", "y"}, {"series", Json::array()}})),
      HasSubstr("Nothing was recorded."));
  EXPECT_THAT(render(with_block({{"type", "bar_chart"}, {"title", "t"}, {"bars", Json::array()}})),
              HasSubstr("Nothing was measured."));
}

TEST(Report, LongCurvesAreThinnedButKeepTheirPeaks) {
  Json points = Json::array();
  for (int i = 0; i < 20000; ++i) points.push_back({i, i == 12345 ? 9.0 : 1.0});
  const std::string html = render(with_block({{"type", "line_chart"},
                                              {"title", "t"},
                                              {"x_label", "x"},
                                              {"y_label", "y"},
                                              {"series", {{{"name", "a"}, {"points", points}}}}}));
  EXPECT_LT(html.size(), 60000U);
  EXPECT_THAT(html, HasSubstr(">10</text>"));  // the axis still reaches the peak
}

TEST(Report, RefusesWhatTheGrammarDoesNotKnow) {
  const auto message = [](const Json& document) {
    const auto html = render_html(document);
    EXPECT_FALSE(html);
    return html ? std::string() : html.error().message;
  };
  EXPECT_THAT(message(with_block({{"type", "line_chrat"}})),
              HasSubstr("section 1, block 1: there is no block 'line_chrat'; did you mean 'line_chart'?"));
  EXPECT_THAT(message(with_block({{"type", "text"}})), HasSubstr("(text): 'text' is missing, expected a string"));
  EXPECT_THAT(message(with_block({{"type", "text"}, {"text", 3}})), HasSubstr("'text' is number, expected a string"));
  EXPECT_THAT(
      message(with_block({{"type", "bar_chart"}, {"title", "t"}, {"bars", {{{"label", "a"}, {"value", "high"}}}}})),
      HasSubstr("'bars[].value' is string, expected a number"));
  EXPECT_THAT(
      message(with_block({{"type", "verdict"}, {"lines", {{{"figure", "1"}, {"headline", "h"}, {"tone", "red"}}}}})),
      HasSubstr("\"good\", \"neutral\" or \"bad\""));
  Json newer = with_block({{"type", "text"}, {"text", "x"}});
  newer["version"] = 2;
  EXPECT_THAT(message(newer), HasSubstr("version 2"));
  EXPECT_THAT(message(Json::array()), HasSubstr("not a JSON object"));
}

// Any member of the example taken out or turned into another type is either refused or rendered: never a crash.
TEST(Report, SurvivesEverySmallDamage) {
  const Json document = example();
  const Json flat = document.flatten();
  int refused = 0;
  for (const auto& [path, value] : flat.items()) {
    for (const Json& other : {Json(nullptr), Json(7), Json("x"), Json::array(), Json::object(), Json(true)}) {
      Json damaged = document;
      damaged[Json::json_pointer(path)] = other;
      if (!render_html(damaged)) ++refused;
    }
    if (refused > 400) break;  // enough; the page is rendered anew each time
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace retort::report
