// A model that answers one thing at a time, its text shown while it is sampled: what `generate` and `chat` share.
//
// Owns tokenizer, chat template (if the file has one) and engine. One thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "exchange/exchange.h"
#include "llama/engine.h"
#include "retort/verb.h"
#include "tokens/chat_format.h"
#include "tokens/tokenizer.h"

namespace retort::app {

struct Spoken {
  std::string text;  // valid UTF-8, without the end token
  std::vector<TokenId> ids;
  FinishReason finish_reason = FinishReason::kUnknown;  // kUnknown: interrupted
  bool interrupted = false;
};

class Speaker {
 public:
  // Error (kCaller): not a usable model. A file without a chat template opens; format() is then null.
  static Result<Speaker> open(const std::filesystem::path& path, const EngineFlags& flags,
                              std::size_t default_context_tokens);

  const tokens::Tokenizer& tokenizer() const { return *tokenizer_; }
  const tokens::ChatFormat* format() const { return format_ ? &*format_ : nullptr; }
  std::size_t context_tokens() const { return engine_->context_tokens(); }

  // Continues the ids. `show` gets the text piece by piece, whole characters only; it may be empty. Stopped: what was
  // said so far, marked as interrupted.
  Result<Spoken> speak(std::vector<TokenId> prompt_ids, const SamplingOptions& sampling, std::vector<TokenId> end_ids,
                       const std::function<void(std::string_view)>& show, std::stop_token stop);

 private:
  Speaker() = default;
  std::optional<tokens::Tokenizer> tokenizer_;
  std::optional<tokens::ChatFormat> format_;
  std::unique_ptr<llama::Engine> engine_;
};

}  // namespace retort::app
