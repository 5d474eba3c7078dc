#include "net/curl_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/version.h"
#include "net/server.h"

namespace retort::net {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<HttpServer> serve(Handler handler) {
  auto server = HttpServer::listen({}, std::move(handler));
  EXPECT_TRUE(server);
  return std::move(*server);
}

HttpCall get(const std::string& url) {
  HttpCall call;
  call.method = "GET";
  call.url = url;
  call.timeout_s = 10;
  call.idle_timeout_s = 10;
  return call;
}

// Says these bytes to whoever connects, and closes.
class RawServer {
 public:
  explicit RawServer(std::string bytes) : bytes_(std::move(bytes)), socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(socket_, 16), 0);
    socklen_t size = sizeof address;
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      while (true) {
        const int client = ::accept(socket_, nullptr, nullptr);
        if (client < 0) return;
        char buffer[4096];
        static_cast<void>(::recv(client, buffer, sizeof buffer, 0));
        static_cast<void>(::send(client, bytes_.data(), bytes_.size(), MSG_NOSIGNAL));
        ::close(client);
      }
    });
  }
  ~RawServer() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/"; }

 private:
  std::string bytes_;
  int socket_;
  int port_ = 0;
  std::thread thread_;
};

TEST(CurlTransportTest, BringsWhatWasSaidThereAndBack) {
  const auto server = serve([](HttpRequest request, const std::shared_ptr<Reply>& reply) {
    HttpResponse response = json_response(418, request.method + " " + request.path + " " + request.body + " " +
                                                   std::string(request.headers.find("x-own").value_or("?")) + " " +
                                                   std::string(request.headers.find("user-agent").value_or("?")));
    response.headers.add("X-Their-Own", "yes");
    reply->send(std::move(response));
  });
  CurlTransport transport;
  HttpCall call = get(server->url() + "/a/b");
  call.method = "POST";
  call.body = "body";
  call.headers.add("X-Own", "mine");
  const HttpOutcome outcome = perform(transport, std::move(call));
  EXPECT_EQ(outcome.trouble, Trouble::kNone) << outcome.trouble_text;
  EXPECT_EQ(outcome.status, 418);
  EXPECT_EQ(outcome.body, "POST /a/b body mine retort/" + std::string(kVersion));
  EXPECT_EQ(outcome.headers.find("x-their-own"), "yes");
  EXPECT_GT(outcome.seconds, 0);
}

TEST(CurlTransportTest, ManyCallsShareAFewConnections) {
  std::atomic<int> asked = 0;
  const auto server = serve([&](HttpRequest request, const std::shared_ptr<Reply>& reply) {
    ++asked;
    reply->send(json_response(200, request.body));
  });
  CurlTransport transport(8);
  for (std::uint64_t tag = 1; tag <= 200; ++tag) {
    HttpCall call = get(server->url() + "/");
    call.method = "POST";
    call.body = std::to_string(tag);
    transport.start(tag, std::move(call));
  }
  std::size_t ended = 0;
  std::size_t most = 0;
  while (ended < 200) {
    for (const FinishedCall& finished : transport.wait(5)) {
      ++ended;
      ASSERT_EQ(finished.outcome.status, 200) << finished.outcome.trouble_text;
      EXPECT_EQ(finished.outcome.body, std::to_string(finished.tag)) << "each answer to its own question";
    }
    most = std::max(most, server->connections());
  }
  EXPECT_EQ(asked, 200);
  EXPECT_LE(most, 8U);
}

TEST(CurlTransportTest, ACutAtEveryByteIsNeverAWholeAnswer) {
  const std::string whole =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"a\":\"bcde\"}";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const RawServer server(whole.substr(0, size));
    CurlTransport transport;
    const HttpOutcome outcome = perform(transport, get(server.url()));
    EXPECT_NE(outcome.trouble, Trouble::kNone) << size << " bytes: " << outcome.status << " " << outcome.body;
  }
  const RawServer server(whole);
  CurlTransport transport;
  EXPECT_EQ(perform(transport, get(server.url())).body, "{\"a\":\"bcde\"}");
}

TEST(CurlTransportTest, WhatIsTooLargeOrTooSlowEnds) {
  const auto server = serve([](HttpRequest request, const std::shared_ptr<Reply>& reply) {
    static std::vector<std::shared_ptr<Reply>> held;
    if (request.path == "/slow") {
      held.push_back(reply);  // never answered
    } else {
      reply->send(json_response(200, std::string(100'000, 'x')));
    }
  });
  CurlTransport transport;
  HttpCall large = get(server->url() + "/large");
  large.max_body_bytes = 50'000;
  EXPECT_EQ(perform(transport, std::move(large)).trouble, Trouble::kTooLarge);
  HttpCall slow = get(server->url() + "/slow");
  slow.timeout_s = 0.3;
  EXPECT_EQ(perform(transport, std::move(slow)).trouble, Trouble::kTimeout);
}

// Deflate gives a run of one byte in blocks that repeat: 258 bytes a code of two bits.
std::string gzip_of_zeros(std::size_t megabytes) {
  // One stored block of 65,535 zeros would be as large as it is; a fixed-Huffman block of matches isn't. Header, then a
  // literal zero and matches (length 258, distance 1) bit by bit.
  std::string bytes("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
  std::uint32_t bits = 0;
  int filled = 0;
  const auto put = [&](std::uint32_t value, int count) {
    bits |= value << filled;
    for (filled += count; filled >= 8; filled -= 8, bits >>= 8) bytes += static_cast<char>(bits & 0xff);
  };
  put(0b011, 3);       // the last block, fixed codes
  put(0b00001100, 8);  // literal 0, its code reversed
  for (std::size_t i = 0; i < megabytes * 1'000'000 / 258; ++i) {
    put(0b10100011, 8);  // length 258 (symbol 285, 11000101 reversed)
    put(0, 5);           // distance 1
  }
  put(0, 7);  // end of block
  put(0, 7);
  return bytes + std::string(8, '\0');  // a wrong checksum comes too late to matter
}

TEST(CurlTransportTest, ACompressedBombIsBounded) {
  const std::string bomb = gzip_of_zeros(80);
  ASSERT_LT(bomb.size(), 600'000U);
  const RawServer server(
      "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\n"
      "Content-Length: " +
      std::to_string(bomb.size()) + "\r\n\r\n" + bomb);
  CurlTransport transport;
  HttpCall call = get(server.url());
  call.max_body_bytes = 1'000'000;
  const HttpOutcome outcome = perform(transport, std::move(call));
  EXPECT_EQ(outcome.trouble, Trouble::kTooLarge) << outcome.trouble_text;
  EXPECT_LE(outcome.body.size(), 1'000'000U);
}

TEST(CurlTransportTest, RedirectsAreToldAndNotFollowed) {
  std::atomic<int> asked = 0;
  const auto server = serve([&](const HttpRequest&, const std::shared_ptr<Reply>& reply) {
    ++asked;
    HttpResponse response;
    response.status = 307;
    response.headers.add("Location", "/elsewhere");
    reply->send(std::move(response));
  });
  CurlTransport transport;
  EXPECT_EQ(perform(transport, get(server->url() + "/")).status, 307);
  EXPECT_EQ(asked, 1);
}

TEST(CurlTransportTest, NobodyThereIsToldAsThat) {
  CurlTransport transport;
  EXPECT_EQ(perform(transport, get("http://127.0.0.1:1/")).trouble, Trouble::kConnect);
  EXPECT_EQ(perform(transport, get("http://no-such-host.invalid/")).trouble, Trouble::kConnect);
  EXPECT_TRUE(perform(transport, get("http://127.0.0.1:1/")).nobody_listens);
  EXPECT_FALSE(perform(transport, get("http://no-such-host.invalid/")).nobody_listens);
  const auto server = serve([](const HttpRequest&, const std::shared_ptr<Reply>& reply) { reply->send({}); });
  const std::string plain = server->url();
  const HttpOutcome outcome = perform(transport, get("https" + plain.substr(4) + "/"));
  EXPECT_EQ(outcome.trouble, Trouble::kTls) << "plain where TLS was asked for: " << outcome.trouble_text;
}

TEST(CurlTransportTest, AbandonedCallsAreNotHeardOf) {
  const auto server = serve([](const HttpRequest&, const std::shared_ptr<Reply>& reply) { reply->send({}); });
  CurlTransport transport;
  transport.start(1, get(server->url() + "/"));
  transport.abandon();
  EXPECT_TRUE(transport.wait(0.05).empty());
}

}  // namespace
}  // namespace retort::net
