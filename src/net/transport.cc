#include "net/transport.h"

namespace retort::net {

std::string_view name_of(Trouble trouble) {
  switch (trouble) {
    case Trouble::kNone: return "none";
    case Trouble::kConnect: return "no connection";
    case Trouble::kTls: return "TLS";
    case Trouble::kTimeout: return "timeout";
    case Trouble::kCut: return "cut off";
    case Trouble::kTooLarge: return "too large";
    case Trouble::kProtocol: return "not HTTP";
  }
  return "none";
}

HttpOutcome perform(Transport& transport, HttpCall call) {
  constexpr double kLong_s = 3600;
  transport.start(0, std::move(call));
  while (true) {
    std::vector<FinishedCall> finished = transport.wait(kLong_s);
    if (!finished.empty()) return std::move(finished.front().outcome);
  }
}

}  // namespace retort::net
