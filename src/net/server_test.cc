#include "net/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace retort::net {
namespace {

using std::chrono::milliseconds;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A client that says exactly what it is told to.
class Client {
 public:
  explicit Client(std::uint16_t port, int receive_buffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int at_once = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    connected = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { leave(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void say(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t sent = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // Until `end` was heard, the server closed, or five seconds passed.
  std::string hear(std::string_view end) {
    while (heard_.find(end) == std::string::npos && more()) {
    }
    const std::size_t found = heard_.find(end);
    const std::size_t size = found == std::string::npos ? heard_.size() : found + end.size();
    std::string text = heard_.substr(0, size);
    heard_.erase(0, size);
    return text;
  }
  std::string hear_all() {
    while (more()) {
    }
    return std::exchange(heard_, "");
  }
  void leave() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  bool connected = false;
  bool closed = false;  // by the server

 private:
  bool more() {
    pollfd waiting{socket_, POLLIN, 0};
    if (closed || poll(&waiting, 1, 5000) <= 0) return false;
    char bytes[4096];
    const ssize_t count = ::recv(socket_, bytes, sizeof bytes, 0);
    closed = count <= 0;
    if (count > 0) heard_.append(bytes, static_cast<std::size_t>(count));
    return !closed;
  }
  int socket_;
  std::string heard_;
};

// Answers with what it was asked, or as the path says.
class EchoServer {
 public:
  explicit EchoServer(ServerOptions options = {}) {
    auto listening = HttpServer::listen(std::move(options), [this](HttpRequest request, std::shared_ptr<Reply> reply) {
      handle(std::move(request), std::move(reply));
    });
    EXPECT_TRUE(listening) << listening.error().message;
    server = std::move(*listening);
  }

  void handle(HttpRequest request, std::shared_ptr<Reply> reply) {
    reply->on_gone([this] {
      const std::lock_guard lock(mutex);
      ++gone;
      changed.notify_all();
    });
    if (request.path == "/drop") return;
    if (request.path == "/throw") throw std::runtime_error("a mistake");
    if (request.path == "/handover") {
      reply->begin({.status = 200, .headers = {}, .body = "one"});
      std::thread([&] {
        reply->write("two");
        reply->finish();
      }).join();
      return;
    }
    if (request.path == "/keep" || request.path == "/stream") {
      if (request.path == "/stream") reply->begin({.status = 200, .headers = {}, .body = "one"});
      const std::lock_guard lock(mutex);
      kept.push_back(std::move(reply));
      changed.notify_all();
      return;
    }
    if (request.path == "/large") {
      reply->send({.status = 200, .headers = {}, .body = std::string(std::size_t{64} << 20U, 'x')});
      return;
    }
    reply->send({.status = 200,
                 .headers = {},
                 .body = request.method + request.path + "?" + request.query + "=" + request.body});
  }
  std::shared_ptr<Reply> take() {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(5), [this] { return !kept.empty(); });
    EXPECT_FALSE(kept.empty());
    auto reply = std::move(kept.front());
    kept.erase(kept.begin());
    return reply;
  }
  bool wait_gone(int count) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(5), [&] { return gone >= count; });
  }
  bool wait_connections(std::size_t count) const {
    for (int i = 0; i < 500; ++i) {
      if (server->connections() == count) return true;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::shared_ptr<Reply>> kept;
  int gone = 0;
  std::unique_ptr<HttpServer> server;  // last: its thread ends before what it uses
};

const std::string kPost = "POST /a%20b?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
const std::string kChunked =
    "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n";

TEST(ServerTest, EverySplitPointGivesTheSameRequest) {
  EchoServer echo;
  for (const std::string& request : {kPost, kChunked}) {
    const std::string expected = &request == &kPost || request == kPost ? "POST/a%20b?q=1=hello" : "POST/c?=hello";
    Client client(echo.server->port());
    for (std::size_t i = 1; i < request.size(); ++i) {
      client.say(request.substr(0, i));
      if (i % 8 == 0) std::this_thread::sleep_for(milliseconds(1));  // or the pieces may arrive as one
      client.say(request.substr(i));
      EXPECT_THAT(client.hear(expected), EndsWith("\r\n\r\n" + expected)) << i;
    }
  }
}

TEST(ServerTest, ByteByByte) {
  EchoServer echo;
  Client client(echo.server->port());
  for (const char byte : kPost) {
    client.say(std::string(1, byte));
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_THAT(client.hear("=hello"), StartsWith("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n"));
}

TEST(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  EchoServer echo;
  Client client(echo.server->port());
  client.say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n" + kPost + "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  echo.take()->send({.status = 404, .headers = {}, .body = "first"});
  EXPECT_THAT(client.hear("first"), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  client.hear("=hello");
  client.hear("GET/2?=");
  EXPECT_FALSE(client.closed);
}

TEST(ServerTest, StreamsInChunks) {
  EchoServer echo;
  Client client(echo.server->port());
  client.say("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.hear("3\r\none\r\n"), HasSubstr("Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n"))
      << "the first piece is not held back";
  const auto reply = echo.take();
  reply->write("");
  reply->write("sixteen letters!");
  EXPECT_EQ(client.hear("!\r\n"), "10\r\nsixteen letters!\r\n");
  reply->finish();
  EXPECT_EQ(client.hear("0\r\n\r\n"), "0\r\n\r\n");
  client.say(kPost);
  EXPECT_THAT(client.hear("=hello"), EndsWith("=hello")) << "the connection is kept";
}

TEST(ServerTest, AReplyKeepsTheOrderOfItsCallsAcrossThreads) {
  EchoServer echo;
  Client client(echo.server->port());
  client.say("GET /handover HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.hear("\r\n0\r\n\r\n"), EndsWith("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
}

TEST(ServerTest, AnOldClientGetsTheStreamUntilTheEnd) {
  EchoServer echo;
  Client client(echo.server->port());
  client.say("GET /stream HTTP/1.0\r\n\r\n");
  const auto reply = echo.take();
  reply->write("two");
  reply->finish();
  const std::string text = client.hear_all();
  EXPECT_THAT(text, EndsWith("Connection: close\r\n\r\nonetwo"));
  EXPECT_TRUE(client.closed);
}

TEST(ServerTest, ACutStreamHasNoEnd) {
  EchoServer echo;
  Client client(echo.server->port());
  client.say("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  echo.take()->cut();
  EXPECT_THAT(client.hear_all(), EndsWith("3\r\none\r\n"));
  EXPECT_TRUE(client.closed);
}

TEST(ServerTest, WhatNobodyAnswersIs500) {
  EchoServer echo;
  for (const char* path : {"/drop", "/throw"}) {
    Client client(echo.server->port());
    client.say("GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.hear("program.\n"), StartsWith("HTTP/1.1 500 ")) << path;
  }
}

TEST(ServerTest, RefusesWhatIsTooLargeOrNotHttp) {
  ServerOptions options;
  options.max_body_bytes = 10;
  options.max_header_bytes = 200;
  options.error_response = [](int status, std::string_view sentence) {
    return json_response(status, "{" + std::string(sentence) + "}");
  };
  EchoServer echo(options);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello hello", "413"},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello hello\r\n0\r\n\r\n", "413"},
      {"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(300, 'y') + "\r\n\r\n", "431"},
      {"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(300, 'y'), "431"},
      {"GET /" + std::string(300, 'y'), "431"},
      {"\x16\x03\x01\x02", "400"},
      {"GET / HTTP/3.1\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "400"},
      {"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
  };
  for (const auto& [request, status] : cases) {
    Client client(echo.server->port());
    client.say(request);
    const std::string text = client.hear_all();
    EXPECT_THAT(text, StartsWith("HTTP/1.1 " + status)) << request;
    EXPECT_THAT(text, HasSubstr("Connection: close\r\n")) << request;
    EXPECT_THAT(text, HasSubstr("\r\n\r\n{")) << "in the API's own form";
    EXPECT_TRUE(client.closed) << request;
  }
}

TEST(ServerTest, ARefusalReachesAClientThatIsStillSending) {
  ServerOptions options;
  options.max_body_bytes = 1000;
  EchoServer echo(options);
  Client client(echo.server->port());
  client.say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n");
  client.say(std::string(8'000'000, 'x'));
  EXPECT_THAT(client.hear("here.\n"), StartsWith("HTTP/1.1 413 "));
}

TEST(ServerTest, SaysContinueWhenAskedTo) {
  EchoServer echo;
  Client client(echo.server->port());
  client.say("POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(client.hear("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.say("hello");
  EXPECT_THAT(client.hear("=hello"), StartsWith("HTTP/1.1 200"));
}

TEST(ServerTest, SlowClientsRunOutOfTime) {
  ServerOptions options;
  options.header_timeout = options.body_timeout = options.idle_timeout = milliseconds(100);
  EchoServer echo(options);
  for (const std::size_t part : {std::size_t{10}, kPost.size() - 2}) {
    Client client(echo.server->port());
    client.say(kPost.substr(0, part));
    EXPECT_THAT(client.hear_all(), StartsWith("HTTP/1.1 408 ")) << part;
    EXPECT_TRUE(client.closed);
  }
  Client silent(echo.server->port());
  EXPECT_EQ(silent.hear_all(), "");
  EXPECT_TRUE(silent.closed) << "an idle connection is closed without a word";
}

TEST(ServerTest, AClientThatReadsNothingIsCutOff) {
  ServerOptions options;
  options.write_timeout = milliseconds(150);
  EchoServer echo(options);
  Client client(echo.server->port(), 4096);
  client.say("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(echo.wait_connections(1));
  EXPECT_TRUE(echo.wait_connections(0));
}

TEST(ServerTest, AStreamNobodyReadsIsBounded) {
  ServerOptions options;
  options.max_unsent_bytes = 100'000;
  EchoServer echo(options);
  Client client(echo.server->port(), 4096);
  client.say("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto reply = echo.take();
  for (int i = 0; i < 1000; ++i) reply->write(std::string(50'000, 'x'));
  EXPECT_TRUE(echo.wait_gone(1));
}

TEST(ServerTest, TheHandlerHearsThatTheClientLeft) {
  EchoServer echo;
  {
    Client client(echo.server->port());
    client.say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto reply = echo.take();
    client.leave();
    EXPECT_TRUE(echo.wait_gone(1));
    reply->send({});  // does nothing
  }
  Client client(echo.server->port());
  client.say(kPost);
  client.hear("=hello");
  client.leave();
  EXPECT_TRUE(echo.wait_connections(0));
  EXPECT_EQ(echo.gone, 1) << "leaving after the answer is nobody's business";
}

TEST(ServerTest, DrainingAnswersWhatIsUnderWayAndRefusesTheRest) {
  EchoServer echo;
  const std::uint16_t port = echo.server->port();
  Client idle(port);
  Client busy(port);
  Client streaming(port);
  busy.say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto kept = echo.take();
  streaming.say("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto stream = echo.take();
  EXPECT_TRUE(echo.wait_connections(3));
  std::atomic<bool> drained = false;
  std::thread drain([&] {
    echo.server->drain();
    drained = true;
  });
  EXPECT_EQ(idle.hear_all(), "");
  EXPECT_TRUE(idle.closed);
  EXPECT_FALSE(Client(port).connected);
  EXPECT_FALSE(drained);
  kept->send({.status = 200, .headers = {}, .body = "late"});
  EXPECT_THAT(busy.hear_all(), EndsWith("Connection: close\r\n\r\nlate"));
  stream->write("two");
  stream->finish();
  EXPECT_THAT(streaming.hear_all(), EndsWith("two\r\n0\r\n\r\n"));
  drain.join();
}

TEST(ServerTest, AReplyOutlivesItsServer) {
  std::shared_ptr<Reply> reply;
  {
    EchoServer echo;
    Client client(echo.server->port());
    client.say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
    reply = echo.take();
  }
  bool gone = false;
  reply->on_gone([&] { gone = true; });
  reply->send({});
  EXPECT_TRUE(gone);
}

// What it waited for comes to an end after it is gone: an address sanitizer sees whether anything is left to come to.
TEST(ServerTest, AServerMayGoBeforeItsThread) {
  const auto thread = std::make_shared<NetworkThread>();
  for (int i = 0; i < 50; ++i) {
    auto server = HttpServer::listen(
        {}, [](const HttpRequest&, const std::shared_ptr<Reply>&) {}, thread);
    ASSERT_TRUE(server);
    Client client((*server)->port());
    EXPECT_TRUE(client.connected);
    server->reset();
  }
}

TEST(ServerTest, MoreConnectionsThanAllowedWait) {
  ServerOptions options;
  options.max_connections = 1;
  EchoServer echo(options);
  Client first(echo.server->port());
  first.say(kPost);
  first.hear("=hello");
  Client second(echo.server->port());
  second.say(kPost);
  EXPECT_EQ(echo.server->connections(), 1U);
  first.leave();
  EXPECT_THAT(second.hear("=hello"), EndsWith("=hello"));
}

TEST(ServerTest, ATakenPortAndAnUnknownHostAreSaid) {
  EchoServer echo;
  ServerOptions options;
  options.port = echo.server->port();
  const auto taken = HttpServer::listen(options, {});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().fault, Fault::kCaller);
  EXPECT_THAT(taken.error().message, HasSubstr("choose another port"));
  ServerOptions nowhere;
  nowhere.host = "no such host";
  ASSERT_FALSE(HttpServer::listen(nowhere, {}));
  EXPECT_EQ(echo.server->url(), "http://127.0.0.1:" + std::to_string(echo.server->port()));
}

}  // namespace
}  // namespace retort::net
