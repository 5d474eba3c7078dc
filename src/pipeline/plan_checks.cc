#include "pipeline/plan_checks.h"

#include <algorithm>
#include <utility>

#include "dataset/example.h"
#include "llama/engine.h"
#include "model/torch_generator.h"
#include "pipeline/run_options.h"
#include "train/step.h"

namespace retort::pipeline {
namespace {

constexpr const char* kQuestions[] = {
    "What is a retort used for in a laboratory?", "Name three rivers of Europe.", "How do I boil an egg?",
    "Write one sentence about the sea.",          "What comes after Wednesday?",  "Explain what a prime number is."};
constexpr std::int32_t kAnswerTokens = 48;

std::vector<std::int64_t> layers_for_checks(const StudentOptions& options, std::int64_t of_teacher) {
  if (options.layers.is_list()) return options.layers.list();
  std::int64_t count = options.layers.count();
  if (count < 1 || count > of_teacher) count = std::max<std::int64_t>(1, of_teacher / 2);
  std::vector<std::int64_t> layers;
  for (std::int64_t i = 0; i < count; ++i) layers.push_back(count == 1 ? 0 : i * (of_teacher - 1) / (count - 1));
  return layers;
}

Result<std::vector<dataset::Example>> answered_now(const LocalModel& local, const model::Decoder& decoder,
                                                   dataset::Supervision supervision, std::stop_token stop) {
  std::vector<TokenizedConversation> prompts;
  std::vector<TokenRequest> requests;
  for (const char* question : kQuestions) {
    const std::vector<Message> messages = {{Role::kUser, question}};
    RETORT_ASSIGN(TokenizedConversation prompt, local.format.render(messages, true));
    TokenRequest request;
    request.prompt_ids = prompt.ids;
    request.sampling.max_tokens = kAnswerTokens;
    request.sampling.seed = prompts.size();
    request.end_ids = local.format.end_ids();
    prompts.push_back(std::move(prompt));
    requests.push_back(std::move(request));
  }
  model::TorchGenerator generator(decoder);
  RETORT_ASSIGN(const std::vector<TokenCompletion> answers, generate_all(generator, requests, std::move(stop)));
  std::vector<dataset::Example> examples;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    Exchange exchange;
    RETORT_ASSIGN(exchange.tokens, local.format.with_sampled_answer(std::move(prompts[i]), answers[i].ids));
    examples.push_back(dataset::make_example({}, exchange, supervision));
  }
  return examples;
}

}  // namespace

Result<std::unique_ptr<Scorer>> open_in_llama(const LocalModel& local, const std::filesystem::path& cache_folder,
                                              std::size_t longest) {
  RETORT_ASSIGN(const std::filesystem::path path, converted_copy(local, gguf::TensorType::kF16, cache_folder));
  llama::EngineOptions options;
  options.parallel = 1;
  options.context_tokens = std::min(longest, static_cast<std::size_t>(local.config.context));
  RETORT_ASSIGN(std::unique_ptr<llama::Engine> engine, llama::Engine::open(path, options));
  return engine;
}

Result<std::vector<train::Check>> plan_checks(const recipe::Recipe& recipe, const LocalModel& local,
                                              const ComputeChoice& compute, const std::filesystem::path& cache_folder,
                                              const Clock& clock, std::stop_token stop) {
  auto options = recipe.get(train::train_option_set());
  options.signal = "online";
  RETORT_ASSIGN(const dataset::Supervision supervision, dataset::supervision_from_name(options.supervise));
  use(compute);
  RETORT_ASSIGN(
      const model::Decoder decoder,
      model::Decoder::from_gguf(local.file, {.compute = compute.type, .backend = compute.backend, .layers = {}}));
  const std::vector<std::int64_t> layers = layers_for_checks(recipe.get(student_option_set()), local.config.layers);
  RETORT_ASSIGN(model::Decoder student, model::Decoder::from_gguf(local.file, {.compute = model::ComputeType::kFloat32,
                                                                               .backend = model::Backend::kKernels,
                                                                               .layers = layers}));
  RETORT_ASSIGN(const std::vector<dataset::Example> examples, answered_now(local, decoder, supervision, stop));
  std::size_t longest = 1;
  for (const dataset::Example& example : examples) longest = std::max(longest, example.ids.size());
  const auto open_other = [&] { return open_in_llama(local, cache_folder, longest); };
  train::StepRunner runner(decoder, std::move(student), options, clock);
  const auto decode = [&local](std::span<const TokenId> ids) { return local.format.tokenizer().decode(ids, true); };
  return train::preflight(runner, options, {&decoder, examples, open_other, kOtherEngine, decode});
}

}  // namespace retort::pipeline
