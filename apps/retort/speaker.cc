#include "retort/speaker.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "gguf/file.h"

namespace retort::app {
namespace {

class OneAnswer final : public GenerationJob {
 public:
  OneAnswer(TokenRequest request, const tokens::Tokenizer& tokenizer, const std::function<void(std::string_view)>& show)
      : request_(std::move(request)), tokenizer_(tokenizer), show_(show) {}

  std::optional<TokenRequest> next() override { return std::exchange(request_, std::nullopt); }

  void sampled(std::uint64_t /*tag*/, TokenId id) override {
    ids.push_back(id);
    if (tokenizer_.is_end(id)) return;
    held_back_ += tokenizer_.piece(id);
    const std::size_t whole = held_back_.size() - unfinished_utf8_suffix(held_back_);
    if (whole == 0) return;
    if (show_) show_(std::string_view(held_back_).substr(0, whole));
    text += held_back_.substr(0, whole);
    held_back_.erase(0, whole);
  }

  Result<void> finished(std::uint64_t /*tag*/, TokenCompletion completion) override {
    finish_reason = completion.finish_reason;
    return {};
  }

  std::string text;
  std::vector<TokenId> ids;
  FinishReason finish_reason = FinishReason::kUnknown;

 private:
  std::optional<TokenRequest> request_;
  const tokens::Tokenizer& tokenizer_;
  const std::function<void(std::string_view)>& show_;
  std::string held_back_;  // bytes of an unfinished character
};

}  // namespace

Result<Speaker> Speaker::open(const std::filesystem::path& path, const EngineFlags& flags,
                              std::size_t default_context_tokens) {
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(path));
  Speaker speaker;
  RETORT_ASSIGN(speaker.tokenizer_, tokens::Tokenizer::load(file));
  if (file.metadata().contains("tokenizer.chat_template")) {
    RETORT_ASSIGN(speaker.format_, tokens::ChatFormat::load(file));
  }
  llama::EngineOptions options;
  options.threads = static_cast<int>(flags.threads);
  options.parallel = 1;
  options.keep_cache = true;
  if (flags.context_tokens > 0) {
    options.context_tokens = static_cast<std::size_t>(flags.context_tokens);
  } else {
    RETORT_ASSIGN(const std::string architecture, file.architecture());
    RETORT_ASSIGN(const auto trained, file.metadata().get_or<std::int64_t>(architecture + ".context_length", 0));
    options.context_tokens =
        std::min(default_context_tokens, static_cast<std::size_t>(std::max<std::int64_t>(trained, 0)));
  }
  RETORT_ASSIGN(speaker.engine_, llama::Engine::open(path, options));
  return speaker;
}

Result<Spoken> Speaker::speak(std::vector<TokenId> prompt_ids, const SamplingOptions& sampling,
                              std::vector<TokenId> end_ids, const std::function<void(std::string_view)>& show,
                              std::stop_token stop) {
  OneAnswer job(TokenRequest{0, std::move(prompt_ids), sampling, std::move(end_ids)}, *tokenizer_, show);
  const Result<void> done = engine_->generate(job, stop);
  if (!done && done.error().fault != Fault::kInterrupted) return Failure(done.error());
  Spoken spoken{std::move(job.text), std::move(job.ids), job.finish_reason, !done};
  if (!is_valid_utf8(spoken.text)) {
    // Writing JSON replaces what isn't UTF-8.
    const auto repaired = parse_json(canonical_json(Json(spoken.text)), "answer");
    spoken.text = repaired && repaired->is_string() ? repaired->get<std::string>() : std::string();
  }
  return spoken;
}

}  // namespace retort::app
