// `retort serve`: a model behind an OpenAI-compatible API.
#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "base/text.h"
#include "gguf/architecture.h"
#include "gguf/file.h"
#include "llama/continuous_engine.h"
#include "net/server.h"
#include "retort/verb.h"
#include "serve/service.h"
#include "tokens/chat_format.h"
#include "tokens/tokenizer.h"

namespace retort::app {
namespace {

constexpr std::size_t kContextTokens = 2048;
constexpr std::size_t kMostParallel = 32;
// What the KV cache takes when nobody says how many sequences shall run at once.
constexpr std::size_t kCacheBytes = std::size_t{2} << 30U;

struct Flags {
  std::string model;
  std::string name;
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::int64_t context_tokens = 0;
  std::int64_t parallel = 0;
  std::int64_t threads = 0;
  bool exact = false;
};

// Everything the model needs, in the order in which it must be destroyed (backwards).
struct LoadedModel {
  std::shared_ptr<const tokens::Tokenizer> tokenizer;
  std::shared_ptr<const tokens::ChatFormat> format;
  std::unique_ptr<llama::ContinuousEngine> engine;
};

Result<llama::ContinuousOptions> engine_options(const gguf::File& file, const std::filesystem::path& path,
                                                const Flags& flags) {
  RETORT_ASSIGN(const std::string architecture, file.architecture());
  RETORT_ASSIGN(const auto trained, file.metadata().get<std::uint32_t>(architecture + ".context_length"));
  llama::ContinuousOptions options;
  options.engine.threads = static_cast<int>(flags.threads);
  options.engine.context_tokens = flags.context_tokens > 0 ? static_cast<std::size_t>(flags.context_tokens)
                                                           : std::min<std::size_t>(kContextTokens, trained);
  if (const std::int64_t window = gguf::sliding_window(file); window > 0 && flags.context_tokens == 0) {
    options.engine.context_tokens = std::min(options.engine.context_tokens, static_cast<std::size_t>(window));
  }
  if (flags.exact) {
    options.engine.kv = llama::KvType::kF32;
    options.engine.flash_attention = false;
    options.reuse_prompts = false;
  }
  RETORT_ASSIGN(const std::size_t token_bytes, llama::cache_bytes_per_token(path, options.engine.kv));
  const std::size_t sequence_bytes = std::max<std::size_t>(token_bytes * options.engine.context_tokens, 1);
  options.engine.parallel = flags.parallel > 0
                                ? static_cast<std::size_t>(flags.parallel)
                                : std::clamp<std::size_t>(kCacheBytes / sequence_bytes, 1, kMostParallel);
  options.engine.batch_tokens = std::max<std::size_t>(512, options.engine.parallel);
  return options;
}

Result<LoadedModel> load(const gguf::File& file, const std::filesystem::path& path,
                         const llama::ContinuousOptions& options) {
  LoadedModel model;
  RETORT_ASSIGN(tokens::Tokenizer tokenizer, tokens::Tokenizer::load(file));
  model.tokenizer = std::make_shared<const tokens::Tokenizer>(std::move(tokenizer));
  if (file.metadata().contains("tokenizer.chat_template")) {
    RETORT_ASSIGN(tokens::ChatFormat format, tokens::ChatFormat::load(file));
    model.format = std::make_shared<const tokens::ChatFormat>(std::move(format));
  }
  RETORT_ASSIGN(model.engine, llama::ContinuousEngine::open(path, options));
  return model;
}

// Waits for a signal or the end of loading, whichever comes first.
class Waiter {
 public:
  explicit Waiter(std::stop_token stop) : stop_(std::move(stop)), on_stop_(stop_, [this] { wake(); }) {}
  void wake() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
  void loaded() {
    const std::lock_guard lock(mutex_);
    loaded_ = true;
    changed_.notify_all();
  }
  void wait_until_loaded_or_stopped() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return loaded_ || stop_.stop_requested(); });
  }
  void wait_until_stopped() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stop_.stop_requested(); });
  }

 private:
  std::stop_token stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool loaded_ = false;
  std::stop_callback<std::function<void()>> on_stop_;  // last: it uses the others
};

std::uint64_t fresh_entropy() {
  std::random_device device;
  return (std::uint64_t{device()} << 32U) | device();
}

Result<void> serve(const Flags& flags, Context& context) {
  // What is wrong with the file's header is said before anybody connects.
  RETORT_ASSIGN(const std::filesystem::path path, model_path(context, flags.model));
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(path));
  RETORT_TRY(gguf::check_model(file));
  RETORT_ASSIGN(const llama::ContinuousOptions options, engine_options(file, path, flags));
  // A model of the catalogue is known by the name it was asked for.
  const std::string own_name = is_there(flags.model) ? path.stem().string() : flags.model;
  const std::string name = flags.name.empty() ? own_name : flags.name;

  Result<LoadedModel> model = world_error("The model was not loaded.");
  serve::Service service(name, fresh_entropy(), context.clock);
  net::ServerOptions server_options;
  server_options.host = flags.host;
  server_options.port = flags.port;
  server_options.error_response = serve::protocol_error;
  RETORT_ASSIGN(
      const std::unique_ptr<net::HttpServer> server,
      net::HttpServer::listen(server_options, [&](net::HttpRequest request, std::shared_ptr<net::Reply> reply) {
        service.handle(std::move(request), std::move(reply));
      }));
  if (context.json) {
    context.emit({{"listening", server->url()}, {"model", name}});
  } else {
    context.out << "listening on " << server->url() << '\n';
  }
  context.out << std::flush;

  Waiter waiter(context.stop);
  const double start_s = context.clock.monotonic_s();
  std::thread loader([&] {
    model = load(file, path, options);
    waiter.loaded();
  });
  waiter.wait_until_loaded_or_stopped();
  loader.join();
  if (!model) return Failure(model.error());
  service.ready({model->tokenizer, model->format, model->engine.get()});
  if (!context.stop.stop_requested()) {
    context.progress.note("Ready after " + human_seconds(context.clock.monotonic_s() - start_s) + ": " + name + ", " +
                          std::to_string(model->engine->parallel()) + " sequences of " +
                          human_count(static_cast<std::int64_t>(model->engine->context_tokens())) +
                          " tokens at once. Ctrl-C lets running answers finish, and ends.");
  }
  waiter.wait_until_stopped();
  server->drain();
  return {};
}

}  // namespace

void register_serve(VerbSetup& verb) {
  const auto flags = std::make_shared<Flags>();
  add_model_option(verb.app, flags->model);
  verb.app.add_option("--port", flags->port, "TCP port; 0: a free one, which the line on standard output tells")
      ->capture_default_str();
  verb.app
      .add_option("--host", flags->host, "Address to listen on; 0.0.0.0 lets other machines in, without any password")
      ->capture_default_str();
  verb.app.add_option("--name", flags->name,
                      "The model's name in requests; default: that of the catalogue, or the file's without .gguf");
  verb.app
      .add_option("-c,--ctx-size,--context", flags->context_tokens,
                  "Tokens of a prompt and its answer together; 0: 2048, or the model's own when it has less")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.app
      .add_option("--parallel", flags->parallel,
                  "Sequences that run at once; others wait. 0: 32, or as many as fit into 2 GiB of KV cache")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  verb.app.add_option("-t,--threads", flags->threads, "Threads; 0: all cores")
      ->check(CLI::Range(0, 512))
      ->capture_default_str();
  verb.app.add_flag(
      "--exact", flags->exact,
      "FP32 cache, no flash attention, no shared prompts: log-probabilities as `retort score` gives them");
  verb.app.footer(
      "Paths: /v1/chat/completions, /v1/completions (with echo and logprobs: scores a text), /v1/models, /health.\n"
      "docs/SERVING.md shows how clients use it.");
  verb.action = [flags](Context& context) { return serve(*flags, context); };
}

}  // namespace retort::app
