// Finds out what the teacher can give, with every paid request in the books, and waits for servers of one's own that
// are still loading. Internal to the module; borrows everything; one thread.
#pragma once

#include <filesystem>
#include <optional>

#include "collect/ready_wait.h"
#include "collect/remote_collect.h"
#include "collect/remote_job.h"
#include "provider/capabilities.h"
#include "provider/forecast.h"

namespace retort::collect {

class Prober {
 public:
  // `folder` keeps what was found, for a week.
  Prober(const RemoteSource& source, const provider::Dialect& dialect, const CollectOptions& options,
         const std::filesystem::path& folder, const RemoteJob::World& world);

  // What all endpoints can give; every one of them has answered once in this call where it is one's own. Errors: as
  // provider::probe(); kWorld where the budget allows no request; of the ledger; as ReadyWait.
  Result<provider::Capabilities> all();

  // Whether the error was that the teacher wasn't ready in time, or the user's wish to stop.
  bool gave_up_waiting() const { return ready_.gave_up(); }

 private:
  Result<provider::Capabilities> one(const provider::Endpoint& endpoint);
  Result<net::HttpOutcome> carry_out(const provider::Endpoint& endpoint, const net::HttpCall& call,
                                     std::optional<provider::WorstCase> bill);
  Result<net::HttpOutcome> pay(const provider::Endpoint& endpoint, const net::HttpCall& call,
                               const provider::WorstCase& bill);

  const RemoteSource& source_;
  const provider::Dialect& dialect_;
  const CollectOptions& options_;
  const std::filesystem::path& folder_;
  store::Ledger& ledger_;
  const Clock& clock_;
  ReadyWait ready_;
};

}  // namespace retort::collect
