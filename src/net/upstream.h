// HTTP/1.1 from a gateway's side: requests sent on to a server, and its answers handed over piece by piece as they
// come.
//
// What may be relied on: connections are kept and used again (a kept one that the server closed is not used); a request
// is sent a second time, on a new connection, only when a kept connection was closed before a byte of its answer came,
// and as UpstreamOptions::resend says; redirects are not followed; bodies are taken as they are, never decompressed.
// Under TLS the server's certificate is verified against the system's or the given authorities and its host name.
//
// Threads: a pool and its calls live on the network thread they were made with; every function is called there and
// every listener is told there. Destroying the pool cuts off its calls, whose listeners hear nothing more.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "net/http.h"
#include "net/network_thread.h"
#include "net/transport.h"

namespace retort::net {

// Where an upstream is: "https://api.example.com:8443/openai".
struct Origin {
  bool tls = false;
  std::string host;
  std::uint16_t port = 0;
  std::string path;  // before every request's own path; no '/' at its end

  // "api.example.com:8443", for Host; without the port where it is the scheme's own.
  std::string authority() const;
  // Error (kCaller): not an http(s) URL of a host, or one with user, query or fragment.
  static Result<Origin> parse(std::string_view url);
};

// Of what a kept connection swallowed: a server may close one while a request is on its way to it, and nobody can tell
// that from a server that read the request and then fell (RFC 9112, 9.3.1).
enum class Resend : std::uint8_t {
  kNothing,
  kIdempotent,  // GET, HEAD, OPTIONS, PUT, DELETE
  kAnything,
};

struct UpstreamOptions {
  Origin origin;
  std::string authorities;  // PEM file with whom to trust under TLS; empty: the system's
  std::size_t most_idle = 256;
  std::size_t max_header_bytes = 64 << 10;
  std::chrono::milliseconds connect_timeout{10'000};  // with the handshake
  std::chrono::milliseconds idle_timeout{600'000};    // without a byte of the answer
  std::chrono::milliseconds keep_timeout{50'000};     // of a connection nobody uses
  Resend resend = Resend::kIdempotent;
};

class UpstreamListener {
 public:
  virtual ~UpstreamListener() = default;
  virtual void on_head(HttpResponse head) = 0;  // status and headers; the body follows
  virtual void on_body(std::string_view piece) = 0;
  virtual void on_end() = 0;
  // The answer will not come whole: the last thing that is heard. `text` never has headers or body in it.
  virtual void on_trouble(Trouble trouble, const std::string& text) = 0;
};

// A request under way. Letting go of it doesn't stop it.
class UpstreamCall {
 public:
  virtual ~UpstreamCall() = default;
  // Closes the connection; nothing more is heard.
  virtual void cancel() = 0;
  // Reads no more of the answer until resume(): for a client that is slower than its server.
  virtual void pause() = 0;
  virtual void resume() = 0;
};

class UpstreamPool {
 public:
  // Error (kCaller): the authorities' file can't be used.
  static Result<std::unique_ptr<UpstreamPool>> create(UpstreamOptions options, std::shared_ptr<NetworkThread> thread);
  ~UpstreamPool();  // on the network thread, or when nothing runs on it
  UpstreamPool(const UpstreamPool&) = delete;
  UpstreamPool& operator=(const UpstreamPool&) = delete;

  // Host, Content-Length and Connection are written here; the rest of the headers is the caller's. `request.path` is
  // appended to the origin's. The listener is kept until the end, trouble or cancel().
  std::shared_ptr<UpstreamCall> start(HttpRequest request, std::shared_ptr<UpstreamListener> listener);

  struct Inside;

 private:
  explicit UpstreamPool(std::shared_ptr<Inside> inside);
  std::shared_ptr<NetworkThread> thread_;
  std::shared_ptr<Inside> inside_;
};

}  // namespace retort::net
