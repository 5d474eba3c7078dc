// Asks benchmarks/api_server.cc for so many answers with our client alone: dialect, transport and JSON lines on disk,
// no store and no ledger. Prints seconds and CPU seconds as JSON.
//
//   api_client_bench URL REQUESTS CONCURRENCY OUT.jsonl
#include <sys/resource.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

#include "base/clock.h"
#include "base/json.h"
#include "net/curl_transport.h"
#include "provider/dialect.h"

namespace {

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace retort;
  if (argc != 5) return 2;
  const std::string url = std::string(argv[1]) + "/chat/completions";
  const auto requests = static_cast<std::uint64_t>(std::stoull(argv[2]));
  const auto concurrency = static_cast<std::size_t>(std::stoull(argv[3]));
  std::ofstream out(argv[4]);
  const provider::Dialect& dialect = provider::openai_chat();
  const SystemClock clock;
  const double started_s = clock.monotonic_s();
  net::CurlTransport transport(concurrency);
  provider::AskOptions options;
  options.sampling.max_tokens = 256;
  std::uint64_t next = 0;
  std::size_t in_flight = 0;
  std::uint64_t kept = 0;
  while (kept < requests) {
    while (in_flight < concurrency && next < requests) {
      const Prompt prompt{{{Role::kUser, "question " + std::to_string(next)}}};
      net::HttpCall call;
      call.url = url;
      call.headers = dialect.headers("key");
      call.body = *dialect.body("bench", prompt, options);
      transport.start(next++, std::move(call));
      ++in_flight;
    }
    for (const net::FinishedCall& finished : transport.wait(1)) {
      --in_flight;
      ++kept;
      const auto answer = finished.outcome.status == 200 ? dialect.read(finished.outcome)
                                                         : Result<provider::Answer>(world_error("not answered"));
      if (!answer) {
        std::cerr << answer.error().message << '\n';
        return 1;
      }
      out << canonical_json({{"question", finished.tag}, {"text", answer->completion.text}}) << '\n';
    }
  }
  out.flush();
  std::printf("{\"seconds\": %.3f, \"cpu_seconds\": %.3f}\n", clock.monotonic_s() - started_s, cpu_seconds());
  return 0;
}
