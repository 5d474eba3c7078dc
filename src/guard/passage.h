// One request's way through the gateway: admitted, sent on, its answer metered and handed back, settled and recorded.
//
// Whatever way it ends (whole, upstream failed, caller left, guard stops), the reservation is settled once and the
// completion record is written once; under `evidence.required` before the last byte goes out. Worker's thread only.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/answer.h"
#include "api/batch_results.h"
#include "guard/admission.h"
#include "guard/result_lines.h"
#include "net/server.h"
#include "net/upstream.h"

namespace retort::guard {

class Worker;

class Passage final : public net::UpstreamListener, public std::enable_shared_from_this<Passage> {
 public:
  Passage(Worker& worker, net::HttpRequest request, std::shared_ptr<net::Reply> reply);

  void begin();

  void on_head(net::HttpResponse head) override;
  void on_body(std::string_view piece) override;
  void on_end() override;
  void on_trouble(net::Trouble trouble, const std::string& text) override;

 private:
  enum class How : std::uint8_t { kPlain, kCollected, kStreamed, kLines };

  void admitted(bool recorded);
  void go_on();
  void forward();
  net::HttpRequest upstream_request() const;
  net::Headers answer_headers(const net::Headers& upstream) const;
  void refuse(const api::ApiError& error);
  void fail(const std::string& sentence, evidence::Ended ended, int status);
  void send_on(std::string piece);
  void end_stream();
  void send_end();
  void send_collected(std::string body);
  void finish_collected(net::HttpResponse response, bool kept);
  bool ask_summary(std::function<void(const std::optional<std::string>&)> then);
  std::string collected_answer();
  // As what its answer is read; nothing: as bytes.
  std::optional<api::Operation> operation_of_answer() const;
  bool hides_something() const;
  // Whether it is the results of a batch, whose answers hold what this tier may not have.
  bool hides_in_results() const;
  void keep_batch_file();
  // Whether its answer says how batches stand.
  bool tells_of_batches() const;
  void note_batches();
  void await_batch(const std::string& id);
  // The batch whose answers it hands out, when what those used isn't known yet.
  std::optional<std::string> batch_to_bill() const;
  policy::NanoUsd cost_of_batch() const;
  // Settles and records; false when the record was required and could not be written.
  bool complete(evidence::Ended ended, int status);
  // `staged`: the record is staged there, and the answer waits for it.
  bool settle_and_record(evidence::Ended ended, int status, std::optional<evidence::Staged>* staged = nullptr);
  void caller_left();
  std::string sealed(std::string_view blob);

  Worker& worker_;
  GuardState& state_;
  net::HttpRequest request_;
  std::shared_ptr<net::Reply> reply_;
  Admission admission_;
  std::shared_ptr<net::UpstreamCall> call_;
  std::unique_ptr<api::AnswerStream> answer_;
  std::optional<api::Operation> answered_as_;
  std::unique_ptr<ResultLines> lines_;      // of a batch's results
  std::unique_ptr<api::ResultUsage> used_;  // likewise, of `billed_batch_`
  std::string billed_batch_;
  std::optional<policy::NanoUsd> awaited_;  // the reservation is the batch's now: what it holds
  How how_ = How::kPlain;
  net::HttpResponse head_;
  std::string collected_;
  bool unsent_ = false;     // upstream was never reached
  bool begun_ = false;      // the answer's head went out
  bool completed_ = false;  // settled and recorded
  bool held_end_ = false;   // the stream's end waits for a summary
  bool upstream_done_ = false;
  bool said_withheld_ = false;
  std::string held_;    // the stream's end, meanwhile
  bool ended_ = false;  // nothing more goes out
  double begun_s_ = 0;
  double first_byte_s_ = 0;
  std::size_t request_bytes_ = 0;
  std::size_t answer_bytes_ = 0;
  std::string upstream_id_;
  std::optional<Digest> prefix_;  // of the conversation, once a blob was sealed
};

}  // namespace retort::guard
