#include <limits>

#include "catalogue/catalogue.h"
#include "retort/verb.h"

namespace retort::app {

Result<std::filesystem::path> model_path(const Context& context, const std::string& path_or_name) {
  return catalogue::find_model(path_or_name, context.cache_folder);
}

CLI::Option* add_model_option(CLI::App& app, std::string& model, bool required) {
  CLI::Option* option =
      app.add_option("-m,--model,model", model, "GGUF file, or a name of the catalogue such as smollm2-135m-instruct");
  option->type_name("MODEL");
  if (required) option->required();
  return option;
}

CLI::Option* add_prompt_option(CLI::App& app, std::string& prompt, bool required) {
  CLI::Option* option = app.add_option("-p,--prompt,prompt", prompt, "The text to answer or continue");
  option->type_name("TEXT");
  if (required) option->required();
  return option;
}

void add_sampling_options(CLI::App& app, SamplingOptions& sampling) {
  app.add_option("-n,--predict,--n-predict", sampling.max_tokens, "Most tokens to generate")
      ->check(CLI::Range(1, std::numeric_limits<std::int32_t>::max()))
      ->capture_default_str();
  app.add_option("--temp", sampling.temperature, "Temperature; 0 takes the likeliest token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app.add_option("--top-k", sampling.top_k, "Draw from the K likeliest tokens; 0: from all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--top-p", sampling.top_p,
                 "Draw from the likeliest tokens that together have this probability; 1: from all")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--min-p", sampling.min_p, "Drop tokens below this share of the likeliest one's probability; 0: none")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("-s,--seed", sampling.seed, "The same seed gives the same text")->capture_default_str();
}

void add_engine_options(CLI::App& app, EngineFlags& flags) {
  app.add_option("-c,--ctx-size", flags.context_tokens, "Context in tokens; 0: as the verb needs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("-t,--threads", flags.threads, "Threads; 0: all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

}  // namespace retort::app
