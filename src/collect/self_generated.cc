#include "collect/self_generated.h"

#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/random.h"
#include "collect/spending.h"

namespace retort::collect {
namespace {

constexpr const char* kSource = "self_generated";

// Users' turns that lie in the store, in their order.
class StoredTurns final : public PromptRows {
 public:
  StoredTurns(const store::ExchangeStore& store, const TurnWriter& writer, std::string system)
      : store_(store), writer_(writer), system_(std::move(system)) {}
  void add(const Digest& id, std::size_t bytes) { turns_.push_back({id, static_cast<std::uint32_t>(bytes)}); }

  std::int64_t size() const override { return static_cast<std::int64_t>(turns_.size()); }
  bool answered(std::int64_t) const override { return false; }
  std::int64_t prompt_bytes(std::int64_t row) const override {
    return turns_[static_cast<std::size_t>(row)].bytes + static_cast<std::int64_t>(system_.size());
  }
  Result<PromptRow> at(std::int64_t row) const override {
    const Digest& id = turns_[static_cast<std::size_t>(row)].id;
    RETORT_ASSIGN(const Exchange turn, store_.get(id));
    PromptRow result;
    result.line = static_cast<std::size_t>(row) + 1;
    if (!system_.empty()) result.prompt.messages.push_back({Role::kSystem, system_});
    result.prompt.messages.push_back({Role::kUser, writer_.read(turn.completion).text});
    result.derived_from = {id};
    return result;
  }

 private:
  struct Turn {
    Digest id;
    std::uint32_t bytes;
  };
  const store::ExchangeStore& store_;
  const TurnWriter& writer_;
  std::string system_;
  std::vector<Turn> turns_;
};

// Everything that decides what is asked, beside what a job's name holds anyway.
std::string digest_of(const TurnWriter& writer, const char* part) {
  Json parts = writer.identity();
  parts["part"] = part;
  return sha256(canonical_json(parts)).hex();
}

void count(TurnFlaw flaw, DroppedTurns& dropped) {
  switch (flaw) {
    case TurnFlaw::kNone: break;
    case TurnFlaw::kEmpty: ++dropped.empty; break;
    case TurnFlaw::kCut: ++dropped.cut; break;
    case TurnFlaw::kRefused: ++dropped.refused; break;
    case TurnFlaw::kBroken: ++dropped.broken; break;
  }
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

Result<RemoteSummary> collect_self_generated(const RemoteSource& source, const TurnWriter& writer,
                                             const CollectOptions& options, store::ExchangeStore& store,
                                             net::Transport& transport, const std::filesystem::path& capability_folder,
                                             const Clock& clock, Progress& progress, std::stop_token stop) {
  const double started_s = clock.monotonic_s();
  const auto collect_rows = [&](const provider::Dialect* dialect, const PromptRows& rows, const char* part,
                                const CollectOptions& as) {
    RemoteSource asked = source;
    asked.dialect = dialect;
    return collect_remote(asked, {rows, kSource, digest_of(writer, part)}, as, store, transport, capability_folder,
                          clock, progress, stop);
  };

  RemoteSummary sum;
  sum.planned = options.count;
  sum.dropped_turns.emplace();
  bool complete = true;
  std::vector<StoredTurns> rounds;  // those of a round that are texts
  std::int64_t missing = options.count;
  for (std::int64_t round = 0; complete && missing > 0 && round < options.attempts; ++round) {
    CollectOptions user = options;
    user.count = 0;
    user.max_tokens = options.max_user_tokens;
    user.logprobs.reset();
    user.seed = derive_seed(options.seed, "users' turns", static_cast<std::uint64_t>(round));
    const auto rows = writer.asks(missing, user.seed, user.max_tokens);
    RETORT_ASSIGN(const RemoteSummary part, collect_rows(writer.turn_dialect(), *rows, "user", user));
    add(sum, part);
    complete = part.complete;
    StoredTurns good(store, writer, options.system);
    for (const Digest& id : part.ids) {
      RETORT_ASSIGN(const Exchange turn, store.get(id));
      const WrittenTurn written = writer.read(turn.completion);
      count(written.flaw, *sum.dropped_turns);
      if (written.flaw == TurnFlaw::kNone) good.add(id, written.text.size());
    }
    missing -= good.size();
    rounds.push_back(std::move(good));
  }
  for (std::size_t round = 0; complete && round < rounds.size(); ++round) {
    if (rounds[round].size() == 0) continue;
    CollectOptions answer = options;
    answer.count = 0;
    answer.seed = derive_seed(options.seed, "answers to users' turns", round);
    RETORT_ASSIGN(RemoteSummary part, collect_rows(writer.answer_dialect(), rounds[round], "assistant", answer));
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

RemoteEstimate estimate_self_generated(const TurnWriter& writer, const CollectOptions& options) {
  constexpr std::int64_t kFewestTurnTokens = 8;
  RemoteEstimate sum;
  const auto add = [&](std::int64_t most_tokens, const auto& bytes_of) {
    CollectOptions part = options;
    part.count = 0;
    part.max_tokens = most_tokens;
    RemoteEstimator estimator(part);
    for (std::int64_t i = 0; i < options.count; ++i) estimator.see(bytes_of(i), false);
    const RemoteEstimate found = estimator.estimate();
    sum.requests += found.requests;
    sum.input_tokens.low += found.input_tokens.low;
    sum.input_tokens.high += found.input_tokens.high;
    sum.output_tokens.low += found.output_tokens.low;
    sum.output_tokens.high += found.output_tokens.high;
  };
  const auto rows = writer.asks(options.count, options.seed, options.max_user_tokens);
  add(options.max_user_tokens, [&](std::int64_t i) { return rows->prompt_bytes(i); });
  add(options.max_tokens, [&](std::int64_t) { return writer.answer_bytes(options.system); });
  sum.input_tokens.low += options.count * kFewestTurnTokens;
  sum.input_tokens.high += options.count * options.max_user_tokens;
  if (const PriceOptions prices = prices_in_mode(options); prices.input_per_mtok && prices.output_per_mtok) {
    sum.nano_usd = AmountRange{price_of(prices, sum.input_tokens.low, sum.output_tokens.low),
                               price_of(prices, sum.input_tokens.high, sum.output_tokens.high)};
  }
  return sum;
}

}  // namespace retort::collect
