// One connection of an UpstreamPool. Internal to the module: includes Boost.
//
// It lives as long as one of its operations is pending or the pool keeps it idle. Network thread only.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/upstream.h"
#include "net/wire.h"

namespace retort::net {

class UpstreamConnection;

// Where a request is at present: it moves to another connection when it is sent again.
struct Asked {
  std::weak_ptr<UpstreamConnection> connection;
  std::uint64_t number = 0;  // of the request on it
};

// A request as it goes out, and who hears of its answer.
struct Asking {
  std::string head;
  std::string body;
  bool head_only = false;
  bool may_resend = false;
  bool again = false;  // it went out once before
  std::shared_ptr<UpstreamListener> listener;
  std::shared_ptr<Asked> place;
};

struct UpstreamPool::Inside {
  Inside(UpstreamOptions wanted, NetworkThread::Inside& thread) : options(std::move(wanted)), loop(thread) {}
  UpstreamOptions options;
  NetworkThread::Inside& loop;
  std::shared_ptr<boost::asio::ssl::context> tls;           // none: in clear
  std::vector<std::shared_ptr<UpstreamConnection>> idle;    // the one used last is used first
  std::set<std::shared_ptr<UpstreamConnection>> connected;  // every one that isn't closed
  boost::asio::steady_timer look{loop.io};                  // at the connections' deadlines, while there are any
  bool looking = false;
  bool closed = false;

  static void look_at_deadlines(const std::shared_ptr<Inside>& self);
  // A new one, on its way to be connected.
  static std::shared_ptr<UpstreamConnection> connect(const std::shared_ptr<Inside>& self);
};

class UpstreamConnection final : public std::enable_shared_from_this<UpstreamConnection> {
 public:
  explicit UpstreamConnection(std::shared_ptr<UpstreamPool::Inside> pool);

  void connect();
  // The connection must be new or idle.
  void ask(Asking asking);
  void close();

  void cancel();
  void check_deadline(std::chrono::steady_clock::time_point now);
  void pause();
  void resume();
  // Whether that request is still under way: a connection that was used again is none of its first request's business.
  bool asking(std::uint64_t request) const { return listener_ != nullptr && request == request_; }

 private:
  using Parser = boost::beast::http::response_parser<boost::beast::http::buffer_body>;
  enum class State : std::uint8_t { kConnecting, kIdle, kAsking, kClosed };

  void connected();
  void send();
  void read();
  void on_read(const boost::system::error_code& error, std::string_view bytes);
  void take(std::string_view bytes);
  bool put_body(std::string_view& bytes);
  void told_head();
  void done();
  // Whether the request went out again, on a new connection.
  bool asked_again(const boost::system::error_code& error);
  void fail(Trouble trouble, const std::string& text);
  void limit(std::chrono::milliseconds time);
  void on_deadline();

  std::shared_ptr<UpstreamPool::Inside> pool_;
  Wire wire_;
  boost::asio::ip::tcp::resolver resolver_;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
  std::chrono::steady_clock::time_point moved_;  // when a byte came last
  State state_ = State::kConnecting;
  bool ready_ = false;  // connected, and greeted under TLS
  bool reading_ = false;
  bool paused_ = false;
  bool sent_all_ = false;
  bool head_only_ = false;
  bool again_ = false;
  bool may_resend_ = false;  // a kept connection, and nothing of an answer has come
  bool head_told_ = false;
  bool surplus_ = false;  // bytes came after the answer's end
  std::uint64_t request_ = 0;
  std::optional<Parser> parser_;
  std::string head_;  // of the request, until it is sent and can't be needed again
  std::string body_;  // likewise
  std::size_t sent_ = 0;
  std::string pending_;  // bytes of the answer's head that aren't whole yet, or what came while paused
  std::shared_ptr<UpstreamListener> listener_;
  std::shared_ptr<Asked> place_;
};

}  // namespace retort::net
