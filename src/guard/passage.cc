#include "guard/passage.h"

#include <algorithm>
#include <array>
#include <utility>

#include "api/blobs.h"
#include "base/json.h"
#include "base/text.h"
#include "guard/summary.h"
#include "guard/worker.h"
#include "policy/price.h"

namespace retort::guard {
namespace {

using api::Operation;

constexpr std::size_t kMostCollected = 64 << 20;
// A caller that is slower than upstream by this much makes upstream wait.
constexpr std::size_t kMostBacklog = 256 << 10;
constexpr std::chrono::seconds kSummaryPatience{30};
constexpr const char* kNotRecorded = "the record of this answer could not be kept";

// Of one hop, or of this hop's own business (RFC 9110, 7.6.1); and what a caller must not say to the provider.
bool stays_here(std::string_view name) {
  static constexpr std::array<std::string_view, 17> kNames = {"connection",
                                                              "keep-alive",
                                                              "proxy-connection",
                                                              "proxy-authorization",
                                                              "proxy-authenticate",
                                                              "te",
                                                              "trailer",
                                                              "transfer-encoding",
                                                              "upgrade",
                                                              "host",
                                                              "content-length",
                                                              "expect",
                                                              "authorization",
                                                              "x-api-key",
                                                              "accept-encoding",
                                                              "x-forwarded-for",
                                                              "forwarded"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || name.starts_with("x-retort-") ||
         name.starts_with("proxy-") || name == "x-real-ip" || name == "x-forwarded-proto" || name == "x-forwarded-host";
}

bool answer_stays_here(std::string_view name) {
  static constexpr std::array<std::string_view, 8> kNames = {"connection", "keep-alive",    "proxy-connection",
                                                             "te",         "trailer",       "transfer-encoding",
                                                             "upgrade",    "content-length"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || name.starts_with("x-retort-");
}

bool is_stream(const net::Headers& headers) {
  const auto type = headers.find("content-type");
  return type && to_lower_ascii(*type).starts_with("text/event-stream");
}

bool is_compressed(const net::Headers& headers) {
  const auto encoding = headers.find("content-encoding");
  return encoding && to_lower_ascii(*encoding) != "identity";
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + text;
  return all;
}

}  // namespace

Passage::Passage(Worker& worker, net::HttpRequest request, std::shared_ptr<net::Reply> reply)
    : worker_(worker),
      state_(worker.state()),
      request_(std::move(request)),
      reply_(std::move(reply)),
      begun_s_(state_.clock.monotonic_s()),
      request_bytes_(request_.body.size()) {}

void Passage::begin() {
  admission_ = worker_.admitter().admit(request_);
  if (!admission_.staged) state_.metrics.admitted_after((state_.clock.monotonic_s() - begun_s_) * 1e6);
  if (admission_.refused) {
    refuse(*admission_.refused);
    return;
  }
  // What blobs of the answer are bound to.
  if (!admission_.in_force->sealer) request_.body = {};
  state_.metrics.under_way.fetch_add(1, std::memory_order_relaxed);
  // Weak: the reply keeps the connection's callback, and this keeps the reply.
  reply_->on_gone([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->caller_left();
  });
  if (admission_.staged) {
    worker_.when_written(*admission_.staged, [self = shared_from_this()](bool kept) { self->admitted(kept); });
  } else {
    go_on();
  }
}

// The record of the admission is there, or could not be written.
void Passage::admitted(bool recorded) {
  admission_.recorded = recorded;
  state_.metrics.admitted_after((state_.clock.monotonic_s() - begun_s_) * 1e6);
  if (ended_) return;
  if (recorded || !admission_.in_force->rules->options.evidence.required) {
    go_on();
    return;
  }
  refuse_without_evidence(admission_);
  state_.metrics.refused(admission_.refused_by);
  completed_ = true;
  state_.metrics.under_way.fetch_sub(1, std::memory_order_relaxed);
  refuse(*admission_.refused);
}

void Passage::go_on() {
  if (admission_.decision.slow_ms > 0) {
    worker_.thread().after(std::chrono::milliseconds(admission_.decision.slow_ms),
                           [self = shared_from_this()] { self->forward(); });
  } else {
    forward();
  }
}

void Passage::forward() {
  if (ended_) return;
  net::UpstreamPool* pool = worker_.pool(*admission_.upstream);
  if (pool == nullptr) {
    fail("its certificates can't be used", evidence::Ended::kUpstreamFailed, 502);
    return;
  }
  call_ = pool->start(upstream_request(), shared_from_this());
}

net::HttpRequest Passage::upstream_request() const {
  net::HttpRequest sent;
  sent.method = request_.method;
  sent.path = request_.path;
  sent.query = request_.query;
  for (const net::Headers::Field& field : request_.headers.fields()) {
    const std::string name = to_lower_ascii(field.name);
    // Of a part of a file nobody could say what is in it.
    const bool part = (name == "range" || name == "if-range") && hides_in_results();
    if (!part && !stays_here(name)) sent.headers.add(field.name, field.value);
  }
  // What is to be metered must be readable.
  sent.headers.add("Accept-Encoding", "identity");
  const Upstream& upstream = *admission_.upstream;
  if (!upstream.key.empty()) {
    if (upstream.family == api::Family::kAnthropic) {
      sent.headers.add("x-api-key", upstream.key);
    } else {
      sent.headers.add("Authorization", "Bearer " + upstream.key);
    }
  }
  sent.body = admission_.body;
  return sent;
}

net::Headers Passage::answer_headers(const net::Headers& upstream) const {
  net::Headers headers;
  for (const net::Headers::Field& field : upstream.fields()) {
    if (!answer_stays_here(to_lower_ascii(field.name))) headers.add(field.name, field.value);
  }
  headers.add("x-retort-request-id", admission_.id);
  if (!admission_.decision.withheld.empty()) headers.add("x-retort-withheld", joined(admission_.decision.withheld));
  return headers;
}

void Passage::on_head(net::HttpResponse head) {
  first_byte_s_ = state_.clock.monotonic_s();
  for (const char* name : {"x-request-id", "request-id"}) {
    if (const auto id = head.headers.find(name); id && upstream_id_.empty()) upstream_id_ = *id;
  }
  // Answers that the provider kept are shown as those it makes.
  answered_as_ = operation_of_answer();
  const bool generated = answered_as_.has_value();
  if ((generated || hides_in_results()) && is_compressed(head.headers)) {
    call_->cancel();
    fail("it compressed its answer, which it was asked not to", evidence::Ended::kUpstreamFailed, 502);
    return;
  }
  head_ = std::move(head);
  const bool whole_models =
      admission_.route.operation == Operation::kModels && !admission_.effective.tier.expose.models.empty();
  const bool uploaded = admission_.batch && admission_.batch->upload;
  if (generated || whole_models || uploaded || tells_of_batches()) {
    how_ = generated && head_.status < 300 && is_stream(head_.headers) ? How::kStreamed : How::kCollected;
  }
  if (generated) {
    const policy::Decision& decision = admission_.decision;
    api::AnswerEdits edits;
    edits.keep_text = state_.recorder != nullptr || !decision.summarised_by.empty();
    edits.hide_usage = admission_.facts && !admission_.facts->include_usage;
    edits.strip_reasoning = decision.strip_reasoning;
    edits.strip_logprobs = decision.strip_logprobs;
    if (admission_.in_force->sealer) {
      // What the provider kept comes without the conversation that its blobs would be bound to: they are left out.
      edits.seal = [this](std::string_view blob) { return admission_.facts ? sealed(blob) : std::string(); };
    }
    answer_ = std::make_unique<api::AnswerStream>(*answered_as_, admission_.facts ? admission_.facts->prompt_bytes : 0,
                                                  std::move(edits), worker_.reader());
  }
  if (hides_in_results() && head_.status < 300) {
    how_ = How::kLines;
    api::AnswerEdits edits;
    edits.strip_reasoning = admission_.decision.strip_reasoning;
    edits.strip_logprobs = admission_.decision.strip_logprobs;
    // Results come without the conversations that their blobs would be bound to.
    if (admission_.in_force->sealer) edits.seal = [](std::string_view) { return std::string(); };
    // Said at the head, before anybody knows whether there is any.
    auto& withheld = admission_.decision.withheld;
    if (edits.strip_reasoning) withheld.emplace_back("reasoning");
    if (edits.strip_logprobs) withheld.emplace_back("logprobs");
    if (edits.seal) withheld.emplace_back("reasoning_blobs");
    lines_ = std::make_unique<ResultLines>(std::move(edits), worker_.reader());
  }
  if (how_ == How::kCollected) return;
  if (const auto batch = batch_to_bill()) {
    billed_batch_ = *batch;
    used_ = std::make_unique<api::ResultUsage>(worker_.reader());
  }
  net::HttpResponse first;
  first.status = head_.status;
  first.headers = answer_headers(head_.headers);
  if (how_ == How::kStreamed) {
    state_.metrics.streams.fetch_add(1, std::memory_order_relaxed);
    if (!head_.headers.find("cache-control")) first.headers.add("Cache-Control", "no-cache");
    if (!head_.headers.find("x-accel-buffering")) first.headers.add("X-Accel-Buffering", "no");
  }
  begun_ = true;
  reply_->begin(std::move(first));
}

void Passage::on_body(std::string_view piece) {
  if (ended_) return;
  if (how_ == How::kCollected) {
    if (collected_.size() + piece.size() > kMostCollected) {
      call_->cancel();
      fail("its answer is larger than " + human_bytes(kMostCollected), evidence::Ended::kUpstreamFailed, 502);
      return;
    }
    collected_.append(piece);
    return;
  }
  if (used_) used_->feed(piece);
  if (how_ == How::kPlain) {
    send_on(std::string(piece));
    return;
  }
  Result<std::string> events = how_ == How::kLines ? lines_->feed(piece) : answer_->feed(piece);
  if (!events) {
    call_->cancel();
    fail(events.error().message, evidence::Ended::kUpstreamFailed, 502);
    return;
  }
  if (how_ == How::kLines) {
    if (!events->empty()) send_on(std::move(*events));
    return;
  }
  if (hides_something() && answer_->unreadable() > 0) {
    call_->cancel();
    fail("it sent what can't be read, and so can't be shown", evidence::Ended::kUpstreamFailed, 502);
    return;
  }
  if (admission_.decision.strip_reasoning && !said_withheld_ && answer_->reasoning_seen()) {
    // A comment: asked for or not, the caller is told that there was some.
    said_withheld_ = true;
    events->insert(0, ": x-retort-withheld: reasoning\n\n");
  }
  if (!completed_ && answer_->ended()) {
    held_ += *events;
    if (!held_end_) end_stream();
    return;
  }
  if (!events->empty()) send_on(std::move(*events));
}

// The stream's own end is its last byte: summary and record come first.
void Passage::end_stream() {
  held_end_ = true;
  const bool summarised =
      *answered_as_ == Operation::kChat && ask_summary([this](const std::optional<std::string>& summary) {
        if (summary) held_.insert(0, summary_event(admission_.facts->model, *summary));
        send_end();
      });
  if (!summarised) send_end();
}

void Passage::send_end() {
  if (ended_) return;
  if (!complete(evidence::Ended::kComplete, head_.status)) {
    if (call_) call_->cancel();
    fail(kNotRecorded, evidence::Ended::kCutByPolicy, 503);
    return;
  }
  if (!held_.empty()) send_on(std::exchange(held_, {}));
  held_end_ = false;
  if (upstream_done_) on_end();
}

// False: there is nothing to summarise, or nobody to do it.
bool Passage::ask_summary(std::function<void(const std::optional<std::string>&)> then) {
  const std::string& model = admission_.decision.summarised_by;
  if (model.empty() || head_.status >= 300) return false;
  const std::string reasoning = answer_->facts().reasoning;
  const Upstream* upstream = admission_.in_force->rules->upstream_for(api::Family::kOpenAi, model);
  net::UpstreamPool* pool = upstream == nullptr ? nullptr : worker_.pool(*upstream);
  if (reasoning.empty() || pool == nullptr) return false;
  net::HttpRequest request;
  request.method = "POST";
  request.path = "/v1/chat/completions";
  request.headers.add("Content-Type", "application/json");
  request.headers.add("Accept-Encoding", "identity");
  if (!upstream->key.empty()) request.headers.add("Authorization", "Bearer " + upstream->key);
  request.body = summary_request(model, reasoning);
  const auto listener =
      std::make_shared<SummaryListener>([self = shared_from_this(), then = std::move(then)](
                                            const std::optional<std::string>& summary) { then(summary); });
  const auto call = pool->start(std::move(request), listener);
  worker_.thread().after(kSummaryPatience, [call, listener] {
    call->cancel();
    listener->give_up();
  });
  return true;
}

void Passage::send_on(std::string piece) {
  answer_bytes_ += piece.size();
  reply_->write(std::move(piece));
  if (reply_->backlog() > kMostBacklog) {
    call_->pause();
    reply_->on_room([call = call_] { call->resume(); });
  }
}

std::optional<api::Operation> Passage::operation_of_answer() const {
  const Operation operation = admission_.route.operation;
  if (api::generates(operation) || operation == Operation::kEmbeddings) return operation;
  if (operation != Operation::kStored) return std::nullopt;
  return request_.path.starts_with("/v1/responses") ? Operation::kResponses : Operation::kChat;
}

bool Passage::hides_something() const {
  return admission_.decision.strip_reasoning || admission_.decision.strip_logprobs ||
         admission_.in_force->sealer != nullptr;
}

bool Passage::hides_in_results() const {
  const bool openai = admission_.route.operation == Operation::kFiles && request_.path.ends_with("/content");
  const bool anthropic = admission_.route.operation == Operation::kBatches && request_.path.ends_with("/results");
  return (openai || anthropic) && hides_something();
}

// A batch may be made of it from now on.
void Passage::keep_batch_file() {
  if (head_.status >= 300) return;
  const Json file = Json::parse(collected_, nullptr, false);
  const auto id = file.is_object() ? file.find("id") : file.end();
  if (id == file.end() || !id->is_string()) return;
  const Batch& batch = *admission_.batch;
  const auto kept = state_.batch_files->keep(
      id->get<std::string>(), {admission_.account, batch.path, batch.requests, batch.worst, batch.prices},
      state_.clock.unix_ms());
  if (!kept) state_.log(kept.error().message);
}

bool Passage::tells_of_batches() const {
  return admission_.route.operation == Operation::kBatches && request_.method != "HEAD" &&
         !request_.path.ends_with("/results") && head_.status < 300 && !is_compressed(head_.headers);
}

void Passage::note_batches() {
  for (const api::BatchState& batch : api::read_batch_states(collected_, *worker_.reader())) {
    if (admission_.batch) {
      await_batch(batch.id);
      return;
    }
    if (!batch.output_file.empty()) {
      const auto noted = state_.batch_ledger->answers_in(batch.id, batch.output_file);
      if (!noted) state_.log(noted.error().message);
    }
    if (batch.ended && batch.usage) state_.batch_used(batch.id, *batch.usage);
  }
}

// It was made: its money is settled when it is known what its answers used.
void Passage::await_batch(const std::string& id) {
  if (!admission_.batch->prices) return;
  awaited_ = admission_.reservation.worst();
  state_.open_batches->hold(admission_.id, std::move(admission_.reservation));
  const auto made = state_.batch_ledger->made({id, admission_.id, admission_.account, *admission_.batch->prices},
                                              state_.clock.unix_ms());
  if (!made) state_.log(made.error().message);
}

std::optional<std::string> Passage::batch_to_bill() const {
  const bool openai = admission_.route.operation == Operation::kFiles && request_.path.ends_with("/content");
  const bool anthropic = admission_.route.operation == Operation::kBatches && request_.path.ends_with("/results");
  if ((!openai && !anthropic) || request_.method != "GET" || head_.status != 200 || is_compressed(head_.headers)) {
    return std::nullopt;
  }
  // Of what ends with the connection nobody knows whether it is whole.
  if (!head_.headers.find("content-length") && !head_.headers.find("transfer-encoding")) return std::nullopt;
  auto batch = state_.batch_ledger->awaiting(admission_.route.id);
  if (batch) return *std::move(batch);
  state_.log(batch.error().message);
  return std::nullopt;
}

// Its answers come later and elsewhere: until then what it may cost is what it costs, once upstream took it or may
// have.
policy::NanoUsd Passage::cost_of_batch() const {
  if (awaited_) return *awaited_;
  if (!admission_.batch || admission_.batch->upload || unsent_ || head_.status >= 300) return 0;
  return admission_.reservation.worst();
}

std::string Passage::collected_answer() {
  if (!answer_ && admission_.batch && admission_.batch->upload) {
    keep_batch_file();
    return std::move(collected_);
  }
  if (admission_.route.operation == Operation::kBatches) {
    note_batches();
    return std::move(collected_);
  }
  if (admission_.route.operation == Operation::kModels) {
    Json listing = Json::parse(collected_, nullptr, false);
    if (head_.status != 200 || !listing.is_object() || !listing.contains("data") || !listing["data"].is_array()) {
      return std::move(collected_);
    }
    Json shown = Json::array();
    for (Json& model : listing["data"]) {
      const auto id = model.find("id");
      if (id == model.end() || !id->is_string()) continue;
      if (policy::model_allowed(admission_.effective.tier.expose, id->get<std::string>())) {
        shown.push_back(std::move(model));
      }
    }
    listing["data"] = std::move(shown);
    return listing.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return answer_->whole(collected_);
}

void Passage::send_collected(std::string body) {
  if (ended_) return;
  net::HttpResponse response;
  response.status = head_.status;
  response.body = std::move(body);
  answer_bytes_ = response.body.size();
  const bool unasked = answer_ && admission_.decision.strip_reasoning && answer_->reasoning_seen();
  auto& withheld = admission_.decision.withheld;
  if (unasked && std::find(withheld.begin(), withheld.end(), "reasoning") == withheld.end()) {
    withheld.emplace_back("reasoning");
  }
  response.headers = answer_headers(head_.headers);
  completed_ = true;
  std::optional<evidence::Staged> staged;
  const bool kept = settle_and_record(evidence::Ended::kComplete, head_.status, &staged);
  if (!staged) {
    finish_collected(std::move(response), kept);
    return;
  }
  worker_.when_written(*staged, [self = shared_from_this(), response = std::move(response)](bool written) mutable {
    self->finish_collected(std::move(response),
                           written || !self->admission_.in_force->rules->options.evidence.required);
  });
}

void Passage::finish_collected(net::HttpResponse response, bool kept) {
  // Last: what isn't under way any more holds no money and has its record.
  state_.metrics.under_way.fetch_sub(1, std::memory_order_relaxed);
  if (ended_) return;
  if (!kept) {
    fail(kNotRecorded, evidence::Ended::kCutByPolicy, 503);
    return;
  }
  ended_ = true;
  state_.metrics.answered(head_.status);
  reply_->send(std::move(response));
}

void Passage::on_end() {
  if (ended_) return;
  if (how_ == How::kCollected) {
    std::string body = collected_answer();
    if (answer_ && hides_something() && head_.status < 300 && answer_->unreadable() > 0) {
      fail("it sent what can't be read, and so can't be shown", evidence::Ended::kUpstreamFailed, 502);
      return;
    }
    const bool summarised = answer_ && ask_summary([this, body](const std::optional<std::string>& summary) {
                              send_collected(summary ? with_summary(*answered_as_, body, *summary) : body);
                            });
    if (!summarised) send_collected(std::move(body));
    return;
  }
  // Its end waits for the summary.
  if (held_end_) {
    upstream_done_ = true;
    return;
  }
  if (how_ == How::kLines) {
    std::string rest = lines_->end();
    if (!rest.empty()) send_on(std::move(rest));
  }
  if (how_ == How::kStreamed) {
    std::string rest = answer_->end();
    if (!rest.empty()) send_on(std::move(rest));
    // A connection that ends before the answer says so is a failure, however politely it was closed.
    if (!answer_->ended() && !answer_->failed()) {
      fail("it ended the stream before its answer was whole", evidence::Ended::kUpstreamFailed, 502);
      return;
    }
  }
  if (used_) {
    if (const auto usage = used_->total()) state_.batch_used(billed_batch_, *usage);
  }
  if (!complete(evidence::Ended::kComplete, head_.status)) {
    fail(kNotRecorded, evidence::Ended::kCutByPolicy, 503);
    return;
  }
  ended_ = true;
  if (how_ == How::kStreamed) state_.metrics.streams.fetch_sub(1, std::memory_order_relaxed);
  state_.metrics.answered(head_.status);
  reply_->finish();
}

void Passage::on_trouble(net::Trouble trouble, const std::string& text) {
  if (ended_) return;
  // What was whole before the connection broke is whole.
  if (how_ == How::kStreamed && answer_->ended()) {
    on_end();
    return;
  }
  unsent_ = trouble == net::Trouble::kConnect || trouble == net::Trouble::kTls;
  const bool late = trouble == net::Trouble::kTimeout;
  fail(text, late ? evidence::Ended::kTimedOut : evidence::Ended::kUpstreamFailed, late ? 504 : 502);
}

void Passage::refuse(const api::ApiError& error) {
  ended_ = true;
  state_.metrics.answered(error.status);
  reply_->send(api::error_response(admission_.route.family, error, admission_.id));
}

// Upstream's failure, in the form of the API: an error, or where the answer had begun an event that no client takes for
// its end.
void Passage::fail(const std::string& sentence, evidence::Ended ended, int status) {
  if (ended_) return;
  ended_ = true;
  ++state_.metrics.upstream_failures;
  complete(ended, begun_ ? head_.status : status);
  const api::ApiError error{.status = status,
                            .message = "The model behind this gateway did not answer: " + sentence + ".",
                            .code = "upstream_failed",
                            .param = {},
                            .retry = true};
  if (!begun_) {
    state_.metrics.answered(status);
    reply_->send(api::error_response(admission_.route.family, error, admission_.id));
    return;
  }
  state_.metrics.answered(head_.status);
  if (how_ == How::kStreamed) {
    state_.metrics.streams.fetch_sub(1, std::memory_order_relaxed);
    reply_->write(api::error_event(*answered_as_, error, admission_.id, answer_->facts().sequence));
    reply_->finish();
  } else {
    reply_->cut();
  }
}

void Passage::caller_left() {
  if (ended_) return;
  ended_ = true;
  ++state_.metrics.client_aborts;
  if (call_) call_->cancel();
  if (how_ == How::kStreamed) state_.metrics.streams.fetch_sub(1, std::memory_order_relaxed);
  complete(state_.draining ? evidence::Ended::kDrained : evidence::Ended::kClientAborted, begun_ ? head_.status : 0);
}

std::string Passage::sealed(std::string_view blob) {
  if (!prefix_) {
    const auto digest = api::conversation_digest(admission_.route.operation, request_.body, &worker_.request_reader());
    prefix_ = digest ? *digest : Digest{};
  }
  const SealingOptions& options = admission_.in_force->rules->options.sealing;
  constexpr std::int64_t kHour_ms = 3'600'000;
  const auto text =
      admission_.in_force->sealer->seal(blob, {admission_.sealed_for, admission_.conversation, admission_.facts->model,
                                               *prefix_, state_.clock.unix_ms() + options.expire_hours * kHour_ms});
  if (!text) {
    state_.log(text.error().message);
    return {};  // an empty blob is worth nothing, and gives nothing away
  }
  admission_.conversation = text->conversation;
  ++state_.metrics.sealed_blobs;
  return text->text;
}

bool Passage::complete(evidence::Ended ended, int status) {
  if (completed_) return true;
  completed_ = true;
  const bool kept = settle_and_record(ended, status);
  // Last: what isn't under way any more holds no money and has its record.
  state_.metrics.under_way.fetch_sub(1, std::memory_order_relaxed);
  return kept;
}

bool Passage::settle_and_record(evidence::Ended ended, int status, std::optional<evidence::Staged>* staged) {
  api::AnswerFacts facts;
  if (answer_) facts = answer_->facts();
  // Upstream bills what it answered: nothing for an error, what came of an answer that was cut.
  const bool billed = answer_ != nullptr && admission_.facts && head_.status < 300;
  policy::NanoUsd cost = cost_of_batch();
  if (billed && admission_.price != nullptr) {
    cost = policy::cost_of(*admission_.price, facts.usage);
  }
  const std::int64_t tokens = billed ? facts.usage.input + facts.usage.output : 0;
  const policy::NanoUsd over = awaited_ ? 0 : admission_.reservation.settle(tokens, cost);
  if (over > 0) {
    state_.metrics.overshoot_nano_usd += static_cast<std::uint64_t>(over);
    state_.log("Upstream billed " + std::to_string(policy::usd(over)) + " USD above what was reserved for " +
               admission_.id + ".");
  }
  if (billed) {
    state_.metrics.input_tokens.fetch_add(static_cast<std::uint64_t>(facts.usage.input), std::memory_order_relaxed);
    state_.metrics.output_tokens.fetch_add(static_cast<std::uint64_t>(facts.usage.output), std::memory_order_relaxed);
    state_.metrics.reasoning_tokens.fetch_add(static_cast<std::uint64_t>(facts.usage.reasoning),
                                              std::memory_order_relaxed);
  }
  if (!admission_.recorded) return true;
  evidence::CompletionRecord record;
  record.id = admission_.id;
  record.time_unix_ms = state_.clock.unix_ms();
  record.organisation = admission_.organisation;
  record.ended = ended;
  record.status = status;
  record.upstream_status = head_.status;
  record.upstream = admission_.upstream->options.name;
  record.upstream_id = upstream_id_;
  record.finish = facts.finish;
  if (billed) {
    record.input_tokens = facts.usage.input;
    record.cached_tokens = facts.usage.cached;
    record.cache_written_tokens = facts.usage.cache_written;
    record.output_tokens = facts.usage.output;
    record.reasoning_tokens = facts.usage.reasoning;
  }
  record.nano_usd = cost;
  record.request_bytes = static_cast<std::int64_t>(request_bytes_);
  record.response_bytes = static_cast<std::int64_t>(answer_bytes_);
  const double now_s = state_.clock.monotonic_s();
  record.first_byte_us = first_byte_s_ > 0 ? static_cast<std::int64_t>((first_byte_s_ - begun_s_) * 1e6) : 0;
  record.total_us = static_cast<std::int64_t>((now_s - begun_s_) * 1e6);
  const std::string tool_calls = facts.tool_calls.is_null() ? std::string() : facts.tool_calls.dump();
  evidence::Answer answer;
  answer.text = facts.text;
  (admission_.decision.strip_reasoning ? answer.hidden_reasoning : answer.reasoning) = facts.reasoning;
  answer.tool_calls = tool_calls;
  auto written = state_.recorder->stage_completion(std::move(record), answer);
  if (written && staged != nullptr) {
    *staged = *written;
    return true;
  }
  const bool kept = written && state_.recorder->settle(*written);
  state_.evidence_kept(kept);
  if (kept) return true;
  return !admission_.in_force->rules->options.evidence.required;
}

}  // namespace retort::guard
