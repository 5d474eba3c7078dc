#include "collect/self_generated.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/random.h"
#include "base/text.h"
#include "collect/spending.h"

namespace retort::collect {
namespace {

constexpr const char* kSource = "self_generated";

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

// Users' turns that lie in the store, in their order.
class StoredTurns final : public PromptRows {
 public:
  StoredTurns(const store::ExchangeStore& store, std::string system) : store_(store), system_(std::move(system)) {}
  void add(const Digest& id, std::size_t bytes) { turns_.push_back({id, static_cast<std::uint32_t>(bytes)}); }

  std::int64_t size() const override { return static_cast<std::int64_t>(turns_.size()); }
  bool answered(std::int64_t) const override { return false; }
  std::int64_t prompt_bytes(std::int64_t row) const override {
    return turns_[static_cast<std::size_t>(row)].bytes + static_cast<std::int64_t>(system_.size());
  }
  Result<PromptRow> at(std::int64_t row) const override {
    RETORT_ASSIGN(Exchange turn, store_.get(turns_[static_cast<std::size_t>(row)].id));
    PromptRow result;
    result.line = static_cast<std::size_t>(row) + 1;
    if (!system_.empty()) result.prompt.messages.push_back({Role::kSystem, system_});
    result.prompt.messages.push_back({Role::kUser, std::move(turn.completion.text)});
    return result;
  }

 private:
  struct Turn {
    Digest id;
    std::uint32_t bytes;
  };
  const store::ExchangeStore& store_;
  std::string system_;
  std::vector<Turn> turns_;
};

bool is_text(const Completion& turn, const RawTurns& turns) {
  if (turn.finish_reason != FinishReason::kEnd || trim(turn.text).empty()) return false;
  return std::none_of(turns.control.begin(), turns.control.end(),
                      [&](const std::string& special) { return turn.text.find(special) != std::string::npos; });
}

// Everything that decides what is asked, beside what a job's name holds anyway.
std::string digest_of(const RawTurns& turns, const char* part) {
  return sha256(canonical_json({{"part", part},
                                {"before_user", turns.before_user},
                                {"after_user", turns.after_user},
                                {"ends", turns.ends}}))
      .hex();
}

void add(RemoteSummary& sum, const RemoteSummary& part) {
  sum.failed += part.failed;
  sum.batches_under_way += part.batches_under_way;
  sum.totals = part.totals;  // of the ledger, which is one
  sum.capabilities = part.capabilities;
  if (part.stopped != Stopped::kNot) sum.stopped = part.stopped;
  if (!part.why.empty()) sum.why = part.why;
}

}  // namespace

Result<RemoteSummary> collect_self_generated(const RemoteSource& source, const RawTurns& turns,
                                             const CollectOptions& options, store::ExchangeStore& store,
                                             net::Transport& transport, const std::filesystem::path& capability_folder,
                                             const Clock& clock, Progress& progress, std::stop_token stop) {
  const double started_s = clock.monotonic_s();
  const auto collect_rows = [&](const RawCompletions& dialect, const PromptRows& rows, const char* part,
                                const CollectOptions& as) {
    RemoteSource asked = source;
    asked.dialect = &dialect;
    return collect_remote(asked, {rows, kSource, digest_of(turns, part)}, as, store, transport, capability_folder,
                          clock, progress, stop);
  };
  const RawCompletions to_user("", "", turns.ends);
  const RawCompletions to_assistant(turns.before_user, turns.after_user, turns.ends);

  RemoteSummary sum;
  sum.planned = options.count;
  bool complete = true;
  std::vector<StoredTurns> rounds;  // those of a round that are texts
  std::int64_t missing = options.count;
  for (std::int64_t round = 0; complete && missing > 0 && round < options.attempts; ++round) {
    CollectOptions user = options;
    user.count = 0;
    user.max_tokens = options.max_user_tokens;
    user.logprobs.reset();
    user.seed = derive_seed(options.seed, "users' turns", static_cast<std::uint64_t>(round));
    const SameText rows(turns.before_user, missing);
    RETORT_ASSIGN(const RemoteSummary part, collect_rows(to_user, rows, "user", user));
    add(sum, part);
    complete = part.complete;
    StoredTurns good(store, options.system);
    for (const Digest& id : part.ids) {
      RETORT_ASSIGN(const Exchange turn, store.get(id));
      if (is_text(turn.completion, turns)) good.add(id, turn.completion.text.size());
    }
    missing -= good.size();
    rounds.push_back(std::move(good));
  }
  for (std::size_t round = 0; complete && round < rounds.size(); ++round) {
    if (rounds[round].size() == 0) continue;
    CollectOptions answer = options;
    answer.count = 0;
    answer.seed = derive_seed(options.seed, "answers to users' turns", round);
    RETORT_ASSIGN(RemoteSummary part, collect_rows(to_assistant, rounds[round], "assistant", answer));
    add(sum, part);
    complete = part.complete;
    sum.asked += part.asked;
    sum.committed += part.committed;
    sum.given_up += part.given_up;
    sum.truncated += part.truncated;
    sum.ids.insert(sum.ids.end(), part.ids.begin(), part.ids.end());
  }
  if (complete) {
    sum.given_up += missing;
    sum.committed += missing;
  }
  sum.complete = complete;
  sum.seconds = clock.monotonic_s() - started_s;
  return sum;
}

RemoteEstimate estimate_self_generated(const RawTurns& turns, const CollectOptions& options) {
  constexpr std::int64_t kFewestTurnTokens = 8;
  RemoteEstimate sum;
  const auto add = [&](const std::string& text, std::int64_t most_tokens) {
    CollectOptions part = options;
    part.count = 0;
    part.max_tokens = most_tokens;
    const RemoteEstimate found = estimate_remote(SameText(text, options.count), part);
    sum.requests += found.requests;
    sum.input_tokens.low += found.input_tokens.low;
    sum.input_tokens.high += found.input_tokens.high;
    sum.output_tokens.low += found.output_tokens.low;
    sum.output_tokens.high += found.output_tokens.high;
  };
  add(turns.before_user, options.max_user_tokens);
  add(turns.before_user + turns.after_user, options.max_tokens);
  sum.input_tokens.low += options.count * kFewestTurnTokens;
  sum.input_tokens.high += options.count * options.max_user_tokens;
  if (const PriceOptions prices = prices_in_mode(options); prices.input_per_mtok && prices.output_per_mtok) {
    sum.nano_usd = AmountRange{price_of(prices, sum.input_tokens.low, sum.output_tokens.low),
                               price_of(prices, sum.input_tokens.high, sum.output_tokens.high)};
  }
  return sum;
}

}  // namespace retort::collect
