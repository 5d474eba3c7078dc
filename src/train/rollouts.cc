#include "train/rollouts.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/random.h"
#include "train/rank_generator.h"
#include "train/rank_messages.h"

namespace retort::train {
namespace {

AnswerFigures describe(std::span<const dataset::Example> examples, std::span<const TokenId> end_ids,
                       std::int64_t limit) {
  std::vector<std::vector<TokenId>> prompts;
  std::vector<TokenCompletion> answers;
  for (const dataset::Example& example : examples) {
    LastAnswer last = last_answer(example, end_ids, static_cast<std::size_t>(limit));
    if (last.answer.ids.empty()) continue;
    prompts.push_back(std::move(last.prompt));
    answers.push_back(std::move(last.answer));
  }
  return describe_answers(prompts, answers);
}

constexpr const char* kExamples = "examples";
constexpr const char* kStopped = "stopped";

}  // namespace

Result<std::vector<dataset::Example>> RolloutRows::answers(const model::Decoder& student, const RolloutRound& wanted,
                                                           std::stop_token stop) {
  RankGenerator generator(student, ranks_);
  if (ranks_.leads()) {
    auto made = source_->round(generator, wanted, std::move(stop));
    if (ranks_.world() > 1) {
      Json message;
      if (made) {
        message[kExamples] = message_of(*made);
      } else {
        message[kStopped] = made.error().fault == Fault::kInterrupted;
      }
      RETORT_TRY(ranks_.share(message_bytes(message)));
    }
    return made;
  }
  while (true) {
    RETORT_ASSIGN(const std::string bytes, ranks_.share({}));
    const Json message = message_from(bytes);
    if (message.contains(kRequests)) {
      RETORT_TRY(generator.help(message[kRequests], stop));
    } else if (message.contains(kExamples)) {
      return examples_from(message[kExamples]);
    } else if (message[kStopped].get<bool>()) {
      return interrupted("The student's answering was stopped.");
    } else {
      return world_error("The first rank could not ask the student; its own output says why.");
    }
  }
}

Result<std::span<const dataset::PackedRow>> RolloutRows::of_step(std::size_t step, const model::Decoder& student,
                                                                 std::stop_token stop) {
  const std::size_t first = plan_.first_on_policy();
  const auto every = static_cast<std::size_t>(options_.rollout_every);
  const std::size_t number = (step - first) / every;
  const std::size_t begin = first + number * every;
  const std::size_t steps = std::min(every, plan_.steps().size() - begin);
  round_.fresh = false;
  round_.begins = step == begin;
  if (round_.number != static_cast<std::int64_t>(number)) {
    RolloutRound wanted;
    wanted.number = static_cast<std::int64_t>(number);
    wanted.step = static_cast<std::int64_t>(begin);
    for (std::size_t i = begin; i < begin + steps; ++i) wanted.tokens += plan_.steps()[i].rollout_tokens;
    wanted.fingerprint = fingerprint_;
    RETORT_ASSIGN(const std::vector<dataset::Example> examples, answers(student, wanted, std::move(stop)));
    dataset::PackOptions pack;
    pack.max_length = static_cast<std::size_t>(options_.max_length);
    pack.seed = derive_seed(static_cast<std::uint64_t>(options_.seed), "train.rollouts");
    pack.epoch = number;
    packing_ = dataset::pack(examples, pack);
    round_.number = wanted.number;
    round_.fresh = true;
    round_.answers.student = describe(examples, end_ids_, options_.rollout_tokens);
    round_.answers.teacher =
        describe(taught_.first(std::min(examples.size(), taught_.size())), end_ids_, options_.rollout_tokens);
    if (packing_.targets == 0) {
      return world_error(
          "The student's own answers hold nothing to learn from (round " + std::to_string(number + 1) +
          "): within train.max_length = " + std::to_string(options_.max_length) +
          " there is no room after the prompts. Raise train.max_length, or set train.on_policy_from to 1.");
    }
  }
  // Spread evenly; a step has at least one row, even when there are fewer rows than steps.
  const std::size_t rows = packing_.rows.size();
  const std::size_t from = std::min((step - begin) * rows / steps, rows - 1);
  const std::size_t to = std::max((step - begin + 1) * rows / steps, from + 1);
  return std::span<const dataset::PackedRow>(packing_.rows).subspan(from, to - from);
}

}  // namespace retort::train
