// HTTP from the client's side, many requests at a time on one thread.
//
// Transport is the seam: CurlTransport (net/curl_transport.h) speaks to the world, and a test's own transport is a
// world with a clock that it moves by hand. Nothing is retried here, and redirects are not followed: what came is told.
// One thread per object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "net/http.h"

namespace retort::net {

struct HttpCall {
  std::string method = "POST";
  std::string url;
  Headers headers;  // without Host, Content-Length, User-Agent and Accept-Encoding
  std::string body;
  double connect_timeout_s = 10;
  double timeout_s = 600;                 // from start to the last byte
  double idle_timeout_s = 120;            // without a byte, once the request was sent
  std::size_t max_body_bytes = 64 << 20;  // of the answer, after decompression
};

// Why there is no whole answer.
enum class Trouble : std::uint8_t {
  kNone,
  kConnect,   // name, route or port: the request didn't leave
  kTls,       // the certificate isn't trusted, or no common protocol
  kTimeout,   // one of the three
  kCut,       // reset, or ended before it was whole
  kTooLarge,  // more than max_body_bytes
  kProtocol,  // not HTTP
};
std::string_view name_of(Trouble trouble);

struct HttpOutcome {
  Trouble trouble = Trouble::kNone;
  std::string trouble_text;  // in the words of the library; never with headers or body
  // Of kConnect: the host is known, and nobody took the connection.
  bool nobody_listens = false;
  int status = 0;    // 0: none came
  Headers headers;   // names in lower case
  std::string body;  // whole when there is no trouble
  double seconds = 0;
};

struct FinishedCall {
  std::uint64_t tag = 0;
  HttpOutcome outcome;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Begins a call; its end comes from wait(), with this tag.
  virtual void start(std::uint64_t tag, HttpCall call) = 0;
  // Waits until at least one call has ended or `seconds` have passed; what has ended. May return early.
  virtual std::vector<FinishedCall> wait(double seconds) = 0;
  // Gives up every call that hasn't ended: nothing of them is reported.
  virtual void abandon() = 0;
};

// One call by itself.
HttpOutcome perform(Transport& transport, HttpCall call);

}  // namespace retort::net
