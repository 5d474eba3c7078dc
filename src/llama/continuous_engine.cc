#include "llama/continuous_engine.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/text.h"
#include "exchange/sampling.h"
#include "gguf/architecture.h"
#include "gguf/file.h"
#include "llama/session.h"
#include "llama/slot_table.h"

namespace retort::llama {

struct ContinuousEngine::State {
  State(Session opened, const ContinuousOptions& wanted)
      : session(std::move(opened)), options(wanted), table(session, wanted.reuse_prompts) {}

  Result<void> check(const SequenceRequest& request) const;
  void run(const std::stop_token& stop);

  Session session;
  ContinuousOptions options;
  SlotTable table;  // the engine's thread

  mutable std::mutex mutex;
  std::condition_variable_any changed;
  std::deque<SequenceRequest> queue;
  std::size_t running = 0;
  GenerationCounts counts;
  std::jthread thread;  // last: it uses the others
};

ContinuousEngine::ContinuousEngine(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->thread = std::jthread([state = state_.get()](const std::stop_token& stop) { state->run(stop); });
}

ContinuousEngine::~ContinuousEngine() = default;

Result<std::unique_ptr<ContinuousEngine>> ContinuousEngine::open(const std::filesystem::path& gguf,
                                                                 const ContinuousOptions& options) {
  RETORT_ASSIGN(Session session, Session::open(gguf, options.engine));
  return std::unique_ptr<ContinuousEngine>(new ContinuousEngine(std::make_unique<State>(std::move(session), options)));
}

Result<void> ContinuousEngine::State::check(const SequenceRequest& request) const {
  RETORT_CHECK(request.sink != nullptr);
  const std::size_t size = request.prompt_ids.size();
  if (size == 0) return caller_error("A prompt without any token was given; expected at least one.");
  if (size + (request.sampling.max_tokens != 0 ? 1 : 0) > session.context_tokens()) {
    return caller_error("The prompt is " + human_count(static_cast<std::int64_t>(size)) +
                        " tokens long, but the context holds " +
                        human_count(static_cast<std::int64_t>(session.context_tokens())) +
                        " with the answer; shorten the prompt or ask for a longer context.");
  }
  for (const TokenId id : request.prompt_ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= session.vocabulary()) {
      return caller_error("The prompt holds the token id " + std::to_string(id) + ", but the model's vocabulary has " +
                          std::to_string(session.vocabulary()) + " tokens; was it made with another tokenizer?");
    }
  }
  return check_sampling(request.sampling);
}

Result<void> ContinuousEngine::submit(std::vector<SequenceRequest> requests) {
  for (const SequenceRequest& request : requests) RETORT_TRY(state_->check(request));
  if (requests.size() > state_->options.most_waiting) {
    return caller_error("One request asks for " + std::to_string(requests.size()) + " answers; at most " +
                        std::to_string(state_->options.most_waiting) + " can wait here.");
  }
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->queue.size() + requests.size() > state_->options.most_waiting) {
      return world_error("Too many requests are waiting (" + std::to_string(state_->queue.size()) +
                         "); try again in a moment.");
    }
    std::move(requests.begin(), requests.end(), std::back_inserter(state_->queue));
  }
  state_->changed.notify_all();
  return {};
}

void ContinuousEngine::State::run(const std::stop_token& stop) {
  const Error ending{Fault::kInterrupted, "The server is stopping."};
  std::vector<SequenceRequest> joining;
  std::vector<SequenceRequest> leaving;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex);
      counts = table.counts();
      running = table.busy();
      changed.wait(lock, stop, [this] { return !queue.empty() || table.busy() > 0; });
      if (stop.stop_requested()) break;
      const auto stopped = std::stable_partition(
          queue.begin(), queue.end(), [](const SequenceRequest& request) { return !request.stop.stop_requested(); });
      std::move(stopped, queue.end(), std::back_inserter(leaving));
      queue.erase(stopped, queue.end());
      const std::size_t room = std::min(queue.size(), session.parallel() - table.busy());
      const auto end = queue.begin() + static_cast<std::ptrdiff_t>(room);
      std::move(queue.begin(), end, std::back_inserter(joining));
      queue.erase(queue.begin(), end);
      running += room;
    }
    for (const SequenceRequest& request : leaving) request.sink->failed({Fault::kInterrupted, "Stopped on request."});
    leaving.clear();
    for (SequenceRequest& request : joining) table.start(std::move(request));
    joining.clear();
    table.drop_stopped();
    if (table.busy() == 0) continue;
    const Result<void> done = table.step(stop);
    if (!done) table.fail_all(stop.stop_requested() ? ending : done.error());
  }
  table.fail_all(ending);
  std::deque<SequenceRequest> rest;
  {
    const std::lock_guard lock(mutex);
    rest.swap(queue);
  }
  for (const SequenceRequest& request : rest) request.sink->failed(ending);
}

std::size_t ContinuousEngine::vocabulary() const { return state_->session.vocabulary(); }
std::size_t ContinuousEngine::context_tokens() const { return state_->session.context_tokens(); }
std::size_t ContinuousEngine::parallel() const { return state_->session.parallel(); }

std::size_t ContinuousEngine::running() const {
  const std::lock_guard lock(state_->mutex);
  return state_->running;
}

std::size_t ContinuousEngine::waiting() const {
  const std::lock_guard lock(state_->mutex);
  return state_->queue.size();
}

GenerationCounts ContinuousEngine::counts() const {
  const std::lock_guard lock(state_->mutex);
  return state_->counts;
}

Result<std::size_t> cache_bytes_per_token(const std::filesystem::path& path, KvType kv) {
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(path));
  RETORT_TRY(gguf::check_model(file));
  RETORT_ASSIGN(const std::string architecture, file.architecture());
  const gguf::Metadata& metadata = file.metadata();
  const std::string prefix = architecture + ".";
  RETORT_ASSIGN(const auto layers, metadata.get<std::uint32_t>(prefix + "block_count"));
  RETORT_ASSIGN(const auto hidden, metadata.get<std::uint32_t>(prefix + "embedding_length"));
  RETORT_ASSIGN(const auto heads, metadata.get<std::uint32_t>(prefix + "attention.head_count"));
  RETORT_ASSIGN(const auto kv_heads, metadata.get_or<std::uint32_t>(prefix + "attention.head_count_kv", heads));
  RETORT_ASSIGN(const auto head_dim, metadata.get_or<std::uint32_t>(prefix + "attention.key_length", hidden / heads));
  return std::size_t{layers} * kv_heads * head_dim * 2 * (kv == KvType::kF32 ? 4 : 2);
}

}  // namespace retort::llama
