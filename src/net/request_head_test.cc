#include "net/request_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::net {
namespace {

using ::testing::HasSubstr;

std::string head(const std::string& lines) { return "POST /v1/x HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n"; }

TEST(RequestHead, TakesWhatEverybodyReadsAlike) {
  for (const std::string& fine :
       {head(""), head("Content-Length: 12\r\n"), head("transfer-encoding:\tChunked \r\n"), head("X: \xc3\xa9\r\n"),
        std::string("GET / HTTP/1.0\r\n\r\n"), std::string("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n")}) {
    EXPECT_EQ(request_head_fault(fine), std::nullopt) << fine;
  }
}

TEST(RequestHead, RefusesWhatTwoReadersMayReadInTwoWays) {
  const std::vector<std::pair<std::string, std::string>> corpus = {
      {head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "both"},
      {head("Content-Length: 5\r\nContent-Length: 6\r\n"), "more than one Content-Length"},
      {head("Content-Length: 5\r\nContent-Length: 5\r\n"), "more than one Content-Length"},
      {head("Content-Length: 5, 5\r\n"), "not a number"},
      {head("Content-Length: +5\r\n"), "not a number"},
      {head("Content-Length: 0x5\r\n"), "not a number"},
      {head("Content-Length:\r\n"), "not a number"},
      {head("Content-Length: 9999999999999999999\r\n"), "not a number"},
      {head("Transfer-Encoding: identity\r\n"), "not 'chunked'"},
      {head("Transfer-Encoding: gzip, chunked\r\n"), "not 'chunked'"},
      {head("Transfer-Encoding: xchunked\r\n"), "not 'chunked'"},
      {head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "more than one Transfer-Encoding"},
      {head("Transfer-Encoding : chunked\r\n"), "name"},
      {head("Transfer-Encoding\r\n: chunked\r\n"), "no colon"},
      {head(" Transfer-Encoding: chunked\r\n"), "folded"},
      {head("X: a\r\n\tb\r\n"), "folded"},
      {head("X: a\rTransfer-Encoding: chunked\r\n"), "control"},
      {head("X: a\nTransfer-Encoding: chunked\r\n"), "control"},
      {head(std::string("X: a\0b\r\n", 8)), "control"},
      {head("Host: b\r\n"), "more than one Host"},
      {"POST /v1/x HTTP/1.1\r\n\r\n", "no Host"},
      {"POST  /v1/x HTTP/1.1\r\nHost: a\r\n\r\n", "space"},
      {"POST http://b/v1/x HTTP/1.1\r\nHost: a\r\n\r\n", "begin with '/'"},
      {"POST /v1/x HTTP/1.1 \r\nHost: a\r\n\r\n", "only HTTP"},
      {"POST /v1/x HTTP/2.0\r\nHost: a\r\n\r\n", "only HTTP"},
      {"POST /v1/x\r\nHost: a\r\n\r\n", "first line"},
      {"P(ST /v1/x HTTP/1.1\r\nHost: a\r\n\r\n", "method"},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"},
      {"POST / HTTP/1.1\nHost: a\n\n", "CR LF"},
      {"POST / HTTP/1.1\r\nHost: a\n\r\n", "CR LF"},
      {"\r\n\r\n", "first line"},
  };
  for (const auto& [bytes, why] : corpus) {
    const auto fault = request_head_fault(bytes);
    ASSERT_TRUE(fault.has_value()) << bytes;
    EXPECT_THAT(*fault, HasSubstr(why)) << bytes;
  }
}

TEST(RequestHead, EndsAtTheEmptyLineOfEitherKind) {
  EXPECT_EQ(request_head_end("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"), 27U);
  EXPECT_EQ(request_head_end("a\n\nb\r\n\r\n"), 3U);
  EXPECT_EQ(request_head_end("a\n\r\nb\r\n\r\n"), 4U);
  EXPECT_EQ(request_head_end("a\r\n\r"), std::string_view::npos);
  EXPECT_EQ(request_head_end(""), std::string_view::npos);
  for (const char* fine : {"", "P", "POST", "POST /v"}) EXPECT_TRUE(may_become_request(fine)) << fine;
  for (const char* not_http : {"\x16\x03\x01", "\r\n", " GET", "{\"a\": 1}"})
    EXPECT_FALSE(may_become_request(not_http));
}

}  // namespace
}  // namespace retort::net
