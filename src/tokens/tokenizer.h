// The tokenizer of a model file: exact bytes in, token ids out, and back.
//
// Loaded through llama.cpp's vocabulary-only path after gguf::File::open() and checks of the vocabulary's own shape, so
// any architecture's file will do, also one without weights. Nothing is printed. Movable; const functions may be called
// from any thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "exchange/exchange.h"
#include "gguf/file.h"

namespace retort::tokens {

enum class SpecialTokens {
  kAsText,  // "<|im_end|>" in the text is ten characters: for whatever a person or a model wrote
  kParse,   // it is the token: for texts of the template itself
};

class Tokenizer {
 public:
  // Error (kCaller): not a GGUF file, no vocabulary, or one that llama.cpp can't use.
  static Result<Tokenizer> load(const std::filesystem::path& gguf);
  static Result<Tokenizer> load(const gguf::File& file);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // The bytes as they are: no trimming, no template. `as_file_says`: BOS/EOS added when the file's metadata says so.
  // Valid UTF-8, NUL included, always has ids; other bytes are taken as llama.cpp's tokenizer takes them. Error
  // (kCaller): bytes that it refuses (a code point beyond U+10FFFF), or a text of more than 2^30 bytes.
  Result<std::vector<TokenId>> encode(std::string_view text, SpecialTokens special = SpecialTokens::kAsText,
                                      bool bos_eos_as_file_says = false) const;
  // Bytes; may be invalid UTF-8 where ids were cut inside a character. Ids outside the vocabulary are skipped.
  std::string decode(std::span<const TokenId> ids, bool show_special = false) const;
  // The bytes of one token, for streaming: hold back unfinished UTF-8 (base/text.h, unfinished_utf8_suffix).
  std::string piece(TokenId id, bool show_special = false) const;

  std::size_t vocabulary() const;
  bool contains(TokenId id) const;
  std::optional<TokenId> bos() const;
  std::optional<TokenId> eos() const;
  std::optional<TokenId> end_of_turn() const;
  bool adds_bos() const;
  bool adds_eos() const;
  // Sampling one of these ends a text: end of sequence, of turn, of message. Ascending.
  const std::vector<TokenId>& end_ids() const;
  bool is_end(TokenId id) const;
  // Control tokens show no text and are never made from a person's text.
  bool is_control(TokenId id) const;
  // The id whose exact special text this is ("<|im_start|>"), if there is one.
  std::optional<TokenId> special_id(std::string_view text) const;
  // The token with these bytes (of several the first) that is no control token.
  std::optional<TokenId> id_with_bytes(std::string_view bytes) const;
  // All of them, by text: control, user-defined and unknown tokens.
  std::vector<std::pair<std::string, TokenId>> special_tokens() const;

  // Two tokenizers with one fingerprint give the same ids for every text: SHA-256 over vocabulary, token types, scores,
  // merges, kind of tokenizer, and special ids.
  const Digest& fingerprint() const;

 private:
  friend class ChatFormat;
  struct State;
  explicit Tokenizer(std::shared_ptr<const State> state);
  // The text goes on where other text stopped: no leading-space rule of the tokenizer applies.
  Result<std::vector<TokenId>> encode_continuation(std::string_view text) const;
  std::shared_ptr<const State> state_;
};

// The text of ids that were sampled, as valid UTF-8: a character cut at the end is left out, other bytes that are no
// UTF-8 become U+FFFD.
std::string sampled_text(const Tokenizer& tokenizer, std::span<const TokenId> ids);

}  // namespace retort::tokens
