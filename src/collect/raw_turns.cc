#include "collect/raw_turns.h"

#include <algorithm>
#include <span>
#include <utility>

#include "provider/openai_completions.h"

namespace retort::collect {
namespace {

constexpr std::size_t kMostEnds = 4;
// What no template writes itself.
constexpr const char* kProbe = "Qz7probe";

std::string text_of(const tokens::Tokenizer& tokenizer, TokenId id) { return tokenizer.piece(id, true); }

}  // namespace

Result<RawTurns> raw_turns_of(const tokens::ChatFormat& format, const std::string& system) {
  const tokens::Tokenizer& tokenizer = format.tokenizer();
  std::vector<Message> messages;
  if (!system.empty()) messages.push_back({Role::kSystem, system});
  messages.push_back({Role::kUser, kProbe});
  RETORT_ASSIGN(const std::vector<TokenId> user_ends, format.user_end_ids());
  RETORT_ASSIGN(const std::string text, format.render_text(messages, true));
  const std::size_t place = text.rfind(kProbe);
  if (place == std::string::npos) return caller_error("The chat template loses the user's text.");
  RawTurns turns;
  turns.before_user = text.substr(0, place);
  turns.after_user = text.substr(place + std::string_view(kProbe).size());
  if (tokenizer.adds_bos() && tokenizer.bos()) {
    const std::string bos = text_of(tokenizer, *tokenizer.bos());
    if (!bos.empty() && turns.before_user.starts_with(bos)) turns.before_user.erase(0, bos.size());
  }
  for (const auto& [special, id] : tokenizer.special_tokens()) {
    if (!special.empty() && tokenizer.is_control(id)) turns.control.push_back(special);
  }
  const auto add_end = [&](TokenId id) {
    const std::string end = text_of(tokenizer, id);
    const bool there = std::find(turns.ends.begin(), turns.ends.end(), end) != turns.ends.end();
    if (!end.empty() && !there && turns.ends.size() < kMostEnds) turns.ends.push_back(end);
  };
  for (const TokenId id : user_ends) add_end(id);
  for (const TokenId id : format.end_ids()) add_end(id);
  return turns;
}

Result<RawTurns> raw_turns_of(const TurnTexts& texts, const std::string& system) {
  if (!system.empty()) {
    return caller_error(
        "collect.system is set, and teacher.template doesn't say where a system message stands; write it into "
        "teacher.template.user, as the teacher's own template does, and leave collect.system out.");
  }
  return RawTurns{texts.user, texts.assistant, {texts.end}, {texts.end, texts.user}};
}

RawCompletions::RawCompletions(std::string before, std::string after, std::vector<std::string> ends)
    : before_(std::move(before)), after_(std::move(after)), ends_(std::move(ends)) {}

std::string_view RawCompletions::name() const { return provider::openai_completions().name(); }
std::string_view RawCompletions::path() const { return provider::openai_completions().path(); }

Result<std::string> RawCompletions::body(const std::string& model, const Prompt& prompt,
                                         const provider::AskOptions& options) const {
  Prompt raw;
  const std::string user = prompt.messages.empty() ? std::string() : prompt.messages.back().content;
  raw.messages.push_back({Role::kUser, before_ + user + after_});
  provider::AskOptions ask = options;
  ask.stop = ends_;
  ask.template_text = true;
  return provider::openai_completions().body(model, raw, ask);
}

std::int64_t RawCompletions::bytes_around() const { return static_cast<std::int64_t>(before_.size() + after_.size()); }

net::Headers RawCompletions::headers(const std::string& key) const {
  return provider::openai_completions().headers(key);
}

Result<provider::Answer> RawCompletions::read(const net::HttpOutcome& outcome) const {
  return provider::openai_completions().read(outcome);
}

}  // namespace retort::collect
