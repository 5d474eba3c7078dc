// One connection of an HttpServer, and what all of them share. Internal to the module: includes Boost.
//
// Everything but Reply's functions runs on the network thread. A connection lives as long as the core knows it or one
// of its operations is pending.
#pragma once

#include <atomic>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/server.h"
#include "net/wire.h"

namespace retort::net {

class Connection;

struct HttpServer::Core {
  Core(ServerOptions wanted, Handler called, NetworkThread::Inside& thread)
      : options(std::move(wanted)), handler(std::move(called)), loop(thread) {}

  void accept();
  void leave(const std::shared_ptr<Connection>& connection);
  // No more callers; those there are.
  std::vector<std::shared_ptr<Connection>> stop_accepting();
  void count_connections();
  void look_at_deadlines();
  HttpResponse error_response(int status, std::string_view sentence) const;

  ServerOptions options;
  Handler handler;
  NetworkThread::Inside& loop;
  std::shared_ptr<boost::asio::ssl::context> tls;  // none: in clear
  boost::asio::ip::tcp::acceptor acceptor{loop.io};
  boost::asio::steady_timer accept_again{loop.io};
  boost::asio::steady_timer look{loop.io};  // at the connections' deadlines, while there are any
  bool looking = false;
  bool accepting = false;
  bool draining = false;
  std::set<std::shared_ptr<Connection>> connections;  // network thread
  std::weak_ptr<Core> self;
  std::uint16_t port = 0;
  std::string url;

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::size_t count = 0;     // of connections; guarded by the mutex
  bool drain_begun = false;  // guarded by the mutex
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<HttpServer::Core> core, Wire wire);

  void start();
  void drain();
  void close();
  void check_deadlines(std::chrono::steady_clock::time_point now);

  // For the Reply of request number `request`; ignored when that one is answered already.
  void send(std::uint64_t request, HttpResponse response);
  void begin(std::uint64_t request, HttpResponse head);
  void write(std::uint64_t request, const std::string& piece);
  void finish(std::uint64_t request);
  void cut(std::uint64_t request);
  void dropped(std::uint64_t request);
  void on_gone(std::uint64_t request, std::function<void()> gone);
  void on_room(std::uint64_t request, std::function<void()> room);
  std::size_t backlog(std::uint64_t request) const { return answering(request) ? unsent_ : 0; }

  boost::asio::ip::tcp::socket::executor_type executor() { return wire_.socket().get_executor(); }

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  enum class State : std::uint8_t { kShakingHands, kIdle, kReading, kHandling, kStreaming, kLingering, kClosed };

  void expect_request();
  void read();
  void on_read(const boost::system::error_code& error, std::string_view bytes);
  void parse();
  bool head_is_fine();
  void header_read();
  void dispatch();
  void refuse(int status, std::string_view sentence);
  void limit(std::chrono::milliseconds time);
  void on_deadline();
  void queue(std::string bytes);
  void flush();
  void on_written(const boost::system::error_code& error, std::size_t bytes);
  void answered();
  void linger();
  std::string head(const HttpResponse& response, bool chunked) const;
  bool answering(std::uint64_t request) const {
    return request == request_ && (state_ == State::kHandling || state_ == State::kStreaming);
  }

  std::shared_ptr<HttpServer::Core> core_;
  Wire wire_;
  using Time = std::chrono::steady_clock::time_point;
  Time deadline_ = Time::max();
  Time write_deadline_ = Time::max();
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  State state_ = State::kIdle;
  std::uint64_t request_ = 0;   // number of the request under way
  bool reading_ = false;        // an operation is pending
  bool head_checked_ = false;   // it may be parsed
  bool header_done_ = false;    // of the request being read
  bool head_only_ = false;      // HEAD: no body is sent
  bool chunked_ = false;        // the streamed answer under way
  bool last_ = false;           // the connection ends after this answer
  bool unread_ = false;         // the client may still be sending what nobody reads: linger
  bool response_done_ = false;  // all of the answer is queued
  std::deque<std::string> outgoing_;
  std::size_t sent_ = 0;    // bytes of outgoing_.front()
  std::size_t unsent_ = 0;  // bytes of outgoing_
  bool writing_ = false;
  std::function<void()> gone_;
  std::function<void()> room_;
  std::string peer_;  // address
};

}  // namespace retort::net
