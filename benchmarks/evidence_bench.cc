// Evidence: appends a second of records of 500 bytes by one thread and by two, what hashing and write(2) alone cost,
// and what a whole exchange costs with its sketches or encrypted. JSON on standard output.
//
//   evidence_bench FOLDER       a folder that is made, and left with the spools that were written
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "evidence/recorder.h"
#include "evidence/spool.h"
#include "evidence/verify.h"

namespace {

using retort::Failure;
using retort::Result;
namespace evidence = retort::evidence;
namespace fs = std::filesystem;

const retort::SystemClock kClock;

// Nanoseconds a call, the best of five.
template <class Body>
double measure_ns(int calls, const Body& body) {
  double best = 1e18;
  for (int round = 0; round < 5; ++round) {
    const double begin_s = kClock.monotonic_s();
    for (int i = 0; i < calls; ++i) body();
    best = std::min(best, (kClock.monotonic_s() - begin_s) / calls * 1e9);
  }
  return best;
}

evidence::SpoolOptions spool_in(const fs::path& folder) {
  evidence::SpoolOptions options;
  options.folder = folder;
  return options;
}

Result<void> measure_appends(const fs::path& folder, int threads) {
  RETORT_ASSIGN(const auto spool, evidence::Spool::open(spool_in(folder / std::to_string(threads)), kClock));
  const std::string text(500, 'x');
  constexpr int kEach = 400000;
  std::vector<double> slowest_us(static_cast<std::size_t>(threads));
  const double begin_s = kClock.monotonic_s();
  std::vector<std::thread> running;
  for (int thread = 0; thread < threads; ++thread) {
    running.emplace_back([&, thread] {
      std::vector<double> times_us(kEach);
      for (double& time_us : times_us) {
        const double before_s = kClock.monotonic_s();
        if (!spool->append(evidence::Kind::kAct, text, {})) return;
        time_us = (kClock.monotonic_s() - before_s) * 1e6;
      }
      std::nth_element(times_us.begin(), times_us.begin() + kEach * 99 / 100, times_us.end());
      slowest_us[static_cast<std::size_t>(thread)] = times_us[kEach * 99 / 100];
    });
  }
  for (std::thread& one : running) one.join();
  const double seconds = kClock.monotonic_s() - begin_s;
  RETORT_TRY(spool->close());
  std::printf(" \"append_%d_threads\": {\"per_second\": %.0f, \"p99_us\": %.1f, \"synced_s_after\": %.3f},\n", threads,
              threads * kEach / seconds, *std::max_element(slowest_us.begin(), slowest_us.end()),
              kClock.monotonic_s() - begin_s - seconds);
  return {};
}

Result<void> measure_exchange(const fs::path& folder, evidence::Prompts prompts, const char* name) {
  RETORT_ASSIGN(const auto spool, evidence::Spool::open(spool_in(folder / name), kClock));
  evidence::RecorderOptions options;
  options.prompts = prompts;
  options.keys_folder = folder / name / "keys";
  evidence::Recorder recorder(options, *spool);
  std::string prompt;
  while (prompt.size() < 800) prompt += "word" + std::to_string(prompt.size() * 7 % 1000) + " ";
  const std::string body = R"({"messages":[{"content":")" + prompt + R"(","role":"user"}],"model":"m"})";
  const std::array<evidence::NamedText, 1> texts = {{{"prompt", prompt}}};
  bool failed = false;
  const double exchange_ns = measure_ns(20000, [&] {
    evidence::AdmissionRecord admission;
    admission.id = "ex_0123456789abcdef01234567";
    admission.time_unix_ms = kClock.unix_ms();
    admission.account = "rk_0123456789abcdef";
    admission.organisation = "acme";
    admission.tier = "verified";
    admission.dialect = "openai.chat";
    admission.model = "m";
    admission.path = "/v1/chat/completions";
    admission.client = {"192.0.2.1", "OpenAI/Python 3.3.1", "t13d1516h2_8daaf6152771_b186095e22b6"};
    admission.network = R"({"asn":64500,"country":"NL","kind":"datacentre"})";
    admission.asked.stream = true;
    admission.granted.stream = true;
    admission.in_force = std::string(64, 'a');
    evidence::CompletionRecord completion;
    completion.id = admission.id;
    completion.time_unix_ms = kClock.unix_ms();
    completion.organisation = admission.organisation;
    completion.status = 200;
    completion.finish = "stop";
    completion.input_tokens = 200;
    completion.output_tokens = 200;
    failed = failed || !recorder.admit(std::move(admission), body, texts) ||
             !recorder.complete(completion, {prompt, {}, {}, {}});
  });
  if (failed) return retort::world_error("an append failed");
  std::printf(" \"exchange_%s_us\": %.2f,\n", name, exchange_ns / 1000);
  return {};
}

Result<void> run(const fs::path& folder) {
  const std::string text(500, 'x');
  std::string buffer;
  evidence::ChainHasher hasher;
  retort::Digest chain;
  const double hash_ns = measure_ns(200000, [&] {
    buffer.clear();
    chain = evidence::append_record(hasher, chain, evidence::Kind::kAct, 1, text, {}, buffer);
  });
  fs::create_directories(folder);
  const int file = ::open((folder / "plain").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  off_t offset = 0;
  const double write_ns = measure_ns(200000, [&] { offset += ::pwrite(file, buffer.data(), buffer.size(), offset); });
  ::close(file);
  const evidence::Sketcher sketcher({});
  std::string words;
  while (words.size() < 1000) words += "word" + std::to_string(words.size()) + " ";
  std::uint64_t kept = 0;
  const double sketch_ns = measure_ns(5000, [&] { kept += sketcher.sketch(words).simhash; });
  std::printf("{\"hash_and_frame_ns\": %.0f, \"write_ns\": %.0f, \"sketch_of_1000_bytes_us\": %.2f,\n", hash_ns,
              write_ns, sketch_ns / 1000 + static_cast<double>(kept & 0U));
  RETORT_TRY(measure_appends(folder, 1));
  RETORT_TRY(measure_appends(folder, 2));
  RETORT_TRY(measure_exchange(folder, evidence::Prompts::kNone, "none"));
  RETORT_TRY(measure_exchange(folder, evidence::Prompts::kSketch, "sketch"));
  RETORT_TRY(measure_exchange(folder, evidence::Prompts::kWhole, "whole"));
  const double begin_s = kClock.monotonic_s();
  RETORT_ASSIGN(const evidence::VerifyReport report, evidence::verify({folder / "2", {}, {}}));
  const double seconds = kClock.monotonic_s() - begin_s;
  std::printf(" \"verify\": {\"holds\": %s, \"records_per_second\": %.0f, \"mb_per_second\": %.0f}}\n",
              report.holds ? "true" : "false", static_cast<double>(report.walked.records) / seconds,
              static_cast<double>(report.walked.bytes) / seconds / 1e6);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto done = run(argv[1]);
  if (!done) std::cerr << done.error().message << '\n';
  return done ? 0 : 1;
}
