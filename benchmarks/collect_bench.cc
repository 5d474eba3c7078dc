// How fast exchanges are collected: self-generated ones from a teacher file, in the type the probe finds fastest.
//
//   collect_bench MODEL WORK_FOLDER [COUNT]
//
// Prints one JSON document: tokens/s while the batch was full and in the draining tail, and the mean lengths that
// benchmarks/collect.py then gives to llama.cpp's llama-batched-bench on the same file.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/progress.h"
#include "collect/collect.h"
#include "gguf/file.h"
#include "llama/engine.h"
#include "llama/speed.h"
#include "store/exchange_store.h"
#include "tokens/chat_format.h"

namespace retort {
namespace {

Result<Json> measure(const std::filesystem::path& model, const std::filesystem::path& folder, std::int64_t count) {
  const SystemClock clock;
  SilentProgress progress;
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(model));
  RETORT_TRY(make_folder(folder));
  RETORT_ASSIGN(const llama::TypeProbe probe, llama::fastest_type(file, folder / "types", {}, clock, progress));
  const llama::EngineOptions engine_options;
  RETORT_ASSIGN(const auto engine, llama::Engine::open(probe.fastest.path, engine_options));
  RETORT_ASSIGN(const tokens::ChatFormat format, tokens::ChatFormat::load(file));

  const std::filesystem::path store_path = folder / "exchanges.sqlite";
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::error_code error;
    std::filesystem::remove(store_path.string() + suffix, error);
  }
  RETORT_ASSIGN(store::ExchangeStore exchanges, store::ExchangeStore::open(store_path));
  collect::CollectOptions options;
  options.count = count;
  collect::Source source;
  source.model.name = model.filename().string();
  source.model.template_digest = format.template_digest();
  source.model.run_as = std::string(gguf::name_of(probe.fastest.type));
  source.terms = "benchmark";
  const double start_s = clock.monotonic_s();
  RETORT_ASSIGN(const collect::CollectSummary summary,
                collect::collect(*engine, format, source, options, nullptr, exchanges, clock, progress, {}));
  const double seconds = clock.monotonic_s() - start_s;
  const llama::GenerationCounts counts = engine->counts();

  Json types = Json::array();
  for (const llama::TypeSpeed& type : probe.measured) {
    types.push_back({{"type", gguf::name_of(type.type)}, {"tokens_per_s", type.tokens_per_s}});
  }
  // One answer and one user's turn are two sequences to the engine.
  const double sequences = 2.0 * static_cast<double>(summary.asked);
  return Json{{"path", probe.fastest.path.string()},
              {"type", gguf::name_of(probe.fastest.type)},
              {"types", types},
              {"threads", engine->threads()},
              {"parallel", engine->parallel()},
              {"exchanges", summary.asked},
              {"seconds", seconds},
              {"tokens_per_s", static_cast<double>(counts.sampled_tokens) / seconds},
              {"full", {{"tokens_per_s", summary.full.tokens_per_s()}, {"seconds", summary.full.seconds}}},
              {"tail", {{"tokens_per_s", summary.tail.tokens_per_s()}, {"seconds", summary.tail.seconds}}},
              {"mean_prompt_tokens", static_cast<double>(counts.prompt_tokens) / sequences},
              {"mean_sampled_tokens", static_cast<double>(counts.sampled_tokens) / sequences}};
}

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: collect_bench MODEL WORK_FOLDER [COUNT]\n";
    return 2;
  }
  const auto measured = retort::measure(argv[1], argv[2], argc > 3 ? std::atoll(argv[3]) : 256);
  if (!measured) {
    std::cerr << measured.error().message << '\n';
    return retort::exit_code(measured.error().fault);
  }
  std::cout << retort::canonical_json(*measured) << '\n';
  return 0;
}
