#include "llama/speed.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "exchange/engine.h"
#include "llama/engine.h"
#include "llama/session.h"

namespace retort::llama {
namespace {

// Token ids for a measurement: any will do, the same every time.
TokenId token_at(std::size_t i, std::size_t vocabulary) { return static_cast<TokenId>((i * 7919 + 13) % vocabulary); }

// Runs body `repetitions` times after one warm-up; the shortest time counts, since other work on the machine only adds.
template <class Body>
Result<double> best_seconds(std::size_t repetitions, const Clock& clock, const Body& body) {
  double best = 0;
  for (std::size_t i = 0; i <= repetitions; ++i) {
    const double start = clock.monotonic_s();
    RETORT_TRY(body());
    const double seconds = clock.monotonic_s() - start;
    if (i > 0 && (best == 0 || seconds < best)) best = seconds;
  }
  return std::max(best, 1e-9);
}

Result<void> prefill(Session& session, std::size_t tokens, const std::stop_token& stop) {
  session.clear();
  Batch batch;
  for (std::size_t i = 0; i < tokens; ++i) batch.add(token_at(i, session.vocabulary()), i, 0, i + 1 == tokens);
  return session.decode(batch, stop);
}

Result<void> decode_one_by_one(Session& session, std::size_t tokens, const std::stop_token& stop) {
  session.clear();
  Batch batch;
  for (std::size_t i = 0; i < tokens; ++i) {
    batch.clear();
    batch.add(token_at(i, session.vocabulary()), i, 0, true);
    RETORT_TRY(session.decode(batch, stop));
  }
  return {};
}

Result<void> decode_batched(Session& session, std::size_t length, const std::stop_token& stop) {
  session.clear();
  Batch batch;
  for (std::size_t i = 0; i < length; ++i) {
    batch.clear();
    for (std::size_t s = 0; s < session.parallel(); ++s) {
      batch.add(token_at(i * session.parallel() + s, session.vocabulary()), i, s, true);
    }
    RETORT_TRY(session.decode(batch, stop));
  }
  return {};
}

}  // namespace

Result<WorkRates> measure_work(const std::filesystem::path& gguf, std::size_t parallel, std::size_t context,
                               const SamplingOptions& sampling, int threads, const Clock& clock,
                               const std::stop_token& stop) {
  constexpr std::int32_t kFirst = 2;  // the sequences are read for these, and copied
  constexpr std::int32_t kSteps = 6;
  if (parallel < 1 || context < 1)
    return caller_error("A speed measurement needs at least one sequence and one token.");
  EngineOptions options;
  options.threads = threads;
  options.parallel = parallel;
  options.context_tokens = context + kFirst + kSteps;
  options.batch_tokens = std::max(parallel, options.batch_tokens);
  RETORT_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(gguf, options));
  TokenRequest request;
  for (std::size_t i = 0; i < context; ++i) request.prompt_ids.push_back(token_at(i, engine->vocabulary()));
  request.sampling = sampling;
  const auto read = [&] {
    return engine->score(request.prompt_ids, 0, [](const LogitRows&) -> Result<void> { return {}; });
  };
  RETORT_ASSIGN(const double read_s, best_seconds(1, clock, read));
  const auto generate = [&](std::int32_t tokens) -> Result<void> {
    request.sampling.max_tokens = tokens;
    RETORT_TRY(generate_all(*engine, std::vector<TokenRequest>(parallel, request), stop));
    return {};
  };
  RETORT_ASSIGN(const double first_s, best_seconds(1, clock, [&] { return generate(kFirst); }));
  const double begin_s = clock.monotonic_s();  // warm by now
  RETORT_TRY(generate(kFirst + kSteps));
  const double all_s = std::max(clock.monotonic_s() - begin_s, 1e-9);
  const double steps_s = all_s > first_s ? all_s - first_s : all_s;
  return WorkRates{static_cast<double>(parallel) * kSteps / steps_s, static_cast<double>(context) / read_s};
}

Result<Speed> measure_speed(const std::filesystem::path& gguf, const SpeedOptions& options, const Clock& clock,
                            std::stop_token stop) {
  if (options.prefill_tokens < 1 || options.decode_tokens < 1 || options.repetitions < 1) {
    return caller_error("A speed measurement needs at least one token to read, one to decode and one repetition.");
  }
  EngineOptions engine;
  engine.threads = options.threads;
  engine.parallel = 1;
  engine.context_tokens = std::max(options.prefill_tokens, options.decode_tokens);
  engine.batch_tokens = std::max<std::size_t>(options.prefill_tokens, 1);
  RETORT_ASSIGN(Session session, Session::open(gguf, engine));
  RETORT_ASSIGN(const double prefill_s, best_seconds(options.repetitions, clock,
                                                     [&] { return prefill(session, options.prefill_tokens, stop); }));
  RETORT_ASSIGN(const double decode_s, best_seconds(options.repetitions, clock, [&] {
                  return decode_one_by_one(session, options.decode_tokens, stop);
                }));
  return Speed{static_cast<double>(options.prefill_tokens) / prefill_s,
               static_cast<double>(options.decode_tokens) / decode_s};
}

Result<double> measure_batched_decode(const std::filesystem::path& gguf, std::size_t parallel, std::size_t length,
                                      int threads, const Clock& clock, const std::stop_token& stop) {
  if (length < 1) return caller_error("A speed measurement needs at least one token to decode.");
  EngineOptions engine;
  engine.threads = threads;
  engine.parallel = parallel;
  engine.context_tokens = std::max<std::size_t>(length, 1);
  engine.batch_tokens = std::max<std::size_t>(parallel, 64);
  RETORT_ASSIGN(Session session, Session::open(gguf, engine));
  RETORT_TRY(decode_batched(session, 2, stop));  // warm-up: pages of the weights and of the cache
  const double start = clock.monotonic_s();
  RETORT_TRY(decode_batched(session, length, stop));
  const double seconds = std::max(clock.monotonic_s() - start, 1e-9);
  return static_cast<double>(parallel * length) / seconds;
}

}  // namespace retort::llama
