// One collect_remote() call through a provider's batch API: what is handed over, what came back, what is kept. Internal
// to the module.
//
// A batch goes: its requests are reserved and its name recorded (one transaction), then they are uploaded, the batch is
// created, and each step is recorded when it was heard of. So after a kill at any moment the store says how far it
// came:
//   created and recorded           it is looked at and fetched, nothing is sent again
//   creation never heard of        looked for among the account's batches, by its name; when it isn't there for a
//   while,
//                                  its lines cost nothing and its requests are asked anew
//   not even uploaded              it can't have been created
// Answers are kept as those of single requests are, in one transaction with slots and settlements.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "collect/remote_job.h"
#include "provider/batch_api.h"
#include "store/batches.h"

namespace retort::collect {

class BatchJob {
 public:
  // As of RemoteJob; one endpoint.
  BatchJob(const RemoteSource& source, const provider::Dialect& dialect, const RemotePrompts& prompts,
           const CollectOptions& options, const SlotPlan& plan, const std::string& job, std::vector<std::int64_t> slots,
           const provider::Capabilities& capabilities, const store::Totals& before, store::Batches& batches,
           RemoteJob::World world);

  // Until everything is answered, or something ends it; a signal leaves what is under way at the service for the next
  // call. Errors: the store's; kCaller for a batch that is under way elsewhere than where the recipe asks.
  Result<void> run();
  void report(RemoteSummary& summary) const;
  const std::optional<Error>& refusal() const { return refusal_; }

 private:
  struct UnderWay {
    store::BatchRecord record;
    double look_at_s = 0;
    double interval_s = 0;
    int searches = 0;  // that didn't find it
    bool looked_at = false;
    double failing_since_s = -1;  // below 0: the last look went well
  };
  // A batch on its way out.
  struct Parcel {
    std::string name;
    std::string body;
    std::vector<store::Reservation> reservations;
  };
  using Lines = std::map<std::int64_t, store::OpenLine>;
  struct Writing {
    std::vector<store::Settlement> settlements;
    std::vector<store::NewExchange> kept;
  };

  Result<void> take_up();
  Result<void> send_more();
  Result<bool> pack(Parcel& parcel);
  Result<void> send(Parcel parcel);
  Result<void> create(UnderWay batch, std::string body);
  Result<void> take_back(const store::BatchRecord& batch, int status, const std::string& outcome, bool failed);
  Result<void> not_taken(const store::BatchRecord& batch, const provider::Verdict& verdict, int status);
  Result<void> look_at_due();
  // Whether it is under way no more.
  Result<bool> look(UnderWay& batch);
  Result<bool> search(UnderWay& batch);
  Result<bool> adopt(UnderWay& batch, const std::string& id);
  Result<bool> fetch(UnderWay& batch, const provider::BatchState& state);
  // Nothing: it couldn't be found out this time.
  std::optional<bool> is_ours(const UnderWay& batch, const provider::BatchState& state);
  Result<void> take_results(const store::BatchRecord& batch, const std::string& text, Lines& lines);
  Result<void> take(std::int64_t slot, const store::OpenLine& line, provider::BatchResult& result, Writing& writing);
  Result<void> write(Writing& writing);
  void again(std::int64_t slot, const std::string& outcome, const std::string& sentence);
  // A look that failed: when the next one is due, or the end of patience.
  void look_failed(UnderWay& batch, const provider::Verdict& verdict);
  void schedule(UnderWay& batch, bool sooner);
  net::HttpOutcome ask(net::HttpCall call, bool to_its_end);
  provider::Verdict judge(const net::HttpOutcome& outcome) const;
  void end(Stopped stopped, std::string why);
  bool anything_left() const { return !nothing_new_ && (next_slot_ < slots_.size() || !again_.empty()); }
  // Whether a call that asks nothing new has seen what there is.
  bool seen_all() const;
  bool stopping() const { return world_.stop.stop_requested(); }
  std::int64_t take_slot();
  void show(const std::string& status);

  const provider::Dialect& dialect_;
  const provider::BatchApi& api_;
  const CollectOptions& options_;
  const provider::Endpoint place_;
  const std::string job_;
  const bool nothing_new_;
  std::vector<std::int64_t> slots_;
  const RemoteRequests requests_;
  store::Batches& batches_;
  RemoteJob::World world_;
  Spending spending_;

  std::size_t next_slot_ = 0;
  std::vector<std::int64_t> again_;
  std::unordered_map<std::int64_t, int> failures_;              // of slots that failed
  std::vector<std::pair<std::int64_t, std::string>> given_up_;  // not yet written: slot and why
  std::vector<UnderWay> under_way_;
  std::size_t most_under_way_;
  double hold_until_s_ = 0;  // nothing is sent before
  int refusals_ = 0;         // batches in a row that weren't taken
  std::uint64_t next_tag_ = 1;

  Stopped stopped_ = Stopped::kNot;
  std::string why_;
  std::optional<Error> refusal_;
  std::string last_failure_;
  std::int64_t asked_ = 0;
  std::int64_t truncated_ = 0;
  std::int64_t failed_ = 0;
  std::int64_t gave_up_ = 0;
};

}  // namespace retort::collect
