#include "net/upstream.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "net/server.h"

namespace retort::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A server that says exactly what it is told to: to the n-th request of any connection the n-th answer, a byte at a
// time where asked, and closes where an answer is followed by nothing more.
class TellingServer {
 public:
  struct Answer {
    std::string bytes;
    bool close = false;
    bool byte_by_byte = false;
  };
  explicit TellingServer(std::vector<Answer> answers) : answers_(std::move(answers)) {
    listening_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(listening_, reinterpret_cast<const sockaddr*>(&address), size);
    ::listen(listening_, 16);
    ::getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~TellingServer() {
    ending_ = true;
    thread_.join();
    ::close(listening_);
  }
  TellingServer(const TellingServer&) = delete;
  TellingServer& operator=(const TellingServer&) = delete;
  // Nobody connects any more. While an answer is still to be given: nothing waits for a connection then.
  void close_listener() { ::shutdown(listening_, SHUT_RDWR); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }

  std::uint16_t port = 0;
  std::vector<std::string> heard;  // after the end
  int accepted = 0;

 private:
  bool wait(int socket) const {
    while (!ending_) {
      pollfd waiting{socket, POLLIN, 0};
      if (poll(&waiting, 1, 20) > 0) return true;
    }
    return false;
  }
  void serve() {
    std::size_t next = 0;
    while (next < answers_.size() && wait(listening_)) {
      const int socket = ::accept(listening_, nullptr, nullptr);
      ++accepted;
      while (next < answers_.size() && wait(socket)) {
        char bytes[65536];
        const ssize_t count = ::recv(socket, bytes, sizeof bytes, 0);
        if (count <= 0) break;
        heard.emplace_back(bytes, static_cast<std::size_t>(count));
        const Answer& answer = answers_[next++];
        const std::size_t step = answer.byte_by_byte ? 1 : answer.bytes.size();
        for (std::size_t at = 0; at < answer.bytes.size(); at += step) {
          ::send(socket, answer.bytes.data() + at, std::min(step, answer.bytes.size() - at), MSG_NOSIGNAL);
          if (answer.byte_by_byte) std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
        if (answer.close) break;
      }
      ::close(socket);
    }
  }
  std::vector<Answer> answers_;
  int listening_ = -1;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

struct Heard : UpstreamListener {
  void on_head(HttpResponse head) override { status = head.status, headers = std::move(head.headers); }
  void on_body(std::string_view piece) override { body += piece, ++pieces; }
  void on_end() override { end("end"); }
  void on_trouble(Trouble trouble, const std::string& text) override {
    end(std::string(name_of(trouble)));
    sentence = text;
  }
  void end(std::string how) {
    ended = std::move(how);
    done.set_value();
  }
  int status = 0;
  Headers headers;
  std::string body, ended, sentence;
  int pieces = 0;
  std::promise<void> done;
};

class UpstreamTest : public ::testing::Test {
 public:
  void open(const std::string& url, UpstreamOptions options = {}) {
    options.origin = Origin::parse(url).value();
    auto made = UpstreamPool::create(std::move(options), thread);
    ASSERT_TRUE(made) << made.error().message;
    pool = std::move(*made);
  }
  std::shared_ptr<Heard> ask(HttpRequest request) {
    auto heard = std::make_shared<Heard>();
    auto done = heard->done.get_future();
    thread->post([this, request = std::move(request), heard]() mutable { pool->start(std::move(request), heard); });
    EXPECT_EQ(done.wait_for(std::chrono::seconds(10)), std::future_status::ready);
    return heard;
  }
  void TearDown() override {
    std::promise<void> closed;
    thread->post([&] {
      pool.reset();
      closed.set_value();
    });
    closed.get_future().wait();
  }
  std::shared_ptr<NetworkThread> thread = std::make_shared<NetworkThread>();
  std::unique_ptr<UpstreamPool> pool;
};

HttpRequest post(const std::string& body) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/v1/x";
  request.query = "beta=true";
  request.headers.add("Content-Type", "application/json");
  request.body = body;
  return request;
}

constexpr std::string_view kSized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello";
constexpr std::string_view kChunked =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n";

TEST_F(UpstreamTest, AsksInItsOwnFramingAndUsesAConnectionAgain) {
  TellingServer server({{std::string(kSized)}, {std::string(kChunked)}, {std::string(kSized)}});
  open(server.url() + "/base/");
  for (int i = 0; i < 3; ++i) {
    const auto heard = ask(post("{}"));
    EXPECT_EQ(heard->ended, "end") << heard->sentence;
    EXPECT_EQ(heard->status, 200);
    EXPECT_EQ(heard->body, "hello");
  }
  EXPECT_EQ(server.accepted, 1);
  EXPECT_EQ(server.heard.at(0), "POST /base/v1/x?beta=true HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.port) +
                                    "\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
}

TEST_F(UpstreamTest, TakesAnswersInAnyPieces) {
  for (const std::string_view answer : {kSized, kChunked}) {
    TellingServer server({{std::string(answer), false, true}});
    open(server.url());
    const auto heard = ask(post("{}"));
    EXPECT_EQ(heard->ended, "end") << heard->sentence;
    EXPECT_EQ(heard->body, "hello");
    EXPECT_GE(heard->pieces, 2);
    TearDown();
  }
}

// An answer cut at every byte is never taken for a whole one.
TEST_F(UpstreamTest, AnAnswerCutAnywhereIsTrouble) {
  for (const std::string_view answer : {kSized, kChunked}) {
    std::vector<TellingServer::Answer> cut;
    for (std::size_t size = 1; size < answer.size(); ++size) cut.push_back({std::string(answer.substr(0, size)), true});
    TellingServer server(cut);
    open(server.url());
    for (std::size_t size = 1; size < answer.size(); ++size) {
      const auto heard = ask(post("{}"));
      EXPECT_EQ(heard->ended, name_of(Trouble::kCut)) << size << " " << heard->sentence;
    }
    TearDown();
  }
}

TEST_F(UpstreamTest, AConnectionClosedInBetweenIsNotUsed) {
  TellingServer server({{std::string(kSized), true}, {std::string(kSized), true}});
  open(server.url());
  EXPECT_EQ(ask(post("{}"))->ended, "end");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(ask(post("{}"))->ended, "end");
  EXPECT_EQ(server.accepted, 2);
}

// A server that closes a kept connection as the next request comes.
TEST_F(UpstreamTest, WhatAKeptConnectionSwallowedIsSentOnceMore) {
  const auto closes = [] { return std::vector<TellingServer::Answer>{{std::string(kSized)}, {"", true}}; };
  UpstreamOptions anything;
  anything.resend = Resend::kAnything;
  for (const bool get : {false, true}) {
    auto answers = closes();
    answers.push_back({std::string(kSized)});
    TellingServer server(std::move(answers));
    open(server.url(), get ? UpstreamOptions() : anything);
    HttpRequest request = post("{\"a\": 1}");
    if (get) request.method = "GET", request.body.clear();
    ask(request);
    const auto heard = ask(request);
    EXPECT_EQ(heard->ended, "end") << heard->sentence;
    EXPECT_EQ(heard->body, "hello");
    EXPECT_EQ(server.accepted, 2);
    ASSERT_EQ(server.heard.size(), 3U);
    EXPECT_EQ(server.heard[1], server.heard[2]);
    TearDown();
  }
}

TEST_F(UpstreamTest, NothingElseIsSentTwice) {
  UpstreamOptions anything;
  anything.resend = Resend::kAnything;
  UpstreamOptions nothing;
  nothing.resend = Resend::kNothing;
  struct Case {
    std::vector<TellingServer::Answer> answers;
    UpstreamOptions options;
    std::string method;
    std::size_t heard;
  };
  const std::string sized(kSized);
  const std::vector<Case> cases = {
      {{{sized}, {"", true}, {sized}}, {}, "POST", 2},                    // not idempotent
      {{{sized}, {"", true}, {sized}}, nothing, "GET", 2},                // switched off
      {{{sized}, {"H", true}, {sized}}, anything, "GET", 2},              // a byte of an answer
      {{{"", true}, {sized}}, anything, "GET", 1},                        // a new connection
      {{{sized}, {"", true}, {"", true}, {sized}}, anything, "POST", 3},  // once
  };
  for (const Case& told : cases) {
    TellingServer server(told.answers);
    open(server.url(), told.options);
    HttpRequest request = post("{}");
    request.method = told.method;
    std::shared_ptr<Heard> last;
    for (int i = 0; i < 2 && (i == 0 || last->ended == "end"); ++i) last = ask(request);
    EXPECT_EQ(last->ended, name_of(Trouble::kCut)) << told.heard;
    EXPECT_EQ(server.heard.size(), told.heard);
    TearDown();
  }
}

TEST_F(UpstreamTest, WhatWasSentOnceIsNeverSaidToBeUnsent) {
  UpstreamOptions anything;
  anything.resend = Resend::kAnything;
  auto server = std::make_unique<TellingServer>(
      std::vector<TellingServer::Answer>{{std::string(kSized)}, {"", true}});  // and then it is gone
  open(server->url(), anything);
  ask(post("{}"));
  server->close_listener();
  const auto heard = ask(post("{}"));
  EXPECT_EQ(heard->ended, name_of(Trouble::kCut)) << heard->sentence;
}

TEST_F(UpstreamTest, ABodyWithoutALengthEndsWithTheConnection) {
  TellingServer server({{"HTTP/1.1 200 OK\r\n\r\nhello", true}});
  open(server.url());
  const auto heard = ask(post("{}"));
  EXPECT_EQ(heard->ended, "end") << heard->sentence;
  EXPECT_EQ(heard->body, "hello");
}

TEST_F(UpstreamTest, SaysWhatIsWrong) {
  const std::vector<std::pair<std::string, Trouble>> cases = {
      {"nonsense\r\n\r\n", Trouble::kProtocol},
      {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Trouble::kProtocol},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Trouble::kProtocol},
      {"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'y') + "\r\n\r\n", Trouble::kProtocol},
      {"HTTP/1.1 100 Continue\r\n\r\n", Trouble::kCut},
  };
  for (const auto& [answer, trouble] : cases) {
    TellingServer server({{answer, true}});
    open(server.url());
    const auto heard = ask(post("{}"));
    EXPECT_EQ(heard->ended, name_of(trouble)) << answer.substr(0, 60) << heard->sentence;
    TearDown();
  }
  open("http://127.0.0.1:1");
  EXPECT_EQ(ask(post("{}"))->ended, name_of(Trouble::kConnect));
  TearDown();
  UpstreamOptions hurried;
  hurried.idle_timeout = std::chrono::milliseconds(100);
  TellingServer silent({{""}, {""}});
  open(silent.url(), hurried);
  EXPECT_EQ(ask(post("{}"))->ended, name_of(Trouble::kTimeout));
}

TEST_F(UpstreamTest, APausedAnswerWaitsAndAnAbortedOneIsClosed) {
  std::atomic<bool> gone = false;
  std::shared_ptr<Reply> held;
  std::promise<void> begun;
  auto server = HttpServer::listen({}, [&](HttpRequest, std::shared_ptr<Reply> reply) {
    reply->on_gone([&] { gone = true; });
    reply->begin({.status = 200, .headers = {}, .body = "one"});
    held = reply;
    begun.set_value();
  });
  ASSERT_TRUE(server);
  open((*server)->url());
  const auto heard = std::make_shared<Heard>();
  std::shared_ptr<UpstreamCall> call;
  const auto on_thread = [&](const std::function<void()>& task) {
    std::promise<void> done;
    thread->post([&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  };
  on_thread([&] { call = pool->start(post("{}"), heard); });
  begun.get_future().wait();
  std::string body;
  for (int i = 0; i < 100 && body.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    on_thread([&] { body = heard->body; });
  }
  EXPECT_EQ(body, "one");
  on_thread([&] { call->pause(); });
  held->write("two");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  on_thread([&] { body = heard->body; });
  EXPECT_EQ(body, "one");
  on_thread([&] { call->resume(); });
  for (int i = 0; i < 100 && body == "one"; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    on_thread([&] { body = heard->body; });
  }
  EXPECT_EQ(body, "onetwo");
  on_thread([&] { call->cancel(); });
  for (int i = 0; i < 100 && !gone; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(gone);
  EXPECT_EQ(heard->ended, "");
}

TEST(Origin, IsReadFromAUrl) {
  const Origin origin = Origin::parse("https://api.example.com/openai/").value();
  EXPECT_EQ(origin.authority(), "api.example.com");
  EXPECT_EQ(origin.path, "/openai");
  EXPECT_EQ(origin.port, 443);
  EXPECT_TRUE(origin.tls);
  EXPECT_EQ(Origin::parse("http://[::1]:81").value().authority(), "[::1]:81");
  for (const char* bad : {"ftp://a", "a:80", "http://", "http://a:0", "http://a:99999", "http://u@a", "http://a?b=c"}) {
    const auto refused = Origin::parse(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_THAT(refused.error().message, StartsWith("'" + std::string(bad) + "'"));
  }
}

}  // namespace
}  // namespace retort::net
