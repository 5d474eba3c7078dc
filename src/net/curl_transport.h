// Transport by libcurl: HTTP/1.1 and, over TLS, HTTP/2; connections are kept and shared.
//
// TLS certificates are verified, always. Proxies come from the usual variables of the environment (https_proxy,
// no_proxy, …), and so does a further CA file (SSL_CERT_FILE). Answers may be compressed; their size is bounded after
// decompression. `User-Agent: retort/VERSION` goes with every request.
#pragma once

#include <memory>

#include "net/transport.h"

namespace retort::net {

class CurlTransport final : public Transport {
 public:
  // At most so many connections to one host; more calls wait for one.
  explicit CurlTransport(std::size_t connections_per_host = 256);
  ~CurlTransport() override;
  CurlTransport(const CurlTransport&) = delete;
  CurlTransport& operator=(const CurlTransport&) = delete;

  void start(std::uint64_t tag, HttpCall call) override;
  std::vector<FinishedCall> wait(double seconds) override;
  void abandon() override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::net
