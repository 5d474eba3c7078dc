// How a model file writes a conversation: its tokenizer and its own chat template (Jinja, by llama.cpp's engine).
//
// What people and models wrote is never parsed for special tokens: special tokens come from the template's own text
// only. Whose tokens are whose is found by rendering, by position and never by id. Relied upon everywhere: the
// rendering of k messages is a prefix of that of k+1 messages; a template that breaks this for a conversation is
// refused. The template sees a fixed date (2024-07-26), so that the same messages give the same ids on every day. Const
// functions may be called from any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "exchange/exchange.h"
#include "gguf/file.h"
#include "tokens/tokenizer.h"

namespace retort::tokens {

class ChatFormat {
 public:
  // Error (kCaller): as Tokenizer::load, or the file has no chat template, or a template that doesn't parse.
  static Result<ChatFormat> load(const std::filesystem::path& gguf);
  static Result<ChatFormat> load(const gguf::File& file);
  // With a template other than the file's own: for tests and for files without one.
  static Result<ChatFormat> with_template(const gguf::File& file, std::string template_text);
  ~ChatFormat();
  ChatFormat(ChatFormat&&) noexcept;
  ChatFormat& operator=(ChatFormat&&) noexcept;

  const Tokenizer& tokenizer() const;
  const std::string& template_text() const;
  // SHA-256 of the template's text.
  const Digest& template_digest() const;

  // The conversation as text, as the template writes it. For people; ids come from render().
  Result<std::string> render_text(std::span<const Message> messages, bool add_generation_prompt) const;

  // Ids and spans. Assistants' spans include their end-of-turn token; what follows it (ChatML's newline) is scaffold.
  // Users', systems' and tools' spans are their text alone. Nothing is marked as sampled.
  // Error (kCaller): the template refuses the messages, loses a message's text, or breaks the prefix property.
  Result<TokenizedConversation> render(std::span<const Message> messages, bool add_generation_prompt) const;

  // render() of the prompt, ready for the assistant to go on: its ids alone.
  Result<std::vector<TokenId>> prompt_ids(const Prompt& prompt) const;

  // ---- self-generation (Magpie, arXiv 2406.08464): the model samples the user's turn too ----

  // Ids up to the place where the user's text starts. `system`: at most one system message; with none, the template's
  // default system message is in it if it has one.
  Result<std::vector<TokenId>> user_turn_prefix(std::span<const Message> system) const;
  // The control tokens that end a user's turn in this template. Error: the template ends it with plain text, so
  // self-generation can't tell where it stops.
  Result<std::vector<TokenId>> user_end_ids() const;
  // Scaffold between the user's end token (exclusive) and the assistant's text.
  Result<std::vector<TokenId>> after_user_turn() const;
  // user_turn_prefix + sampled user ids (the end id last) + after_user_turn: ready for the assistant to go on. The
  // user's span is marked as sampled and includes its end id; a given system message has its span. Error (kCaller): the
  // ids are empty, don't end with a user's end id, or hold a control token before it.
  Result<TokenizedConversation> self_generated_prompt(std::span<const Message> system,
                                                      std::span<const TokenId> user_ids) const;

  // `prompt` (render() with a generation prompt, or self_generated_prompt()) followed by the sampled answer, its span
  // marked as sampled. A cut answer has no end id and gets none. Nothing of the template follows.
  // Error (kCaller): an id outside the vocabulary.
  Result<TokenizedConversation> with_sampled_answer(TokenizedConversation prompt,
                                                    std::span<const TokenId> answer_ids) const;

  // Sampling one of these ends an assistant's turn.
  const std::vector<TokenId>& end_ids() const;

 private:
  struct State;
  explicit ChatFormat(std::shared_ptr<const State> state);
  // Up to where the user's text starts, with the system message's span.
  Result<TokenizedConversation> before_user_text(std::span<const Message> system) const;
  // The ids from the end of a user's text on; the first is the control token that ends it.
  Result<std::vector<TokenId>> from_user_end(bool add_generation_prompt) const;
  std::shared_ptr<const State> state_;
};

}  // namespace retort::tokens
