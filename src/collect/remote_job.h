// The loop of one collect_remote() call: what to send next, what came back, what is kept. Internal to the module.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <queue>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "collect/remote_collect.h"
#include "collect/remote_request.h"
#include "collect/slot_plan.h"
#include "collect/spending.h"
#include "provider/forecast.h"

namespace retort::collect {

class RemoteJob {
 public:
  struct World {
    store::ExchangeStore& store;
    store::Ledger& ledger;
    net::Transport& transport;
    const Clock& clock;
    Progress& progress;
    std::stop_token stop;
  };
  // `slots`: those still to be asked, ascending.
  RemoteJob(const RemoteSource& source, const provider::Dialect& dialect, const RemotePrompts& prompts,
            const CollectOptions& options, const SlotPlan& plan, std::string job, std::vector<std::int64_t> slots,
            const provider::Capabilities& capabilities, const store::Totals& before, World world);

  // Until everything is answered, or something ends it. Error: the store's.
  Result<void> run();
  // What this call did.
  void report(RemoteSummary& summary) const;
  // Set when the service refused everything that it was asked.
  const std::optional<Error>& refusal() const { return refusal_; }

 private:
  struct Request {
    std::int64_t slot = 0;
    int failures = 0;
    std::int64_t bytes = 0;  // of the prompt
    provider::WorstCase worst;
    std::shared_ptr<const PromptRow> row;  // while it is about to be sent or under way
  };
  struct InFlight {
    Request request;
    std::int64_t reservation = 0;
    std::size_t endpoint = 0;
    double predicted_tokens = 0;
  };
  struct Retry {
    double due_s = 0;
    Request request;
    bool operator<(const Retry& other) const { return due_s > other.due_s; }  // the earliest first
  };
  struct Sending {
    std::uint64_t tag = 0;
    net::HttpCall call;
    store::Reservation reservation;
  };

  Result<std::optional<Request>> next(double now_s);
  void put_back(Request request);
  Result<void> start_more();
  Result<Sending> prepare(const Request& request, std::size_t endpoint);
  Result<void> finished(std::vector<net::FinishedCall> calls);
  void take(InFlight& flight, net::HttpOutcome& outcome, std::vector<store::Settlement>& settlements,
            std::vector<store::NewExchange>& kept);
  void keep(const InFlight& flight, provider::Answer answer, std::vector<store::NewExchange>& kept);
  void ask_again(InFlight& flight, const provider::Verdict& verdict, const provider::ToldLimits& told);
  void give_up(const InFlight& flight, const provider::Verdict& verdict);
  void end(Stopped stopped, std::string why);
  void lose_patience();
  Result<void> write_given_up();
  bool anything_left() const { return next_slot_ < slots_.size() || !retries_.empty() || !again_.empty(); }
  void show();

  const provider::Dialect& dialect_;
  const CollectOptions& options_;
  const std::vector<std::int64_t> slots_;
  const RemoteRequests requests_;
  World world_;

  provider::Pool pool_;
  provider::Forecast forecast_;
  Spending spending_;
  std::size_t next_slot_ = 0;
  std::uint64_t next_tag_ = 1;
  std::vector<Request> again_;  // put back: to be sent first
  std::priority_queue<Retry> retries_;
  std::unordered_map<std::uint64_t, InFlight> in_flight_;
  std::vector<std::pair<std::int64_t, std::string>> given_up_;  // not yet written: slot and why
  double wait_s_ = 0;

  Stopped stopped_ = Stopped::kNot;
  std::string why_;
  std::optional<Error> refusal_;
  double stopping_since_s_ = 0;
  double last_answer_s_ = 0;
  std::int64_t failures_since_answer_ = 0;
  std::string last_failure_;  // a sentence
  std::string last_outcome_;  // its word for the ledger
  std::int64_t asked_ = 0;
  std::int64_t truncated_ = 0;
  std::int64_t failed_ = 0;
  std::int64_t gave_up_ = 0;
};

}  // namespace retort::collect
