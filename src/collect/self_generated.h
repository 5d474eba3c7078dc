// A served teacher writes both turns: the user's, in one of the ways of collect/turn_writer.h, and then the answer.
//
// Two collections in the run's one store, each as exact as any (collect/remote_collect.h): first the users' turns, then
// their answers. A turn that was cut, is empty, refused or broken is counted and drawn again in a further round, up to
// `attempts` rounds; each round and its answers are jobs of their own, so that more turns asked for later are added at
// the end, and nothing that was paid for is asked twice. Only the answers are the collection's exchanges; each names
// the exchange that its user's turn was written in (provenance.derived_from), and with it what the teacher was asked
// for.
//
// One thread; the caller owns everything passed in.
#pragma once

#include <filesystem>
#include <stop_token>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "collect/collect_options.h"
#include "collect/remote_collect.h"
#include "collect/remote_estimate.h"
#include "collect/turn_writer.h"
#include "store/exchange_store.h"

namespace retort::collect {

// Precondition: options.count is above 0, and the writer fits teacher.api. Errors and summary as of collect_remote();
// `planned` and `given_up` count exchanges, turns that never came well among the given up.
Result<RemoteSummary> collect_self_generated(const RemoteSource& source, const TurnWriter& writer,
                                             const CollectOptions& options, store::ExchangeStore& store,
                                             net::Transport& transport, const std::filesystem::path& capability_folder,
                                             const Clock& clock, Progress& progress, std::stop_token stop);

// Two requests an exchange.
RemoteEstimate estimate_self_generated(const TurnWriter& writer, const CollectOptions& options);

}  // namespace retort::collect
