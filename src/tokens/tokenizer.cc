#include "tokens/tokenizer.h"

#include <llama.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <unordered_map>

#include "base/text.h"
#include "base/utf8.h"
#include "gguf/architecture.h"
#include "tokens/fingerprint.h"

namespace retort::tokens {
namespace {

// llama.cpp's log is one per process: the first error of this thread is kept for our own sentence, nothing is printed.
std::string& first_error() {
  thread_local std::string line;
  return line;
}

void keep_error(ggml_log_level level, const char* text, void* /*unused*/) {
  if (level == GGML_LOG_LEVEL_ERROR && text != nullptr && first_error().empty()) first_error() = text;
}

void silence_llama() {
  static std::once_flag once;
  std::call_once(once, [] { llama_log_set(keep_error, nullptr); });
}

struct FreeModel {
  void operator()(llama_model* model) const { llama_model_free(model); }
};

}  // namespace

struct Tokenizer::State {
  std::unique_ptr<llama_model, FreeModel> model;
  const llama_vocab* vocabulary = nullptr;
  bool space_prefix = false;  // a leading space is put before the text (SentencePiece)
  std::vector<TokenId> end_ids;
  std::map<std::string, TokenId, std::less<>> special_ids;
  Digest fingerprint;
  mutable std::once_flag when_asked;  // ids_by_bytes is filled by the first who asks
  mutable std::unordered_map<std::string, TokenId> ids_by_bytes;
};

Tokenizer::Tokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Result<Tokenizer> Tokenizer::load(const std::filesystem::path& gguf) {
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(gguf));
  return load(file);
}

Result<Tokenizer> Tokenizer::load(const gguf::File& file) {
  const std::string where = file.path().string();
  const auto checked = gguf::check_vocabulary(file);
  if (!checked) return with_context(checked.error(), where);
  silence_llama();
  first_error().clear();
  auto state = std::make_shared<State>();
  try {
    llama_model_params parameters = llama_model_default_params();
    parameters.vocab_only = true;
    state->model.reset(llama_model_load_from_file(where.c_str(), parameters));
    if (!state->model) {
      std::string reason = first_error();
      while (!reason.empty() && (reason.back() == '\n' || reason.back() == ' ')) reason.pop_back();
      return caller_error(where + ": llama.cpp can't use this file's vocabulary" +
                          (reason.empty() ? std::string(".") : " (" + reason + ").") +
                          " Convert the model again with a current tool.");
    }
    state->vocabulary = llama_model_get_vocab(state->model.get());
    const llama_vocab* vocabulary = state->vocabulary;
    if (llama_vocab_type(vocabulary) == LLAMA_VOCAB_TYPE_NONE || llama_vocab_n_tokens(vocabulary) <= 0) {
      return caller_error(where + ": the file has no vocabulary, so text can't be turned into tokens.");
    }
    // llama.cpp asserts these when it tokenizes.
    if ((llama_vocab_get_add_bos(vocabulary) && llama_vocab_bos(vocabulary) == LLAMA_TOKEN_NULL) ||
        (llama_vocab_get_add_eos(vocabulary) && llama_vocab_eos(vocabulary) == LLAMA_TOKEN_NULL) ||
        (llama_vocab_get_add_sep(vocabulary) && llama_vocab_sep(vocabulary) == LLAMA_TOKEN_NULL)) {
      return caller_error(where + ": the file asks for BOS, EOS or SEP to be added, but names no such token.");
    }
    for (TokenId id = 0; id < llama_vocab_n_tokens(vocabulary); ++id) {
      if (llama_vocab_is_eog(vocabulary, id)) state->end_ids.push_back(id);
      constexpr int kSpecial = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN;
      if ((llama_vocab_get_attr(vocabulary, id) & kSpecial) != 0) {
        state->special_ids.emplace(llama_vocab_get_text(vocabulary, id), id);
      }
    }
    const bool sentencepiece = llama_vocab_type(vocabulary) == LLAMA_VOCAB_TYPE_SPM;
    RETORT_ASSIGN(state->space_prefix, file.metadata().get_or("tokenizer.ggml.add_space_prefix", sentencepiece));
    state->space_prefix = state->space_prefix && sentencepiece;
    state->fingerprint = vocabulary_fingerprint(file.metadata());
  } catch (const std::exception& error) {
    return caller_error(where + ": llama.cpp can't use this file's vocabulary (" + error.what() + ").");
  }
  return Tokenizer(std::move(state));
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text, SpecialTokens special,
                                               bool bos_eos_as_file_says) const {
  constexpr std::size_t kMaxBytes = std::size_t{1} << 30U;
  if (text.size() > kMaxBytes) {
    return caller_error("The text is longer than 1 GiB; split it into parts.");
  }
  try {
    const auto length = static_cast<std::int32_t>(text.size());
    // A token is at least a byte, but for the few that are added.
    std::vector<TokenId> ids(text.size() + 8);
    const bool parse = special == SpecialTokens::kParse;
    std::int32_t count = llama_tokenize(state_->vocabulary, text.data(), length, ids.data(),
                                        static_cast<std::int32_t>(ids.size()), bos_eos_as_file_says, parse);
    if (count < 0) {
      ids.resize(static_cast<std::size_t>(-static_cast<std::int64_t>(count)));
      count = llama_tokenize(state_->vocabulary, text.data(), length, ids.data(), static_cast<std::int32_t>(ids.size()),
                             bos_eos_as_file_says, parse);
    }
    if (count < 0) return caller_error("The text gives too many tokens for the tokenizer; split it into parts.");
    ids.resize(static_cast<std::size_t>(count));
    ids.shrink_to_fit();
    return ids;
  } catch (const std::exception& error) {
    return caller_error(std::string("The text can't be tokenized with this vocabulary (") + error.what() + ").");
  }
}

Result<std::vector<TokenId>> Tokenizer::encode_continuation(std::string_view text) const {
  if (!state_->space_prefix || text.empty()) return encode(text);
  // SentencePiece would put a space before the text: encode it behind a newline, and take the newline's ids off.
  RETORT_ASSIGN(const std::vector<TokenId> newline, encode("\n"));
  RETORT_ASSIGN(std::vector<TokenId> both, encode("\n" + std::string(text)));
  if (both.size() < newline.size() || !std::equal(newline.begin(), newline.end(), both.begin())) return encode(text);
  both.erase(both.begin(), both.begin() + static_cast<std::ptrdiff_t>(newline.size()));
  return both;
}

std::string Tokenizer::piece(TokenId id, bool show_special) const {
  if (!contains(id)) return {};
  std::string bytes(32, '\0');
  std::int32_t length = llama_token_to_piece(state_->vocabulary, id, bytes.data(),
                                             static_cast<std::int32_t>(bytes.size()), 0, show_special);
  if (length < 0) {
    bytes.resize(static_cast<std::size_t>(-length));
    length = llama_token_to_piece(state_->vocabulary, id, bytes.data(), static_cast<std::int32_t>(bytes.size()), 0,
                                  show_special);
  }
  bytes.resize(static_cast<std::size_t>(std::max(length, 0)));
  return bytes;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool show_special) const {
  std::string text;
  bool first = state_->space_prefix;
  for (const TokenId id : ids) {
    const std::string bytes = piece(id, show_special);
    // The space that encode() put before the text isn't the text's.
    text += first && bytes.starts_with(' ') ? bytes.substr(1) : bytes;
    if (!is_control(id)) first = false;
  }
  return text;
}

std::size_t Tokenizer::vocabulary() const { return static_cast<std::size_t>(llama_vocab_n_tokens(state_->vocabulary)); }

bool Tokenizer::contains(TokenId id) const { return id >= 0 && static_cast<std::size_t>(id) < vocabulary(); }

namespace {
std::optional<TokenId> optional_id(TokenId id) {
  if (id == LLAMA_TOKEN_NULL) return std::nullopt;
  return id;
}
}  // namespace

std::optional<TokenId> Tokenizer::bos() const { return optional_id(llama_vocab_bos(state_->vocabulary)); }
std::optional<TokenId> Tokenizer::eos() const { return optional_id(llama_vocab_eos(state_->vocabulary)); }
std::optional<TokenId> Tokenizer::end_of_turn() const { return optional_id(llama_vocab_eot(state_->vocabulary)); }
bool Tokenizer::adds_bos() const { return llama_vocab_get_add_bos(state_->vocabulary); }
bool Tokenizer::adds_eos() const { return llama_vocab_get_add_eos(state_->vocabulary); }
const std::vector<TokenId>& Tokenizer::end_ids() const { return state_->end_ids; }

bool Tokenizer::is_end(TokenId id) const {
  return std::binary_search(state_->end_ids.begin(), state_->end_ids.end(), id);
}

bool Tokenizer::is_control(TokenId id) const { return contains(id) && llama_vocab_is_control(state_->vocabulary, id); }

std::optional<TokenId> Tokenizer::special_id(std::string_view text) const {
  const auto found = state_->special_ids.find(text);
  if (found == state_->special_ids.end()) return std::nullopt;
  return found->second;
}

std::optional<TokenId> Tokenizer::id_with_bytes(std::string_view bytes) const {
  std::call_once(state_->when_asked, [this] {
    for (TokenId id = 0; contains(id); ++id) {
      if (!is_control(id)) state_->ids_by_bytes.emplace(piece(id), id);
    }
    state_->ids_by_bytes.erase("");
  });
  const auto found = state_->ids_by_bytes.find(std::string(bytes));
  if (found == state_->ids_by_bytes.end()) return std::nullopt;
  return found->second;
}

std::vector<std::pair<std::string, TokenId>> Tokenizer::special_tokens() const {
  return {state_->special_ids.begin(), state_->special_ids.end()};
}

const Digest& Tokenizer::fingerprint() const { return state_->fingerprint; }

std::string sampled_text(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::string text = tokenizer.decode(ids);
  if (is_valid_utf8(text)) return text;
  text.resize(text.size() - unfinished_utf8_suffix(text));
  return repaired_utf8(text);
}

}  // namespace retort::tokens
