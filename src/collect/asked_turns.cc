// The chat API's way: the teacher is asked in words for a user's message.
#include <algorithm>
#include <array>
#include <string_view>

#include "base/json.h"
#include "base/text.h"
#include "collect/prompt_table.h"
#include "collect/turn_writer.h"
#include "provider/forecast.h"

namespace retort::collect {
namespace {

// Of identity(): to be raised when read() takes other messages than before.
constexpr int kRules = 1;
// Below the limit in tokens, so that few messages are cut.
constexpr double kWordsPerToken = 0.5;
constexpr std::int64_t kFewestWords = 12;
constexpr std::size_t kBeginning = 200;  // bytes in which a refusal shows

// Words that answer the instruction instead of carrying it out. A user's own message that holds them is lost with
// them, and another is drawn.
constexpr std::array<std::string_view, 15> kRefusals = {
    "as an ai ",       "as an ai,",       "as a language model", "i can't help with", "i cannot help with",
    "i can't assist",  "i cannot assist", "i can't write",       "i cannot write",    "i can't create",
    "i cannot create", "i can't fulfill", "i cannot fulfill",    "i can't comply",    "i cannot comply"};
constexpr std::array<std::string_view, 8> kRemarks = {"sure,",
                                                      "sure!",
                                                      "certainly",
                                                      "of course!",
                                                      "here is a message",
                                                      "here's a message",
                                                      "here is the message",
                                                      "here's the message"};

// Small letters and straight apostrophes.
std::string plain_beginning(std::string_view text) {
  constexpr std::string_view kCurly = "\xE2\x80\x99";
  std::string plain = to_lower_ascii(text.substr(0, kBeginning));
  for (std::size_t at = plain.find(kCurly); at != std::string::npos; at = plain.find(kCurly)) {
    plain.replace(at, kCurly.size(), "'");
  }
  return plain;
}

// One pair of quotation marks around everything is the teacher's, not the user's.
std::string_view without_quotes(std::string_view text) {
  constexpr std::array<std::array<std::string_view, 2>, 2> kPairs = {{{"\"", "\""}, {"\xE2\x80\x9C", "\xE2\x80\x9D"}}};
  for (const auto& [open, close] : kPairs) {
    if (text.size() < open.size() + close.size() || !text.starts_with(open) || !text.ends_with(close)) continue;
    const std::string_view inside = text.substr(open.size(), text.size() - open.size() - close.size());
    if (inside.find(open) == std::string_view::npos && inside.find(close) == std::string_view::npos) return inside;
  }
  return text;
}

class Instructions final : public PromptRows {
 public:
  Instructions(std::int64_t count, std::uint64_t seed, std::int64_t most_words)
      : count_(count), plan_(seed), most_words_(most_words) {}
  std::int64_t size() const override { return count_; }
  bool answered(std::int64_t) const override { return false; }
  std::int64_t prompt_bytes(std::int64_t row) const override {
    return static_cast<std::int64_t>(instruction_for(plan_.at(row), most_words_).size());
  }
  Result<PromptRow> at(std::int64_t row) const override {
    PromptRow result;
    result.line = static_cast<std::size_t>(row) + 1;
    result.prompt.messages.push_back({Role::kUser, instruction_for(plan_.at(row), most_words_)});
    return result;
  }

 private:
  std::int64_t count_;
  PromptPlan plan_;
  std::int64_t most_words_;
};

class AskedTurns final : public TurnWriter {
 public:
  std::unique_ptr<PromptRows> asks(std::int64_t count, std::uint64_t seed, std::int64_t most_tokens) const override {
    const auto words = static_cast<std::int64_t>(kWordsPerToken * static_cast<double>(most_tokens));
    return std::make_unique<Instructions>(count, seed, std::max(kFewestWords, words));
  }

  WrittenTurn read(const Completion& completion) const override {
    if (const TurnFlaw flaw = flaw_of(completion.finish_reason); flaw != TurnFlaw::kNone) return {flaw, {}};
    std::string_view text = trim(completion.text);
    // A server that doesn't take a model's reasoning apart leaves it before the text.
    if (constexpr std::string_view kOpen = "<think>", kClose = "</think>"; text.starts_with(kOpen)) {
      const std::size_t end = text.find(kClose);
      if (end == std::string_view::npos) return {TurnFlaw::kBroken, {}};
      text = trim(text.substr(end + kClose.size()));
    }
    text = trim(without_quotes(text));
    if (text.empty()) return {TurnFlaw::kEmpty, {}};
    const std::string beginning = plain_beginning(text);
    const auto holds = [&](std::string_view words) { return beginning.find(words) != std::string::npos; };
    if (std::any_of(kRefusals.begin(), kRefusals.end(), holds)) return {TurnFlaw::kRefused, {}};
    const auto begins = [&](std::string_view words) { return beginning.starts_with(words); };
    if (std::any_of(kRemarks.begin(), kRemarks.end(), begins)) return {TurnFlaw::kBroken, {}};
    return {TurnFlaw::kNone, std::string(text)};
  }

  std::int64_t answer_bytes(const std::string& system) const override {
    return static_cast<std::int64_t>(system.size());
  }

  Json identity() const override {
    Json identity = {{"way", "asked"}, {"rules", kRules}, {"wording", instruction_for({"1", "2", "3", "4"}, 5)}};
    const auto list = [&](const char* name, std::span<const std::string_view> entries) {
      for (const std::string_view entry : entries) identity[name].push_back(entry);
    };
    list("tasks", prompt_tasks());
    list("subjects", prompt_subjects());
    list("writers", prompt_writers());
    list("forms", prompt_forms());
    return identity;
  }
};

}  // namespace

std::unique_ptr<TurnWriter> asked_turns() { return std::make_unique<AskedTurns>(); }

}  // namespace retort::collect
