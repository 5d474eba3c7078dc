#include "llama/engine.h"

#include <utility>

#include "llama/engine_state.h"

namespace retort::llama {

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::open(const std::filesystem::path& gguf, const EngineOptions& options) {
  RETORT_ASSIGN(Session session, Session::open(gguf, options));
  return std::unique_ptr<Engine>(new Engine(std::make_unique<State>(std::move(session), options)));
}

Result<void> Engine::generate(GenerationJob& job, std::stop_token stop) {
  if (!state_->options.keep_cache) state_->sequences.forget();
  Result<void> result = state_->sequences.run(job, stop, state_->counts);
  // A step that was cut short may have left tokens in the cache that nobody keeps account of.
  if (!result) state_->sequences.forget();
  return result;
}

std::size_t Engine::vocabulary() const { return state_->session.vocabulary(); }
std::size_t Engine::context_tokens() const { return state_->session.context_tokens(); }
std::size_t Engine::parallel() const { return state_->session.parallel(); }
int Engine::threads() const { return state_->session.threads(); }
GenerationCounts Engine::counts() const { return state_->counts; }

}  // namespace retort::llama
