// An HTTP/1.1 server: bounded in what it reads, bounded in time, and able to drain.
//
// What may be relied on: one request of a connection is answered at a time, in order (pipelined ones wait); a request
// is handed over whole, within `max_body_bytes`; a client that sends too slowly or too much gets 408, 413 or 431, one
// that is not HTTP gets 400; one that reads nothing for `write_timeout` is cut off. Chunked bodies and
// `Expect: 100-continue` are understood. There is no TLS: put a proxy in front where it is needed.
//
// Threads: a server owns one network thread. The handler is called on it and must not block; a Reply may be used from
// any thread, also after its client or the server has gone (then it does nothing).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "net/http.h"
#include "net/network_thread.h"

namespace retort::net {

// The answer to one request: either send(), or begin(), write()… and finish(). One that is dropped unfinished is
// answered with 500, or cut off when it had begun.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void send(HttpResponse response) = 0;
  // Status and headers now, the body in pieces (chunked). `head.body` is the first piece, if it isn't empty.
  virtual void begin(HttpResponse head) = 0;
  virtual void write(std::string piece) = 0;
  virtual void finish() = 0;
  // Ends a begun answer so that the client sees it was cut: no end of the body, connection closed.
  virtual void cut() = 0;
  // Called at most once, on the network thread, when the client goes away (or closes its sending side) before the
  // answer is finished; at once if it already has.
  virtual void on_gone(std::function<void()> gone) = 0;
  // Bytes of this answer that the client hasn't taken yet. On the network thread.
  virtual std::size_t backlog() const { return 0; }
  // Called once, on the network thread, when the backlog has become small (at once if it is); never if the client goes.
  virtual void on_room(std::function<void()> room) { room(); }
};

using Handler = std::function<void(HttpRequest, std::shared_ptr<Reply>)>;

struct ServerOptions {
  std::string host = "127.0.0.1";  // an address or a name
  std::uint16_t port = 0;          // 0: a free one
  bool share_port = false;         // several servers of this process on one port: the kernel divides the callers
  std::string tls_certificate;     // PEM file with the chain; empty: in clear
  std::string tls_key;             // PEM file
  std::size_t max_header_bytes = 32 << 10;
  std::size_t max_body_bytes = 16 << 20;
  std::size_t max_unsent_bytes = 16 << 20;  // of a streamed answer; more: the client is cut off
  std::size_t max_connections = 512;        // more wait to be accepted
  std::chrono::milliseconds header_timeout{15'000};
  std::chrono::milliseconds body_timeout{60'000};
  std::chrono::milliseconds idle_timeout{75'000};  // between two requests
  std::chrono::milliseconds write_timeout{60'000};
  // The server's own complaints (400, 408, 413, 431, 500) in the form of the API. Empty: plain text.
  std::function<HttpResponse(int status, std::string_view sentence)> error_response;
};

class HttpServer {
 public:
  // Listens before it returns, on a thread of its own or on the one given. Error (kCaller): the host is unknown, the
  // port is taken or not permitted, certificate or key can't be used.
  static Result<std::unique_ptr<HttpServer>> listen(ServerOptions options, Handler handler,
                                                    std::shared_ptr<NetworkThread> thread = nullptr);
  // Cuts off whoever is still there.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const;
  // "http://127.0.0.1:8080", or https
  std::string url() const;
  std::size_t connections() const;

  // Uses this certificate for connections from now on. Error (kCaller): it can't be used; the old one stays.
  Result<void> use_certificate(const std::string& certificate, const std::string& key);

  // Refuses new connections, closes idle ones, and returns when the requests under way are answered.
  void drain();
  // Closes every connection, answered or not. drain() then returns.
  void cut_off();

 private:
  struct Core;
  HttpServer(std::shared_ptr<Core> core, std::shared_ptr<NetworkThread> thread);
  std::shared_ptr<NetworkThread> thread_;
  std::shared_ptr<Core> core_;
  friend class Connection;
};

}  // namespace retort::net
