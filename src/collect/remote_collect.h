// Asks a teacher behind an API, many requests at a time, within limits, budget and terms, and never twice for what is
// paid for.
//
// Relied on:
//   - an answer counts when it is in the store, in one transaction with its slot and its line in the ledger; what
//   counts
//     is never asked again, whenever the process dies;
//   - before a request leaves, the most it can cost is reserved in the ledger; settled + reserved never passes a cap;
//   - a denial (401, 402, 403, no credit) ends the collection; nothing is tried by another way;
//   - broken, cut or slow answers are asked again and never kept.
// Exchanges come without tokens: a service tells text, and whose tokenizer reads it is the reader's affair.
//
// One thread; progress, clock and transport are called from it. The caller owns everything passed in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json_fwd.h"
#include "base/progress.h"
#include "collect/collect_options.h"
#include "collect/prompt_rows.h"
#include "collect/teacher_options.h"
#include "net/transport.h"
#include "provider/capabilities.h"
#include "provider/pool.h"
#include "store/exchange_store.h"
#include "store/ledger.h"

namespace retort::collect {

// Who is asked, and by what right.
struct RemoteSource {
  TeacherOptions teacher;
  std::vector<provider::Endpoint> endpoints;  // with their keys
  std::string terms;                          // terms::Decision::record()
  // Borrowed. None: that of teacher.api.
  const provider::Dialect* dialect = nullptr;
};

// What is asked.
struct RemotePrompts {
  const PromptRows& rows;
  std::string source;  // the file's name, for provenance
  std::string digest;  // of what the rows are: part of the job's name
  // Only what batches under way came to is fetched, each looked at once; nothing is asked.
  bool nothing_new = false;
};

// Users' turns that the teacher wrote, and that were not asked: why.
struct DroppedTurns {
  std::int64_t empty = 0;
  std::int64_t cut = 0;      // at max_user_tokens
  std::int64_t refused = 0;  // by the teacher, or its provider's filter
  std::int64_t broken = 0;   // no user's text
  std::int64_t total() const { return empty + cut + refused + broken; }
};

enum class Stopped : std::uint8_t { kNot, kBudget, kSignal, kWorld };
std::string_view name_of(Stopped stopped);  // "", "budget", "signal", "world"

struct RemoteSummary {
  std::int64_t planned = 0;                   // answers
  std::int64_t committed = 0;                 // of them, in the store; those given up by the service's word included
  std::int64_t asked = 0;                     // of them, in this call
  std::int64_t from_file = 0;                 // of them, came with an answer
  std::int64_t given_up = 0;                  // requests that the service will never answer
  std::int64_t failed = 0;                    // requests of this call that were tried until patience ran out
  std::int64_t truncated = 0;                 // answers cut at max_tokens
  std::int64_t batches_under_way = 0;         // at the service, to be fetched by the next call
  std::optional<DroppedTurns> dropped_turns;  // over all calls; of self-generated prompts
  store::Totals totals;                       // of the ledger, over all calls
  bool complete = false;
  Stopped stopped = Stopped::kNot;
  std::string why;  // a sentence, when it isn't complete
  double seconds = 0;
  std::vector<Digest> ids;  // in slot order
  provider::Capabilities capabilities;
};
// `{"planned","committed","attempts","failed","input_tokens","output_tokens","spent_usd","reserved_usd","complete",
// "stopped", …}`
Json to_json(const RemoteSummary& summary);

// The dialect of `teacher.api`. Error (kCaller): none.
Result<const provider::Dialect*> dialect_of(const TeacherOptions& teacher);

// The endpoints of the recipe with their keys; see provider::open_endpoints.
Result<std::vector<provider::Endpoint>> open_endpoints(
    const TeacherOptions& teacher, const std::function<std::optional<std::string>(const std::string&)>& environment);

// `capability_folder` keeps what probing found, for a week. Errors: kWorld where batches of another job of the store
// are under way, whose answers would be forgotten; kCaller where the service refuses everything (key, model, settings)
// or can't give what the recipe needs; kWorld from the store. What ends a collection that has begun is told in the
// summary.
Result<RemoteSummary> collect_remote(const RemoteSource& source, const RemotePrompts& prompts,
                                     const CollectOptions& options, store::ExchangeStore& store,
                                     net::Transport& transport, const std::filesystem::path& capability_folder,
                                     const Clock& clock, Progress& progress, std::stop_token stop);

}  // namespace retort::collect
