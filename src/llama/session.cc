#include "llama/session.h"

#include <sched.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <thread>

#include "base/text.h"
#include "gguf/architecture.h"
#include "gguf/file.h"
#include "llama/log_capture.h"

namespace retort::llama {
namespace {

constexpr std::size_t kMostSequences = 256;  // LLAMA_MAX_SEQ
constexpr std::size_t kContextStep = 256;    // llama.cpp rounds a sequence's cells up to this
constexpr int kMostThreads = 512;            // GGML_MAX_N_THREADS
// Rows of logits held at once: at most so many floats (64 MB), and no more rows than pay.
constexpr std::size_t kMostLogits = std::size_t{16} << 20U;
constexpr std::size_t kMostOutputRows = 256;

bool stop_requested(void* stop) { return static_cast<const std::stop_token*>(stop)->stop_requested(); }

// Lets a stop request end a graph that is being computed; the context must not outlive the token it points at.
class AbortOnStop {
 public:
  AbortOnStop(llama_context* context, const std::stop_token& stop) : context_(context) {
    llama_set_abort_callback(context_, &stop_requested, const_cast<std::stop_token*>(&stop));
  }
  ~AbortOnStop() { llama_set_abort_callback(context_, nullptr, nullptr); }
  AbortOnStop(const AbortOnStop&) = delete;
  AbortOnStop& operator=(const AbortOnStop&) = delete;

 private:
  llama_context* context_;
};

std::string because() {
  const std::string complaint = last_complaint();
  return complaint.empty() ? "." : " (" + complaint + ").";
}

Result<void> check_options(const EngineOptions& options, std::size_t trained_context, std::string_view path) {
  if (options.threads < 0 || options.threads > kMostThreads) {
    return caller_error("The number of threads is " + std::to_string(options.threads) + "; expected 1 to " +
                        std::to_string(kMostThreads) + ", or 0 for all cores.");
  }
  if (options.parallel < 1 || options.parallel > kMostSequences) {
    return caller_error("The number of sequences decoded at once is " + std::to_string(options.parallel) +
                        "; expected 1 to " + std::to_string(kMostSequences) + ".");
  }
  if (options.batch_tokens < options.parallel || options.batch_tokens > 65536) {
    return caller_error("The batch is " + std::to_string(options.batch_tokens) +
                        " tokens; expected at least the number of sequences (" + std::to_string(options.parallel) +
                        ") and at most 65,536.");
  }
  if (options.context_tokens > trained_context) {
    return caller_error("A context of " + human_count(static_cast<std::int64_t>(options.context_tokens)) +
                        " tokens was asked for, but " + std::string(path) + " was trained with " +
                        human_count(static_cast<std::int64_t>(trained_context)) +
                        "; ask for at most that, or 0 for all of it.");
  }
  return {};
}

}  // namespace

int effective_threads(int wanted) {
  if (wanted > 0) return wanted;
  // The cores this process may run on: more threads than that would wait for each other at every barrier.
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) > 0) {
    return std::min(CPU_COUNT(&cores), kMostThreads);
  }
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, static_cast<unsigned>(kMostThreads)));
}

void Batch::clear() {
  tokens_.clear();
  positions_.clear();
  sequences_.clear();
  wants_logits_.clear();
}

void Batch::add(TokenId token, std::size_t position, std::size_t sequence, bool wants_logits) {
  tokens_.push_back(token);
  positions_.push_back(static_cast<llama_pos>(position));
  sequences_.push_back(static_cast<llama_seq_id>(sequence));
  wants_logits_.push_back(wants_logits ? 1 : 0);
}

Result<Session> Session::open(const std::filesystem::path& path, const EngineOptions& options) {
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(path));
  RETORT_TRY(gguf::check_model(file));
  RETORT_ASSIGN(const std::string architecture, file.architecture());
  RETORT_ASSIGN(auto trained_context, file.metadata().get<std::uint32_t>(architecture + ".context_length"));
  RETORT_TRY(check_options(options, trained_context, path.string()));
  if (const std::int64_t window = gguf::sliding_window(file); window > 0 && window < trained_context) {
    // llama.cpp would attend to everything, which is the same only as long as the window holds everything.
    if (static_cast<std::int64_t>(options.context_tokens) > window) {
      return caller_error("A context of " + human_count(static_cast<std::int64_t>(options.context_tokens)) +
                          " tokens was asked for, but " + path.string() + " looks back " + human_count(window) +
                          " tokens (attention.sliding_window), and llama.cpp computes this architecture without a " +
                          "window: ask for at most that, or 0 for all of it.");
    }
    trained_context = static_cast<std::uint32_t>(window);
  }

  static std::once_flag backend_once;
  std::call_once(backend_once, [] { llama_backend_init(); });
  install_log_capture();

  Session session;
  session.threads_ = effective_threads(options.threads);
  session.parallel_ = options.parallel;
  session.batch_tokens_ = options.batch_tokens;
  try {
    llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    model_params.use_extra_bufts = options.repack_weights;
    session.model_.reset(llama_model_load_from_file(path.c_str(), model_params));
    if (!session.model_) {
      return caller_error("The model " + path.string() + " could not be loaded by llama.cpp" + because());
    }
    const llama_vocab* vocab = llama_model_get_vocab(session.model_.get());
    session.vocabulary_ = static_cast<std::size_t>(llama_vocab_n_tokens(vocab));
    session.parameters_ = llama_model_n_params(session.model_.get());
    if (session.vocabulary_ == 0) return caller_error("The model " + path.string() + " has no vocabulary.");

    const std::size_t wanted_context = options.context_tokens == 0 ? trained_context : options.context_tokens;
    const std::size_t cells = (wanted_context + kContextStep - 1) / kContextStep * kContextStep;
    session.max_outputs_ = std::max(
        options.parallel, std::min({kMostLogits / session.vocabulary_, kMostOutputRows, options.batch_tokens}));

    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<std::uint32_t>(cells * options.parallel);
    params.n_batch = static_cast<std::uint32_t>(options.batch_tokens);
    params.n_ubatch = params.n_batch;
    params.n_seq_max = static_cast<std::uint32_t>(options.parallel);
    params.n_outputs_max = static_cast<std::uint32_t>(session.max_outputs_);
    params.n_threads = session.threads_;
    params.n_threads_batch = session.threads_;
    params.flash_attn_type = options.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.type_k = params.type_v = options.kv == KvType::kF32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
    params.no_perf = true;
    // A sequence attends to its own cells only; in one shared buffer each would walk over all.
    params.kv_unified = false;
    session.context_.reset(llama_init_from_model(session.model_.get(), params));
    if (!session.context_) {
      return world_error("llama.cpp could not make a context of " + std::to_string(options.parallel) +
                         " sequences of " + std::to_string(cells) + " tokens" + because() +
                         " Try fewer sequences or a shorter context.");
    }
    session.context_tokens_ =
        std::min<std::size_t>(trained_context, llama_n_ctx(session.context_.get()) / options.parallel);

    // Workers that sleep between graphs instead of polling: libtorch may want the cores.
    ggml_threadpool_params pool_params = ggml_threadpool_params_default(session.threads_);
    pool_params.poll = 0;
    session.pool_.reset(ggml_threadpool_new(&pool_params));
    if (!session.pool_) return world_error("llama.cpp could not start its worker threads.");
    session.thread_ = std::make_unique<ComputeThread>();
    llama_attach_threadpool(session.context_.get(), session.pool_.get(), session.pool_.get());
  } catch (const std::bad_alloc&) {
    return world_error("There is not enough memory to load " + path.string() + ".");
  } catch (const std::exception& error) {
    return caller_error("The model " + path.string() + " could not be loaded by llama.cpp (" + error.what() + ").");
  }
  const auto layers = static_cast<std::uint64_t>(llama_model_n_layer(session.model_.get()));
  const auto heads = static_cast<std::uint64_t>(std::max(1, llama_model_n_head(session.model_.get())));
  const auto kv_heads = static_cast<std::uint64_t>(llama_model_n_head_kv(session.model_.get()));
  const auto width = static_cast<std::uint64_t>(llama_model_n_embd(session.model_.get())) / heads * kv_heads;
  session.copy_bytes_ = session.context_tokens_ * layers * width * 2 * (options.kv == KvType::kF32 ? 4 : 2);
  return session;
}

Result<void> Session::decode(Batch& batch, const std::stop_token& stop) {
  const std::size_t count = batch.tokens_.size();
  RETORT_CHECK(count > 0 && count <= batch_tokens_);
  std::size_t outputs = 0;
  for (std::size_t i = 0; i < count; ++i) {
    RETORT_CHECK(batch.tokens_[i] >= 0 && static_cast<std::size_t>(batch.tokens_[i]) < vocabulary_);
    RETORT_CHECK(batch.positions_[i] >= 0 && static_cast<std::size_t>(batch.positions_[i]) < context_tokens_);
    RETORT_CHECK(static_cast<std::size_t>(batch.sequences_[i]) < parallel_);
    outputs += batch.wants_logits_[i] != 0 ? 1 : 0;
  }
  RETORT_CHECK(outputs <= max_outputs_);
  batch.counts_.assign(count, 1);
  batch.sequence_pointers_.resize(count);
  for (std::size_t i = 0; i < count; ++i) batch.sequence_pointers_[i] = &batch.sequences_[i];

  llama_batch raw{};
  raw.n_tokens = static_cast<std::int32_t>(count);
  raw.token = batch.tokens_.data();
  raw.pos = batch.positions_.data();
  raw.n_seq_id = batch.counts_.data();
  raw.seq_id = batch.sequence_pointers_.data();
  raw.logits = batch.wants_logits_.data();

  std::int32_t status = 0;
  std::optional<Error> failure;
  std::string reason;  // complaints are remembered per thread
  thread_->run([&] {
    clear_complaint();
    try {
      const AbortOnStop abort_on_stop(context_.get(), stop);
      status = llama_decode(context_.get(), raw);
      llama_synchronize(context_.get());
      reason = because();
    } catch (const std::bad_alloc&) {
      failure = Error{Fault::kWorld, "There is not enough memory to run the model."};
    } catch (const std::exception& error) {
      failure = Error{Fault::kWorld, std::string("llama.cpp failed while running the model (") + error.what() + ")."};
    }
  });
  if (failure) return Failure(*failure);
  if (status == 0) return {};
  if (stop.stop_requested()) return interrupted("Stopped on request.");
  return world_error("llama.cpp failed while running the model: status " + std::to_string(status) + reason);
}

std::span<const float> Session::logits(std::size_t index) const {
  const float* row = llama_get_logits_ith(context_.get(), static_cast<std::int32_t>(index));
  RETORT_CHECK(row != nullptr);
  return {row, vocabulary_};
}

void Session::clear() { llama_memory_clear(llama_get_memory(context_.get()), false); }

void Session::truncate(std::size_t sequence, std::size_t position) {
  const bool removed = llama_memory_seq_rm(llama_get_memory(context_.get()), static_cast<llama_seq_id>(sequence),
                                           static_cast<llama_pos>(position), -1);
  RETORT_CHECK(removed);  // fails for recurrent memories only
}

void Session::copy(std::size_t from, std::size_t to) {
  llama_memory_seq_cp(llama_get_memory(context_.get()), static_cast<llama_seq_id>(from), static_cast<llama_seq_id>(to),
                      -1, -1);
}

std::size_t Session::copy_pays_from() const {
  // Copying moves copy_bytes at some 4 GB/s, computing takes 2 * parameters FLOPs a token at some 300 GFLOP/s.
  const double tokens = static_cast<double>(copy_bytes_) / 4e9 /
                        (2.0 * static_cast<double>(std::max<std::uint64_t>(parameters_, 1)) / 3e11);
  return static_cast<std::size_t>(std::clamp(tokens, 4.0, 4096.0));
}

}  // namespace retort::llama
