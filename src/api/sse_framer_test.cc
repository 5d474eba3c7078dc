#include "api/sse_framer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "net/sse.h"

namespace retort::api {
namespace {

struct Taken {
  std::string raw, type, data;
  int data_lines = 0;
  bool operator==(const Taken&) const = default;
};

std::vector<Taken> events_of(const std::vector<std::string_view>& pieces, std::string* rest = nullptr) {
  std::vector<Taken> events;
  SseFramer framer;
  const auto take = [&](const FramedEvent& event) {
    events.push_back({std::string(event.raw), std::string(event.type), std::string(event.data), event.data_lines});
  };
  for (const std::string_view piece : pieces) {
    // A copy in memory of its own size: a read beyond the piece is seen by the sanitizer.
    const std::vector<char> copy(piece.begin(), piece.end());
    EXPECT_TRUE(framer.feed({copy.data(), copy.size()}, take).has_value());
  }
  framer.end(take);
  if (rest != nullptr) *rest = framer.rest();
  return events;
}

const std::vector<std::string>& streams() {
  static const std::vector<std::string> all = {
      "data: {\"a\":1}\n\ndata: {\"b\":2}\n\ndata: [DONE]\n\n",
      "event: message_start\r\ndata: {\"type\":\"message_start\"}\r\n\r\nevent: ping\r\ndata: {}\r\n\r\n",
      "data: one\r\rdata: two\r\r",
      "event: a\rdata: 1\n\r\ndata: 2\r\n\ndata: 3\n\r",
      ": ping\n\n: another\nid: 7\nretry: 10\ndata: x\n\n\n\ndata: y\n\n",
      "data: first\ndata: second\ndata\ndata:third\n\nevent:only type\n\n",
      "data: \xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\n\ndata: \xE4\xB8\xAD\r\n\r\n",
      "\xEF\xBB\xBF"
      "data: after a byte order mark\n\n\xEF\xBB\xBF"
      "data: not a mark\n\n",
      "\xEF\xBB\xBF\n\ndata: x\n\n",
      "\r\n\r\ndatax: no\ndata : no\ndata: yes\n\n",
      "data: cut\n\ndata: never ended\n",
  };
  return all;
}

TEST(SseFramer, ReadsWhatTheStandardSays) {
  for (const std::string& stream : streams()) {
    const std::vector<net::SseEvent> expected = net::parse_sse(stream);
    std::vector<net::SseEvent> got;
    for (const Taken& event : events_of({stream})) {
      if (event.data_lines > 0) got.push_back({event.type.empty() ? "message" : event.type, event.data});
    }
    ASSERT_EQ(got.size(), expected.size()) << stream;
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].type, expected[i].type);
      EXPECT_EQ(got[i].data, expected[i].data);
    }
  }
}

TEST(SseFramer, GivesTheSameEventsAtEverySplit) {
  for (const std::string& stream : streams()) {
    std::string rest;
    const std::vector<Taken> whole = events_of({stream}, &rest);
    std::string bytes;
    for (const Taken& event : whole) bytes += event.raw;
    EXPECT_EQ(bytes + rest, stream);
    const std::string_view view = stream;
    for (std::size_t i = 0; i <= view.size(); ++i) {
      for (std::size_t j = i; j <= view.size(); ++j) {
        EXPECT_EQ(events_of({view.substr(0, i), view.substr(i, j - i), view.substr(j)}), whole)
            << stream << " split at " << i << " and " << j;
      }
    }
    std::vector<std::string_view> single;
    for (std::size_t i = 0; i < view.size(); ++i) single.push_back(view.substr(i, 1));
    EXPECT_EQ(events_of(single), whole);
  }
}

TEST(SseFramer, EndsLinesOfRandomBytesAsTheParserDoes) {
  std::mt19937 random(7);
  const std::string letters = "\n\n\r\r:d ";
  for (int round = 0; round < 3000; ++round) {
    std::string stream;
    while (stream.size() < 40) {
      stream += random() % 4 == 0 ? std::string("data: x") : std::string(1, letters[random() % letters.size()]);
    }
    std::vector<std::string> expected;
    for (const net::SseEvent& event : net::parse_sse(stream)) expected.push_back(event.data);
    std::vector<std::string> got;
    std::string bytes;
    const std::size_t split = random() % stream.size();
    const std::string_view view = stream;
    std::string rest;
    for (const Taken& event : events_of({view.substr(0, split), view.substr(split)}, &rest)) {
      if (event.data_lines > 0) got.push_back(event.data);
      bytes += event.raw;
    }
    EXPECT_EQ(got, expected) << stream;
    EXPECT_EQ(bytes + rest, stream);
  }
}

TEST(SseFramer, RefusesAnEventBeyondTheCapAtEverySplit) {
  const std::string stream = "data: ok\n\ndata: 0123456789\n\ndata: later\n\n";
  for (std::size_t split = 0; split <= stream.size(); ++split) {
    SseFramer framer(16);
    std::string taken;
    const auto take = [&](const FramedEvent& event) { taken += event.raw; };
    const Result<void> first = framer.feed(std::string_view(stream).substr(0, split), take);
    const Result<void> second = framer.feed(std::string_view(stream).substr(split), take);
    ASSERT_FALSE(second.has_value()) << split;
    EXPECT_EQ(second.error().fault, Fault::kWorld);
    EXPECT_EQ(taken, "data: ok\n\n") << split;
    EXPECT_FALSE(framer.feed("data: x\n\n", take).has_value()) << "it stays refused";
    EXPECT_TRUE(first.has_value() || split > 26);
  }
  SseFramer framer(18);
  int count = 0;
  EXPECT_TRUE(framer.feed(stream, [&](const FramedEvent&) { ++count; }).has_value()) << "an event as large as the cap";
  EXPECT_EQ(count, 3);
}

TEST(SseFramer, ReadsALongLineInSmallPiecesOnce) {
  // Quadratic work would take minutes here.
  SseFramer framer;
  std::string piece(1000, 'x');
  std::size_t bytes = 0;
  const auto take = [&](const FramedEvent& event) { bytes = event.data.size(); };
  ASSERT_TRUE(framer.feed("data: ", take).has_value());
  for (int i = 0; i < 8000; ++i) ASSERT_TRUE(framer.feed(piece, take).has_value());
  ASSERT_TRUE(framer.feed("\n\n", take).has_value());
  EXPECT_EQ(bytes, 8'000'000U);
}

}  // namespace
}  // namespace retort::api
