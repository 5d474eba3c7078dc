// Which exchanges are fit to learn from; nothing is dropped without its reason being kept.
//
// Deterministic: depends on the exchanges, their order and the options. Of duplicates the first is kept. Pure
// functions; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/json_fwd.h"
#include "dataset/curate_options.h"
#include "dataset/read_exchange.h"
#include "exchange/exchange.h"

namespace retort::dataset {

// In the order they are looked for: the first that holds is the reason.
enum class DropReason : std::uint8_t {
  kEmpty,                // no words in the answer or in the last user's turn, or no token to learn from
  kTruncated,            // cut at the limit, and curate.drop_truncated
  kTooShort,             // fewer tokens than curate.min_tokens
  kTooLong,              // more tokens than curate.max_tokens
  kRepetition,           // the answer, or a user's turn the teacher sampled, fell into a loop
  kExactDuplicate,       // same messages and answer as an earlier one
  kNormalisedDuplicate,  // the same but for case, spacing and punctuation
};
inline constexpr std::array<DropReason, 7> kDropReasons = {
    DropReason::kEmpty,      DropReason::kTruncated,      DropReason::kTooShort,           DropReason::kTooLong,
    DropReason::kRepetition, DropReason::kExactDuplicate, DropReason::kNormalisedDuplicate};
std::string_view name_of(DropReason reason);  // "empty", "truncated", "too_short", …
Result<DropReason> drop_reason_from_name(std::string_view name);

struct Dropped {
  Digest id;
  DropReason reason = DropReason::kEmpty;
  std::string detail;  // "3 tokens", "same as 0123456789ab"
};

// The outcome: curation.json of a run (docs/formats/dataset.md).
struct Curation {
  std::vector<Digest> kept;  // in the order given
  std::vector<Dropped> dropped;
  // Identity for the split: exchanges with equal group share a prompt, up to normalisation. Parallel to `kept`.
  std::vector<Digest> prompt_groups;
  std::int64_t kept_answer_tokens = 0;
  std::int64_t kept_tokens = 0;  // prompts included
  std::int64_t kept_truncated = 0;

  std::int64_t seen() const { return static_cast<std::int64_t>(kept.size() + dropped.size()); }
  std::int64_t count(DropReason reason) const;
};

// Feed exchanges one at a time (they need not be in memory together), then take the outcome.
class Curator {
 public:
  explicit Curator(CurateOptions options);
  ~Curator();
  Curator(Curator&&) noexcept;
  Curator& operator=(Curator&&) noexcept;
  void add(const Digest& id, const Exchange& exchange);
  Curation finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Curates these ids, in order. Errors: an id that is absent or damaged; kCaller when nothing is left, with
// the counts by reason and what to change.
Result<Curation> curate(const ReadExchange& read, std::span<const Digest> ids, const CurateOptions& options);
inline Result<Curation> curate(const store::ExchangeStore& store, std::span<const Digest> ids,
                               const CurateOptions& options) {
  return curate(reader_of(store), ids, options);
}

Json to_json(const Curation& curation);
Result<Curation> curation_from_json(const Json& json);

// Lower-case (ASCII), runs of white space as one space, ASCII punctuation left out: what normalised comparison
// compares. A text of nothing else stays as it is, trimmed.
std::string normalise_text(std::string_view text);
// prompt_digest() of the prompt with its texts normalised.
Digest normalised_prompt_digest(const Prompt& prompt);

}  // namespace retort::dataset
