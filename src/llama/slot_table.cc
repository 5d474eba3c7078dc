#include "llama/slot_table.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

namespace retort::llama {
namespace {

// Prompt tokens that go through the model beside the answers of many others, who wait meanwhile.
constexpr std::size_t kMixedPrompt = 256;

std::size_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  const std::size_t count = std::min(a.size(), b.size());
  return static_cast<std::size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(count), b.begin()).first - a.begin());
}

}  // namespace

SlotTable::SlotTable(Session& session, bool reuse_prompts)
    : session_(session),
      reuse_prompts_(reuse_prompts),
      slots_(session.parallel()),
      copy_pays_from_(session.copy_pays_from()) {}

void SlotTable::start(SequenceRequest request) {
  RETORT_CHECK(has_room());
  Slot& slot = *std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !s.busy; });
  ++busy_;
  slot.busy = true;
  slot.placed = false;
  slot.order = started_++;
  slot.sampled.clear();
  slot.random.emplace(request.sampling.seed);
  const std::size_t room = session_.context_tokens() - request.prompt_ids.size();
  const std::int32_t wanted = request.sampling.max_tokens;
  slot.limit = wanted < 0 ? room : std::min(room, static_cast<std::size_t>(wanted));
  slot.request = std::move(request);
  // Nothing to draw and no logits to tell: done.
  if (slot.limit == 0 && (!slot.request.prompt_logits || slot.request.prompt_ids.size() == 1)) {
    finish(slot, FinishReason::kLength);
  }
}

void SlotTable::release(Slot& slot) {
  slot.busy = false;
  slot.request = {};
  --busy_;
}

void SlotTable::finish(Slot& slot, FinishReason reason) {
  const std::shared_ptr<SequenceSink> sink = slot.request.sink;
  release(slot);
  sink->finished(reason);
}

void SlotTable::drop_stopped() {
  for (Slot& slot : slots_) {
    if (!slot.busy || !slot.request.stop.stop_requested()) continue;
    const std::shared_ptr<SequenceSink> sink = slot.request.sink;
    release(slot);
    sink->failed({Fault::kInterrupted, "Stopped on request."});
  }
}

void SlotTable::fail_all(const Error& error) {
  for (Slot& slot : slots_) {
    slot.cached.clear();
    if (!slot.busy) continue;
    const std::shared_ptr<SequenceSink> sink = slot.request.sink;
    release(slot);
    sink->failed(error);
  }
  session_.clear();
}

void SlotTable::compact() {
  std::size_t last = slots_.size();
  for (std::size_t hole = 0; hole < busy_; ++hole) {
    if (slots_[hole].busy) continue;
    do {
      --last;
    } while (!slots_[last].busy);
    // A slot that isn't placed yet owns nothing in the cache: what lies there is from before.
    if (slots_[last].placed) {
      session_.copy(last, hole);
      std::vector<TokenId> left = slots_[last].cached;  // still there, for a prompt that begins like it
      slots_[hole] = std::exchange(slots_[last], {});
      slots_[last].cached = std::move(left);
    } else {
      std::vector<TokenId> left = std::move(slots_[last].cached);
      std::vector<TokenId> found = std::move(slots_[hole].cached);
      slots_[hole] = std::exchange(slots_[last], {});
      slots_[hole].cached = std::move(found);
      slots_[last].cached = std::move(left);
    }
  }
}

// Takes what is in the cache already. False: another sequence is computing what this one needs; wait for it.
bool SlotTable::place(std::size_t index) {
  Slot& slot = slots_[index];
  // The last token is always computed, for its logits.
  const std::vector<TokenId>& prompt = slot.request.prompt_ids;
  const std::span<const TokenId> reusable(prompt.data(), prompt.size() - 1);
  std::size_t shared = 0;
  if (reuse_prompts_ && !slot.request.prompt_logits) {
    // Nearer than this another's cache isn't worth copying.
    const std::size_t own = common_prefix(slot.cached, reusable);
    std::size_t donor = index;
    std::size_t coming = 0;
    shared = own;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (i == index) continue;
      const Slot& other = slots_[i];
      // What an unplaced slot's cache holds may be overwritten in this very step.
      if (!other.busy || other.placed) {
        const std::size_t there = common_prefix(other.cached, reusable);
        if (there > shared && there >= own + copy_pays_from_) {
          shared = there;
          donor = i;
        }
      }
      if (other.busy && other.order < slot.order && other.sampled.empty()) {
        coming = std::max(coming, common_prefix(other.request.prompt_ids, reusable));
      }
    }
    if (coming > shared && coming >= own + copy_pays_from_) return false;
    if (donor != index) session_.copy(donor, index);
  }
  session_.truncate(index, shared);
  slot.cached.assign(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(shared));
  slot.placed = true;
  counts_.reused_tokens += shared;
  counts_.prompt_tokens += prompt.size() - shared;
  return true;
}

// How many tokens of which slot make up the step; into rows_ in the order of the slots.
void SlotTable::plan() {
  rows_.clear();
  std::vector<std::size_t> counts(slots_.size(), 0);
  std::vector<std::size_t> reading;  // slots whose prompt isn't read, in the order in which they came
  std::size_t answering = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].busy) continue;
    if (slots_[i].answering()) {
      counts[i] = 1;
      ++answering;
    } else {
      reading.push_back(i);
    }
  }
  std::sort(reading.begin(), reading.end(),
            [this](std::size_t a, std::size_t b) { return slots_[a].order < slots_[b].order; });
  std::size_t tokens = session_.batch_tokens() - answering;
  if (answering > reading.size()) tokens = std::min(tokens, kMixedPrompt);
  std::size_t outputs = session_.max_outputs() - answering;
  for (const std::size_t i : reading) {
    if (tokens == 0) break;
    Slot& slot = slots_[i];
    if (!slot.placed && !place(i)) continue;
    std::size_t count = std::min(slot.pending(), tokens);
    if (slot.request.prompt_logits) {
      count = std::min(count, outputs);
      outputs -= count;
    } else if (count == slot.pending()) {
      if (outputs == 0) {
        --count;
      } else {
        --outputs;
      }
    }
    counts[i] = count;
    tokens -= count;
  }
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    for (std::size_t k = 0; k < counts[i]; ++k) {
      const bool last = k + 1 == slot.pending() && slot.limit > 0;
      rows_.push_back({i, slot.cached.size() + k, last || slot.request.prompt_logits});
    }
  }
}

Result<void> SlotTable::step(const std::stop_token& stop) {
  compact();
  plan();
  batch_.clear();
  for (const Row& row : rows_) {
    batch_.add(slots_[row.slot].id_at(row.position), row.position, row.slot, row.wants_logits);
  }
  RETORT_TRY(session_.decode(batch_, stop));
  ++counts_.steps;
  for (const Row& row : rows_) slots_[row.slot].cached.push_back(slots_[row.slot].id_at(row.position));
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].wants_logits) hear(rows_[i], i);
  }
  for (Slot& slot : slots_) {
    if (slot.busy && slot.placed && slot.limit == 0 && slot.pending() == 0) finish(slot, FinishReason::kLength);
  }
  return {};
}

void SlotTable::hear(const Row& row, std::size_t batch_index) {
  Slot& slot = slots_[row.slot];
  if (!slot.busy) return;
  const std::span<const float> logits = session_.logits(batch_index);
  if (row.position + 1 < slot.request.prompt_ids.size()) {
    slot.request.sink->prompt_row(row.position, logits);
    return;
  }
  const TokenId id = sampler_.sample(logits, slot.request.sampling, *slot.random);
  if (id < 0) {
    // The others may be well.
    const std::shared_ptr<SequenceSink> sink = slot.request.sink;
    slot.cached.clear();
    release(slot);
    sink->failed(
        {Fault::kWorld,
         "The model gave logits that are not numbers; its weights hold NaN or infinity, or overflow in this type."});
    return;
  }
  slot.sampled.push_back(id);
  ++counts_.sampled_tokens;
  const bool more = slot.request.sink->sampled(id, logits);
  const std::vector<TokenId>& ends = slot.request.end_ids;
  if (!more || std::find(ends.begin(), ends.end(), id) != ends.end()) {
    finish(slot, FinishReason::kEnd);
  } else if (slot.sampled.size() >= slot.limit) {
    finish(slot, FinishReason::kLength);
  }
}

}  // namespace retort::llama
