// The completions API's way: the teacher goes on with the beginning of its template's user turn.
#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "collect/turn_writer.h"

namespace retort::collect {
namespace {

// One text, as many times as it is asked to be gone on with.
class SameText final : public PromptRows {
 public:
  SameText(std::string text, std::int64_t times) : times_(times) {
    row_.line = 1;
    row_.prompt.messages.push_back({Role::kUser, std::move(text)});
  }
  std::int64_t size() const override { return times_; }
  bool answered(std::int64_t) const override { return false; }
  std::int64_t prompt_bytes(std::int64_t) const override {
    return static_cast<std::int64_t>(row_.prompt.messages.front().content.size());
  }
  Result<PromptRow> at(std::int64_t) const override { return row_; }

 private:
  PromptRow row_;
  std::int64_t times_;
};

class TemplateTurns final : public TurnWriter {
 public:
  explicit TemplateTurns(RawTurns turns)
      : turns_(std::move(turns)),
        to_user_("", "", turns_.ends),
        to_assistant_(turns_.before_user, turns_.after_user, turns_.ends) {}

  std::unique_ptr<PromptRows> asks(std::int64_t count, std::uint64_t, std::int64_t) const override {
    return std::make_unique<SameText>(turns_.before_user, count);
  }

  WrittenTurn read(const Completion& completion) const override {
    if (const TurnFlaw flaw = flaw_of(completion.finish_reason); flaw != TurnFlaw::kNone) return {flaw, {}};
    if (trim(completion.text).empty()) return {TurnFlaw::kEmpty, {}};
    const bool broken = std::any_of(turns_.control.begin(), turns_.control.end(), [&](const std::string& special) {
      return completion.text.find(special) != std::string::npos;
    });
    if (broken) return {TurnFlaw::kBroken, {}};
    return {TurnFlaw::kNone, completion.text};
  }

  const provider::Dialect* turn_dialect() const override { return &to_user_; }
  const provider::Dialect* answer_dialect() const override { return &to_assistant_; }
  // A system message is part of the text before the user's.
  std::int64_t answer_bytes(const std::string&) const override {
    return static_cast<std::int64_t>(turns_.before_user.size() + turns_.after_user.size());
  }
  Json identity() const override {
    return {{"before_user", turns_.before_user}, {"after_user", turns_.after_user}, {"ends", turns_.ends}};
  }

 private:
  const RawTurns turns_;
  const RawCompletions to_user_, to_assistant_;
};

}  // namespace

std::unique_ptr<TurnWriter> template_turns(RawTurns turns) { return std::make_unique<TemplateTurns>(std::move(turns)); }

}  // namespace retort::collect
