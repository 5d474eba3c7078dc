// One TCP connection, in clear or under TLS, and the loop that it lives on. Internal to the module: includes Boost.
//
// In clear a wire that waits holds no buffer: it waits until something has come and reads it into the thread's own
// (that is how thousands of idle streams fit). Network thread only.
#pragma once

#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <list>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "net/network_thread.h"

namespace retort::net {

constexpr std::size_t kReadBytes = 64 << 10;
// How often deadlines are looked at: times are kept as numbers, for a timer a request would cost a system call each.
constexpr std::chrono::milliseconds kLookEvery{50};

struct NetworkThread::Inside {
  // Not told that one thread runs it: then what the handler itself posts could be overtaken by what another thread
  // posts after it, and a Reply's functions would run in another order than they were called in.
  boost::asio::io_context io;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  std::vector<char> scratch = std::vector<char>(kReadBytes);
  std::list<boost::asio::steady_timer> timers;  // of after(); network thread
  bool ending = false;                          // network thread
  std::thread thread;
};

class Wire {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using Tls = boost::asio::ssl::stream<Socket>;
  using Error = boost::system::error_code;

  Wire(NetworkThread::Inside& loop, Socket socket) : loop_(loop), socket_(std::move(socket)) { no_delay(); }
  Wire(NetworkThread::Inside& loop, Socket socket, boost::asio::ssl::context& context)
      : loop_(loop), socket_(loop.io), tls_(std::make_unique<Tls>(std::move(socket), context)) {
    no_delay();
  }

  Tls* tls() { return tls_.get(); }
  Socket& socket() { return tls_ ? tls_->next_layer() : socket_; }
  const Socket& socket() const { return tls_ ? tls_->next_layer() : socket_; }

  // handler(error, bytes): the bytes are valid during the call. One read at a time.
  template <class Handler>
  void async_read(Handler handler) {
    if (tls_) {
      if (tls_bytes_.empty()) tls_bytes_.resize(kTlsRead);
      tls_->async_read_some(boost::asio::buffer(tls_bytes_),
                            [this, handler = std::move(handler)](const Error& error, std::size_t count) mutable {
                              handler(error, std::string_view(tls_bytes_.data(), count));
                            });
      return;
    }
    socket_.async_wait(Socket::wait_read, [this, handler = std::move(handler)](Error error) mutable {
      std::size_t count = 0;
      if (!error) {
        count = socket_.read_some(boost::asio::buffer(loop_.scratch), error);
        if (error == boost::asio::error::would_block) {
          async_read(std::move(handler));
          return;
        }
      }
      handler(error, std::string_view(loop_.scratch.data(), count));
    });
  }

  template <class Buffers, class Handler>
  void async_write(const Buffers& buffers, Handler handler) {
    if (tls_) {
      tls_->async_write_some(buffers, std::move(handler));
    } else {
      socket_.async_write_some(buffers, std::move(handler));
    }
  }

  // No more from this side; the other may still read what was written.
  void shutdown_send() {
    Error ignored;
    socket().shutdown(Socket::shutdown_send, ignored);
  }
  void close() {
    Error ignored;
    socket().shutdown(Socket::shutdown_both, ignored);
    socket().close(ignored);
  }

  // Of a connected socket.
  void no_delay() {
    Error ignored;
    socket().set_option(boost::asio::ip::tcp::no_delay(true), ignored);
    // What async_read() counts on: readiness may have been a mistake.
    if (!tls_) socket_.non_blocking(true, ignored);
  }

 private:
  static constexpr std::size_t kTlsRead = 16 << 10;

  NetworkThread::Inside& loop_;
  Socket socket_;
  std::unique_ptr<Tls> tls_;
  std::vector<char> tls_bytes_;
};

}  // namespace retort::net
