// How fast a decoder in the training process generates: rollouts of fixed length, many at a time.
//
//   rollout_bench MODEL WORK_FOLDER [PARALLEL PROMPT SAMPLED [cpu|cuda]]
//
// Prints one JSON document; the weights' F16 copy, named in it, is what benchmarks/rollouts.py gives to llama.cpp's
// llama-batched-bench.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "gguf/file.h"
#include "gguf/writer.h"
#include "model/backend.h"
#include "model/decoder.h"
#include "model/torch_generator.h"

namespace retort {
namespace {

struct Sizes {
  std::int64_t parallel = 64, prompt = 32, sampled = 128;
};

class Rollouts final : public GenerationJob {
 public:
  Rollouts(const Sizes& sizes, std::int64_t vocabulary) : sizes_(sizes), vocabulary_(vocabulary) {}
  std::optional<TokenRequest> next() override {
    if (given_ == sizes_.parallel) return std::nullopt;
    TokenRequest request;
    request.tag = static_cast<std::uint64_t>(given_++);
    for (std::int64_t i = 0; i < sizes_.prompt; ++i) {
      request.prompt_ids.push_back(static_cast<TokenId>((given_ * 131 + i * 17 + 100) % vocabulary_));
    }
    request.sampling = {.temperature = 1, .top_p = 1, .max_tokens = static_cast<std::int32_t>(sizes_.sampled)};
    request.sampling.seed = request.tag;
    return request;
  }
  Result<void> finished(std::uint64_t /*tag*/, TokenCompletion completion) override {
    tokens += static_cast<std::int64_t>(completion.ids.size());
    return {};
  }
  std::int64_t tokens = 0;

 private:
  Sizes sizes_;
  std::int64_t vocabulary_;
  std::int64_t given_ = 0;
};

Result<Json> measure(const std::filesystem::path& path, const std::filesystem::path& folder, const Sizes& sizes,
                     const std::string& device) {
  const SystemClock clock;
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(path));
  RETORT_TRY(make_folder(folder));
  const std::filesystem::path copy = folder / "F16.gguf";
  RETORT_TRY(gguf::convert(file, gguf::TensorType::kF16, copy));
  RETORT_ASSIGN(const model::Backend backend, model::choose_backend(device));
  RETORT_ASSIGN(
      const model::Decoder decoder,
      model::Decoder::from_gguf(file, {.compute = model::ComputeType::kBFloat16, .backend = backend, .layers = {}}));
  model::TorchGenerator generator(decoder, static_cast<std::size_t>(sizes.parallel));
  Rollouts warm_up({sizes.parallel, 8, 4}, decoder.config().vocabulary);
  RETORT_TRY(generator.generate(warm_up, {}));
  Rollouts job(sizes, decoder.config().vocabulary);
  const double start_s = clock.monotonic_s();
  RETORT_TRY(generator.generate(job, {}));
  const double seconds = clock.monotonic_s() - start_s;
  return Json{{"path", copy.string()},
              {"parallel", sizes.parallel},
              {"prompt_tokens", sizes.prompt},
              {"sampled_tokens", sizes.sampled},
              {"seconds", seconds},
              {"compute_type", "bfloat16"},
              {"device", model::name_of(backend)},
              {"tokens_per_s", static_cast<double>(job.tokens) / seconds}};
}

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {
  if (argc != 3 && argc != 6 && argc != 7) {
    std::cerr << "usage: rollout_bench MODEL WORK_FOLDER [PARALLEL PROMPT SAMPLED [cpu|cuda]]\n";
    return 2;
  }
  retort::Sizes sizes;
  if (argc >= 6) sizes = {std::atoll(argv[3]), std::atoll(argv[4]), std::atoll(argv[5])};
  const auto measured = retort::measure(argv[1], argv[2], sizes, argc == 7 ? argv[6] : "cpu");
  if (!measured) {
    std::cerr << measured.error().message << '\n';
    return retort::exit_code(measured.error().fault);
  }
  std::cout << retort::canonical_json(*measured) << '\n';
  return 0;
}
