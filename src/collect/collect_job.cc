#include "collect/collect_job.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/random.h"
#include "base/text.h"
#include "base/version.h"

namespace retort::collect {

CollectJob::CollectJob(Work work, const tokens::ChatFormat& format, const Source& source, const CollectOptions& options,
                       store::ExchangeStore& store, const Clock& clock, Progress& progress)
    : work_(std::move(work)),
      format_(format),
      source_(source),
      options_(options),
      store_(store),
      clock_(clock),
      progress_(progress),
      start_s_(clock.monotonic_s()),
      last_s_(start_s_) {
  if (!options_.system.empty()) system_.push_back({Role::kSystem, options_.system});
}

Result<void> CollectJob::prepare_self_generation(std::size_t context_tokens) {
  RETORT_ASSIGN(user_prefix_, format_.user_turn_prefix(system_));
  RETORT_ASSIGN(user_end_ids_, format_.user_end_ids());
  RETORT_ASSIGN(const std::vector<TokenId> after, format_.after_user_turn());
  const std::size_t longest = user_prefix_.size() + static_cast<std::size_t>(options_.max_user_tokens) + after.size() +
                              static_cast<std::size_t>(options_.max_tokens);
  if (longest > context_tokens) {
    return caller_error("A user's turn of up to " + std::to_string(options_.max_user_tokens) +
                        " tokens and an answer of up to " + std::to_string(options_.max_tokens) + " need " +
                        std::to_string(longest) + " tokens with the template's own, but the context holds " +
                        std::to_string(context_tokens) + "; lower collect.max_user_tokens or collect.max_tokens.");
  }
  return {};
}

SamplingOptions CollectJob::sampling(std::uint64_t seed, std::int64_t max_tokens) const {
  SamplingOptions result = answer_sampling(options_);
  result.max_tokens = static_cast<std::int32_t>(max_tokens);
  result.seed = seed;
  return result;
}

void CollectJob::enqueue(Pending pending, std::vector<TokenId> prompt_ids, std::vector<TokenId> end_ids) {
  const std::uint64_t tag = next_tag_++;
  ready_.push_back({tag, std::move(prompt_ids), pending.sampling, std::move(end_ids)});
  pending_.emplace(tag, std::move(pending));
}

void CollectJob::ask_user(std::int64_t slot, std::int64_t attempt) {
  Pending pending;
  pending.slot = slot;
  pending.turn = Turn::kUser;
  pending.attempt = attempt;
  pending.sampling = sampling(derive_seed(work_.plan.slot_seed(slot), "user", static_cast<std::uint64_t>(attempt)),
                              options_.max_user_tokens);
  enqueue(std::move(pending), user_prefix_, user_end_ids_);
}

void CollectJob::ask_answer(std::int64_t slot, Prompt prompt, TokenizedConversation tokens) {
  Pending pending;
  pending.slot = slot;
  pending.turn = Turn::kAnswer;
  pending.prompt = std::move(prompt);
  pending.sampling = sampling(work_.plan.answer_seed(slot), options_.max_tokens);
  std::vector<TokenId> prompt_ids = tokens.ids;
  pending.tokens = std::move(tokens);
  enqueue(std::move(pending), std::move(prompt_ids), format_.end_ids());
}

std::optional<TokenRequest> CollectJob::next() {
  if (ready_.empty() && !failure_ && next_slot_ < work_.slots.size()) {
    const std::int64_t slot = work_.slots[next_slot_++];
    if (work_.rows == nullptr) {
      ask_user(slot, 0);
    } else if (auto row = work_.row_of(slot); !row) {
      failure_ = row.error();
    } else if (auto tokens = format_.render(row->prompt.messages, true); !tokens) {
      failure_ = with_context(tokens.error(), work_.prompt_source + ", line " + std::to_string(row->line)).value();
    } else {
      ask_answer(slot, std::move(row->prompt), std::move(*tokens));
    }
  }
  if (ready_.empty()) {
    if (!tail_start_s_) {
      tail_start_s_ = clock_.monotonic_s();
      sampled_before_tail_ = sampled_;
    }
    return std::nullopt;
  }
  TokenRequest request = std::move(ready_.front());
  ready_.pop_front();
  return request;
}

void CollectJob::sampled(std::uint64_t /*tag*/, TokenId /*id*/) {
  if (++sampled_ % 256 == 0) show();
}

void CollectJob::show() {
  const double seconds = clock_.monotonic_s() - start_s_;
  std::string detail;
  if (seconds > 0) {
    detail = human_count(static_cast<std::int64_t>(static_cast<double>(sampled_) / seconds)) + " tokens/s";
  }
  progress_.advance(static_cast<double>(work_.done + settled_), detail);
}

Result<void> CollectJob::finished(std::uint64_t tag, TokenCompletion completion) {
  const auto found = pending_.find(tag);
  RETORT_CHECK(found != pending_.end());
  Pending pending = std::move(found->second);
  pending_.erase(found);
  if (failure_) return Failure(*failure_);
  RETORT_TRY(pending.turn == Turn::kUser ? user_finished(std::move(pending), std::move(completion))
                                         : answer_finished(std::move(pending), std::move(completion)));
  last_s_ = clock_.monotonic_s();
  return {};
}

Result<void> CollectJob::draw_again(const Pending& pending, std::int64_t& counter, const char* reason) {
  ++counter;
  if (pending.attempt + 1 < options_.attempts) {
    ask_user(pending.slot, pending.attempt + 1);
    return {};
  }
  ++slots_given_up_;
  ++settled_;
  return store_.skip({work_.job, pending.slot},
                     std::string(reason) + ", " + std::to_string(options_.attempts) + " times");
}

Result<void> CollectJob::user_finished(Pending pending, TokenCompletion completion) {
  if (completion.finish_reason != FinishReason::kEnd) {
    return draw_again(pending, long_user_turns_, "the user's turn did not end");
  }
  const std::span<const TokenId> text_ids(completion.ids.data(), completion.ids.size() - 1);
  const std::string text = format_.tokenizer().decode(text_ids);
  if (trim(text).empty()) return draw_again(pending, empty_user_turns_, "the user's turn was empty");
  auto tokens = format_.self_generated_prompt(system_, completion.ids);
  if (!tokens || !is_valid_utf8(text)) {
    return draw_again(pending, broken_user_turns_, "the user's turn was not a text");
  }
  Prompt prompt{system_};
  prompt.messages.push_back({Role::kUser, text});
  ask_answer(pending.slot, std::move(prompt), std::move(*tokens));
  return {};
}

Result<void> CollectJob::answer_finished(Pending pending, TokenCompletion completion) {
  std::span<const TokenId> text_ids(completion.ids);
  if (completion.finish_reason == FinishReason::kEnd) text_ids = text_ids.first(text_ids.size() - 1);
  Exchange exchange;
  exchange.prompt = std::move(pending.prompt);
  exchange.completion = {tokens::sampled_text(format_.tokenizer(), text_ids), completion.finish_reason};
  RETORT_ASSIGN(exchange.tokens, format_.with_sampled_answer(std::move(pending.tokens), completion.ids));
  exchange.provenance.generated_by = GeneratedBy::kTeacher;
  exchange.provenance.prompt_source = work_.prompt_source;
  exchange.provenance.model = source_.model;
  exchange.provenance.sampling = pending.sampling;
  exchange.provenance.code_version = std::string(kVersion);
  exchange.provenance.created_at = iso_time(clock_.unix_ms());
  exchange.provenance.terms = source_.terms;
  RETORT_TRY(store_.add(exchange, store::Slot{work_.job, pending.slot}));
  ++asked_;
  ++settled_;
  show();
  return {};
}

void CollectJob::report(CollectSummary& summary) const {
  summary.asked = asked_;
  summary.empty_user_turns = empty_user_turns_;
  summary.long_user_turns = long_user_turns_;
  summary.broken_user_turns = broken_user_turns_;
  summary.slots_given_up += slots_given_up_;
  const double tail_start = tail_start_s_.value_or(last_s_);
  const std::int64_t before_tail = tail_start_s_ ? sampled_before_tail_ : sampled_;
  summary.full = {before_tail, std::max(0.0, tail_start - start_s_)};
  summary.tail = {sampled_ - before_tail, std::max(0.0, last_s_ - tail_start)};
}

}  // namespace retort::collect
