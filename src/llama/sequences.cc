#include "llama/sequences.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/text.h"

namespace retort::llama {
namespace {

// A rest of a prompt up to this long goes along with the steps, one token each: a forward pass of its own for so few
// tokens costs a whole walk over the weights.
constexpr std::size_t kShortRest = 8;

std::size_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  const std::size_t count = std::min(a.size(), b.size());
  std::size_t i = 0;
  while (i < count && a[i] == b[i]) ++i;
  return i;
}

}  // namespace

Sequences::Sequences(Session& session)
    : session_(session), slots_(session.parallel()), copy_pays_from_(session.copy_pays_from()) {}

void Sequences::forget() {
  session_.clear();
  for (Slot& slot : slots_) {
    slot.busy = false;
    slot.cached.clear();
  }
  fresh_.clear();
}

std::size_t Sequences::busy() const {
  return static_cast<std::size_t>(std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.busy; }));
}

Result<void> Sequences::check(const TokenRequest& request) const {
  if (request.prompt_ids.empty()) {
    return caller_error("A prompt without any token was given; expected at least one to continue from.");
  }
  if (request.prompt_ids.size() >= session_.context_tokens()) {
    return caller_error("The prompt is " + human_count(static_cast<std::int64_t>(request.prompt_ids.size())) +
                        " tokens long, but the context holds " +
                        human_count(static_cast<std::int64_t>(session_.context_tokens())) +
                        " with the answer; shorten the prompt or ask for a longer context.");
  }
  for (const TokenId id : request.prompt_ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= session_.vocabulary()) {
      return caller_error("The prompt holds the token id " + std::to_string(id) + ", but the model's vocabulary has " +
                          std::to_string(session_.vocabulary()) + " tokens; was it made with another tokenizer?");
    }
  }
  return check_sampling(request.sampling);
}

Result<void> Sequences::run(GenerationJob& job, const std::stop_token& stop, GenerationCounts& counts) {
  for (Slot& slot : slots_) slot.busy = false;
  fresh_.clear();
  exhausted_ = false;
  while (true) {
    if (stop.stop_requested()) return interrupted("Stopped on request.");
    RETORT_TRY(fill(job));
    for (const std::size_t index : fresh_) RETORT_TRY(prefill(slots_[index], index, stop, counts));
    fresh_.clear();
    if (busy() == 0) return {};
    if (exhausted_) compact();
    RETORT_TRY(step(job, stop, counts));
  }
}

Result<void> Sequences::fill(GenerationJob& job) {
  while (!exhausted_ && busy() < slots_.size()) {
    std::optional<TokenRequest> request = job.next();
    if (!request) {
      exhausted_ = true;
      break;
    }
    RETORT_TRY(check(*request));
    // The free slot whose cache already holds most of the prompt.
    std::size_t best = slots_.size();
    std::size_t best_shared = 0;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].busy) continue;
      const std::size_t shared = common_prefix(slots_[i].cached, request->prompt_ids);
      if (best == slots_.size() || shared > best_shared) {
        best = i;
        best_shared = shared;
      }
    }
    Slot& slot = slots_[best];
    slot.busy = true;
    slot.sampled.clear();
    slot.random.emplace(request->sampling.seed);
    const std::size_t room = session_.context_tokens() - request->prompt_ids.size();
    const std::int32_t wanted = request->sampling.max_tokens;
    slot.limit = wanted > 0 ? std::min<std::size_t>(room, static_cast<std::size_t>(wanted)) : room;
    slot.request = std::move(*request);
    fresh_.push_back(best);
  }
  return {};
}

Result<void> Sequences::prefill(Slot& slot, std::size_t sequence, const std::stop_token& stop,
                                GenerationCounts& counts) {
  const std::vector<TokenId>& prompt = slot.request.prompt_ids;
  // The last token is always computed, for its logits.
  const std::span<const TokenId> reusable(prompt.data(), prompt.size() - 1);
  std::size_t shared = common_prefix(slot.cached, reusable);
  std::size_t donor = sequence;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const std::size_t other = common_prefix(slots_[i].cached, reusable);
    if (other >= shared + copy_pays_from_) {
      shared = other;
      donor = i;
    }
  }
  if (donor != sequence) session_.copy(donor, sequence);
  session_.truncate(sequence, shared);
  slot.cached.assign(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(shared));
  counts.reused_tokens += shared;
  counts.prompt_tokens += prompt.size() - shared;

  if (slot.pending() <= kShortRest && busy() >= kShortRest) return {};
  while (slot.pending() > 1) {
    if (stop.stop_requested()) return interrupted("Stopped on request.");
    batch_.clear();
    const std::size_t count = std::min(slot.pending() - 1, session_.batch_tokens());
    for (std::size_t i = 0; i < count; ++i) {
      batch_.add(prompt[slot.cached.size() + i], slot.cached.size() + i, sequence, false);
    }
    RETORT_TRY(session_.decode(batch_, stop));
    ++counts.steps;
    const auto begin = prompt.begin() + static_cast<std::ptrdiff_t>(slot.cached.size());
    slot.cached.insert(slot.cached.end(), begin, begin + static_cast<std::ptrdiff_t>(count));
  }
  return {};
}

void Sequences::compact() {
  std::size_t first = slots_.size();
  std::size_t last = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].busy) continue;
    first = std::min(first, i);
    last = i;
  }
  for (std::size_t hole = first; hole < last; ++hole) {
    if (slots_[hole].busy) continue;
    session_.copy(last, hole);
    std::swap(slots_[hole], slots_[last]);
    slots_[last].cached.clear();
    session_.truncate(last, 0);
    while (last > hole && !slots_[last].busy) --last;
  }
}

Result<void> Sequences::step(GenerationJob& job, const std::stop_token& stop, GenerationCounts& counts) {
  batch_.clear();
  std::vector<std::size_t> rows;  // the slot of each token of the batch
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (!slot.busy) continue;
    batch_.add(slot.next_id(), slot.cached.size(), i, slot.pending() == 1);
    rows.push_back(i);
  }
  RETORT_TRY(session_.decode(batch_, stop));
  ++counts.steps;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    Slot& slot = slots_[rows[row]];
    const bool was_last = slot.pending() == 1;
    slot.cached.push_back(slot.next_id());
    if (!was_last) continue;
    const TokenId id = sampler_.sample(session_.logits(row), slot.request.sampling, *slot.random);
    if (id < 0) {
      return caller_error(
          "The model gave logits that are not numbers; its weights hold NaN or infinity, or overflow in this type.");
    }
    slot.sampled.push_back(id);
    ++counts.sampled_tokens;
    job.sampled(slot.request.tag, id);
    const std::vector<TokenId>& ends = slot.request.end_ids;
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
      RETORT_TRY(finish(slot, FinishReason::kEnd, job));
    } else if (slot.sampled.size() >= slot.limit) {
      RETORT_TRY(finish(slot, FinishReason::kLength, job));
    }
  }
  return {};
}

Result<void> Sequences::finish(Slot& slot, FinishReason reason, GenerationJob& job) {
  slot.busy = false;
  exhausted_ = false;
  return job.finished(slot.request.tag, TokenCompletion{std::move(slot.sampled), reason});
}

}  // namespace retort::llama
