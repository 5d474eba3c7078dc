// Collecting through a provider's batch API, against a service that a script plays: both dialects, what goes wrong, and
// what a process that dies at any step leaves behind.
#include "collect/batch_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>

#include "base/json.h"
#include "net/testing.h"

namespace retort::collect {
namespace {

using ::testing::HasSubstr;

// One account with a batch API, as far as a client sees it. Batches take ten minutes.
class BatchService {
 public:
  BatchService(ManualClock& clock, bool anthropic) : clock_(clock), anthropic_(anthropic) {}

  struct Batch {
    std::string id, name, status;
    std::vector<std::pair<std::string, Json>> requests;  // custom id and what would have been asked
    double ends_at_s = 0;
    std::string output, errors;  // JSON lines
    bool failed = false;
  };
  // What becomes of a request, as a line of results. By default its answer.
  std::function<Json(const std::string& id, const Json& body, int times)> answer;
  // Of the next calls of this kind ("upload", "create", "look", "list", "results"): the outcome instead, or as well.
  struct Fault {
    net::HttpOutcome outcome;
    bool done_all_the_same = false;
    double delay_s = 0.1;
  };
  std::multimap<std::string, Fault> faults;
  bool fails = false;  // batches come to nothing
  std::vector<Batch> batches;
  std::map<std::string, int> asked;  // by question
  std::map<std::string, int> calls;
  std::set<std::string> looked_at_s;

  net::ScriptedAnswer operator()(const net::HttpCall& call) {
    const std::string path = call.url.substr(call.url.find("/v1") + 3);
    const std::string kind = kind_of(call, path);
    if (kind == "other") return {net::json_outcome(404, "{}"), 0.01};
    if (kind == "probe") return {net::json_outcome(200, canonical_json(answer_of("OK"))), 0.01};
    ++calls[kind];
    const auto fault = faults.find(kind);
    if (fault == faults.end()) return {carry_out(kind, path, call), 0.1};
    const Fault found = fault->second;
    faults.erase(fault);
    if (found.done_all_the_same) carry_out(kind, path, call);
    return {found.outcome, found.delay_s};
  }

  Json line(const std::string& id, int status, const Json& body) const {
    if (!anthropic_)
      return {{"custom_id", id}, {"response", {{"status_code", status}, {"body", body}}}, {"error", nullptr}};
    if (status == 200) return {{"custom_id", id}, {"result", {{"type", "succeeded"}, {"message", body}}}};
    const char* type = status == 400 ? "invalid_request_error" : "api_error";
    return {{"custom_id", id}, {"result", {{"type", "errored"}, {"error", {{"type", type}, {"message", "no"}}}}}};
  }
  Json expired(const std::string& id) const {
    if (!anthropic_) return {{"custom_id", id}, {"response", nullptr}, {"error", {{"code", "batch_expired"}}}};
    return {{"custom_id", id}, {"result", {{"type", "expired"}}}};
  }
  Json answer_of(const std::string& question, int output = 5) const {
    const std::string text = "answer to " + question;
    if (anthropic_) {
      return {{"id", "m"},
              {"type", "message"},
              {"model", "t"},
              {"content", {{{"type", "text"}, {"text", text}}}},
              {"stop_reason", "end_turn"},
              {"usage", {{"input_tokens", 10}, {"output_tokens", output}}}};
    }
    return {{"id", "m"},
            {"model", "t"},
            {"choices",
             {{{"index", 0}, {"finish_reason", "stop"}, {"message", {{"role", "assistant"}, {"content", text}}}}}},
            {"usage", {{"prompt_tokens", 10}, {"completion_tokens", output}}}};
  }

 private:
  std::string kind_of(const net::HttpCall& call, const std::string& path) const {
    const bool get = call.method == "GET";
    if (path == "/files") return "upload";
    if (path.ends_with("/content") || path.ends_with("/results")) return "results";
    const std::string root = anthropic_ ? "/messages/batches" : "/batches";
    if (path == root && !get) return "create";
    if (path.starts_with(root + "?")) return "list";
    if (path.starts_with(root + "/")) return "look";
    return call.method == "POST" && path == (anthropic_ ? "/messages" : "/chat/completions") ? "probe" : "other";
  }

  net::HttpOutcome carry_out(const std::string& kind, const std::string& path, const net::HttpCall& call) {
    for (Batch& batch : batches) proceed(batch);
    if (kind == "upload") {
      files_.push_back(call.body);
      return json({{"id", "file-" + std::to_string(files_.size())}});
    }
    if (kind == "create") return create(Json::parse(call.body));
    if (kind == "list") {
      Json all = Json::array();
      for (auto batch = batches.rbegin(); batch != batches.rend(); ++batch) all.push_back(state(*batch));
      return json({{"data", all}, {"has_more", false}});
    }
    for (const Batch& batch : batches) {
      if (kind == "look" && path.ends_with("/" + batch.id)) return json(state(batch));
      if (path == "/files/out-" + batch.id + "/content" || path == "/messages/batches/" + batch.id + "/results") {
        return text(batch.output);
      }
      if (path == "/files/err-" + batch.id + "/content") return text(batch.errors);
    }
    return net::json_outcome(404, R"({"error":{"message":"no such thing"}})");
  }

  net::HttpOutcome create(const Json& body) {
    Batch batch;
    batch.id = "batch" + std::to_string(batches.size() + 1);
    batch.ends_at_s = clock_.monotonic_s() + 600;
    batch.failed = fails;
    if (anthropic_) {
      for (const Json& request : body.at("requests"))
        batch.requests.emplace_back(request.at("custom_id"), request.at("params"));
    } else {
      batch.name = body.at("metadata").at("retort_batch");
      const std::string& file = files_.at(std::stoul(body.at("input_file_id").get<std::string>().substr(5)) - 1);
      for (std::size_t at = file.find("{\"custom_id\""); at != std::string::npos;
           at = file.find("{\"custom_id\"", at + 1)) {
        const Json line = Json::parse(file.substr(at, file.find('\n', at) - at));
        EXPECT_EQ(line.at("url"), body.at("endpoint"));
        batch.requests.emplace_back(line.at("custom_id"), line.at("body"));
      }
    }
    batches.push_back(batch);
    return json(state(batch));
  }

  void proceed(Batch& batch) {
    if (!batch.status.empty() || clock_.monotonic_s() < batch.ends_at_s) return;
    batch.status = batch.failed ? "failed" : "completed";
    if (batch.failed) return;
    for (const auto& [id, body] : batch.requests) {
      const std::string question = body.at("messages").back().at("content").is_string()
                                       ? body.at("messages").back().at("content").get<std::string>()
                                       : body.at("messages").back().at("content")[0].at("text").get<std::string>();
      const int times = asked[question]++;
      const Json told = answer ? answer(id, body, times) : line(id, 200, answer_of(question));
      const bool good = anthropic_ || (told.contains("response") && told.at("response").is_object() &&
                                       told.at("response").at("status_code") == 200);
      if (!told.is_null()) (good ? batch.output : batch.errors) += canonical_json(told) + "\n";
    }
  }

  Json state(const Batch& batch) const {
    const std::int64_t count = static_cast<std::int64_t>(batch.requests.size());
    if (anthropic_) {
      return {{"id", batch.id},
              {"processing_status", batch.status.empty() ? "in_progress" : "ended"},
              {"request_counts", {{"processing", count}}}};
    }
    Json json = {{"id", batch.id},
                 {"status", batch.status.empty() ? "in_progress" : batch.status},
                 {"metadata", {{"retort_batch", batch.name}}},
                 {"request_counts", {{"total", count}}}};
    if (!batch.output.empty()) json["output_file_id"] = "out-" + batch.id;
    if (!batch.errors.empty()) json["error_file_id"] = "err-" + batch.id;
    if (batch.failed) json["errors"] = {{"data", {{{"code", "token_limit_exceeded"}, {"message", "Too much."}}}}};
    return json;
  }

  static net::HttpOutcome json(const Json& json) { return net::json_outcome(200, canonical_json(json)); }
  static net::HttpOutcome text(const std::string& text) {
    net::HttpOutcome outcome;
    outcome.status = 200;
    outcome.headers.add("content-type", "application/octet-stream");
    outcome.body = text;
    return outcome;
  }

  ManualClock& clock_;
  bool anthropic_;
  std::vector<std::string> files_;
};

class BatchJobTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("retort_batch_job_" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    source_.teacher.api = GetParam() ? "anthropic" : "openai";
    source_.teacher.model = "teacher-1";
    source_.endpoints = {{"http://127.0.0.1:1/v1", "sk-very-secret", 0, 0}};
    options_.mode = "batch";
    options_.prompts = {};
    options_.count = 0;
    options_.max_tokens = 32;
    options_.batch_requests = 16;
    options_.temperature = 1;
    options_.top_p = 1;
    for (int i = 0; i < 40; ++i) {
      rows_.push_back({static_cast<std::size_t>(i + 1), Prompt{{{Role::kUser, "question " + std::to_string(i)}}}, {}});
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<RemoteSummary> collect(std::stop_token stop = {}) {
    net::ScriptedTransport transport(clock_, [&](const net::HttpCall& call) {
      if (on_call) on_call(call);
      return service_(call);
    });
    auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
    const HeldRows rows(rows_);
    return collect_remote(source_, {rows, "questions.jsonl", "digest"}, options_, *store, transport,
                          folder_ / "capabilities", clock_, progress_, stop);
  }
  // A process that dies once `service` has been asked this: a stop that nobody waits for.
  void die_at(const std::string& ending, bool heard = false) {
    std::stop_source source;
    on_call = [&, source](const net::HttpCall& call) mutable {
      if (call.method == "POST" && call.url.ends_with(ending)) source.request_stop();
    };
    const std::string kind = ending == "/files" ? "upload" : "create";
    if (!heard) {
      net::HttpOutcome never = net::json_outcome(200, "{}");
      service_.faults.emplace(kind, BatchService::Fault{never, true, 1e7});
    }
    const auto summary = collect(source.get_token());
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_EQ(summary->stopped, Stopped::kSignal);
    EXPECT_FALSE(summary->complete);
    on_call = nullptr;
  }
  void expect_all_answered_once() {
    EXPECT_EQ(service_.asked.size(), 40U);
    for (const auto& [question, times] : service_.asked) EXPECT_EQ(times, 1) << question;
    const auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
    int seen = 0;
    EXPECT_TRUE(store->for_each([&](const Digest&, const Exchange& exchange) -> Result<void> {
      EXPECT_EQ(exchange.completion.text, "answer to " + exchange.prompt.messages.back().content);
      EXPECT_EQ(exchange.provenance.served->endpoint, "http://127.0.0.1:1/v1");
      ++seen;
      return {};
    }));
    EXPECT_EQ(seen, 40);
  }
  // Paid requests that find out what the service gives; OpenAI's second one is refused.
  static int probes() { return GetParam() ? 1 : 2; }
  const char* create_path() const { return GetParam() ? "/messages/batches" : "/v1/batches"; }

  std::filesystem::path folder_;
  ManualClock clock_;
  SilentProgress progress_;
  RemoteSource source_;
  CollectOptions options_;
  std::vector<PromptRow> rows_;
  BatchService service_{clock_, GetParam()};
  std::function<void(const net::HttpCall&)> on_call;
};

TEST_P(BatchJobTest, AsksEverythingInBatchesAndNothingTwice) {
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(summary->committed, 40);
  EXPECT_EQ(summary->asked, 40);
  EXPECT_EQ(summary->batches_under_way, 0);
  EXPECT_EQ(summary->totals.open_attempts, 0);
  EXPECT_EQ(summary->totals.attempts, 40 + probes());
  ASSERT_EQ(service_.batches.size(), 3U) << "16, 16 and 8";
  EXPECT_EQ(service_.batches[0].requests.size(), 16U);
  expect_all_answered_once();
  // Ten minutes at 2 s and then ever less often: not once a second.
  EXPECT_LT(service_.calls["look"], 3 * 25);
  EXPECT_GT(service_.calls["look"], 3 * 8);
  const auto again = collect();
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->complete);
  EXPECT_EQ(service_.batches.size(), 3U);
  EXPECT_EQ(again->ids, summary->ids);
}

TEST_P(BatchJobTest, AStopLeavesBatchesAtTheServiceAndTheNextCallFetchesThem) {
  std::stop_source source;
  on_call = [&](const net::HttpCall&) {
    if (service_.calls["look"] > 6) source.request_stop();
  };
  const auto stopped = collect(source.get_token());
  ASSERT_TRUE(stopped);
  EXPECT_EQ(stopped->stopped, Stopped::kSignal);
  EXPECT_EQ(stopped->batches_under_way, 3);
  EXPECT_EQ(stopped->totals.open_attempts, 40);
  EXPECT_GT(stopped->totals.reserved_tokens, 40 * 32);
  on_call = nullptr;
  // Meanwhile nobody may ask for the same in another way.
  options_.mode = "direct";
  const auto direct = collect();
  ASSERT_FALSE(direct);
  EXPECT_EQ(direct.error().fault, Fault::kCaller);
  EXPECT_THAT(direct.error().message, HasSubstr("under way"));
  options_.mode = "batch";
  clock_.advance_s(3600);
  const auto fetched = collect();
  ASSERT_TRUE(fetched);
  EXPECT_TRUE(fetched->complete) << fetched->why;
  EXPECT_EQ(service_.batches.size(), 3U);
  EXPECT_EQ(fetched->totals.open_attempts, 0);
  expect_all_answered_once();
}

// The reservation is there, and whether the batch is, nobody heard.
TEST_P(BatchJobTest, ABatchWhoseCreationWasNeverHeardOfIsFoundAgain) {
  die_at(create_path());
  ASSERT_EQ(service_.batches.size(), 1U) << "it was created";
  // What it came to can't be had at first: that doesn't make it somebody else's.
  for (int i = 0; i < 5; ++i) service_.faults.emplace("results", BatchService::Fault{net::json_outcome(503, "{}")});
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(service_.batches.size(), 3U);
  EXPECT_EQ(summary->totals.open_attempts, 0);
  EXPECT_EQ(summary->totals.attempts, 40 + probes());
  expect_all_answered_once();
}

TEST_P(BatchJobTest, ABatchThatWasNeverCreatedIsAskedAnewAndCostsNothing) {
  service_.faults.emplace("create", BatchService::Fault{net::json_outcome(200, "{}"), false, 1e7});
  std::stop_source source;
  on_call = [&](const net::HttpCall& call) {
    if (call.method == "POST" && call.url.ends_with(create_path())) source.request_stop();
  };
  ASSERT_TRUE(collect(source.get_token()));
  on_call = nullptr;
  ASSERT_EQ(service_.batches.size(), 0U);
  // A batch of somebody else with as many requests, in the same account.
  BatchService::Batch other;
  other.id = "others";
  other.name = GetParam() ? "" : "rtsomebodyelse";
  for (int i = 0; i < 16; ++i) {
    other.requests.emplace_back("theirs-" + std::to_string(i),
                                Json{{"messages", {{{"role", "user"}, {"content", "question of theirs"}}}}});
  }
  other.ends_at_s = clock_.monotonic_s() + 300;
  service_.batches.push_back(other);
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(service_.batches.size(), 4U);
  EXPECT_EQ(summary->totals.open_attempts, 0);
  EXPECT_EQ(summary->totals.attempts, 16 + 40 + probes()) << "the lost batch's lines are in the books";
  EXPECT_EQ(summary->totals.output_tokens, 41 * 5) << "and cost nothing";
  service_.asked.erase("question of theirs");
  expect_all_answered_once();
}

TEST_P(BatchJobTest, WhatExpiresIsMissingOrBreaksGoesIntoANextBatch) {
  service_.answer = [&](const std::string& id, const Json& body, int times) -> Json {
    const Json& content = body.at("messages").back().at("content");
    const std::string question =
        content.is_string() ? content.get<std::string>() : content[0].at("text").get<std::string>();
    const Json good = service_.line(id, 200, service_.answer_of(question));
    if (times > 0) return good;
    switch (std::stoi(question.substr(9))) {
      case 3: return service_.expired(id);
      case 4: return {};  // not a word of it
      case 5: return service_.line(id, 500, {{"error", {{"message", "oops"}}}});
      case 6: return service_.line(id, 200, {{"id", "half"}});  // not an answer
      case 7: return service_.line(id, 400, {{"error", {{"message", "no"}}}});
      case 8: return service_.line("somebody-elses-1", 200, service_.answer_of("stolen"));
      default: return good;
    }
  };
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(summary->given_up, 1) << "a refused prompt is refused for good";
  EXPECT_EQ(summary->ids.size(), 39U);
  EXPECT_EQ(summary->totals.attempts, 40 + probes() + 5);
  // Missing (two) and malformed (one) ones may have been billed.
  EXPECT_EQ(summary->totals.output_tokens, (39 + 1) * 5 + 3 * 32);
  EXPECT_EQ(summary->totals.open_attempts, 0);
  EXPECT_EQ(service_.asked["question 7"], 1);
}

TEST_P(BatchJobTest, AnswersThatComeTwiceCountOnceAndABrokenFileIsFetchedNoFurther) {
  bool broken = false;
  service_.answer = [&](const std::string& id, const Json& body, int) -> Json {
    const Json& content = body.at("messages").back().at("content");
    const std::string question =
        content.is_string() ? content.get<std::string>() : content[0].at("text").get<std::string>();
    // The second batch's lines come twice.
    if (question == "question 20")
      service_.batches[1].output += canonical_json(service_.line(id, 200, service_.answer_of(question))) + "\n";
    if (question == "question 35" && !broken) {
      broken = true;
      service_.batches[2].output += "{\"custom_id\": half a li\n";
    }
    return service_.line(id, 200, service_.answer_of(question));
  };
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(summary->committed, 40);
  EXPECT_EQ(summary->totals.open_attempts, 0);
  EXPECT_EQ(summary->totals.attempts, 40 + probes() + 5) << "35 to 39 stood behind the damage";
}

TEST_P(BatchJobTest, ACapIsNeverPassedAndADiscountIsCounted) {
  options_.prices = {.input_per_mtok = 2.0, .output_per_mtok = 20.0, .batch_discount = 0.5};
  // The worst case of a request is 155 tokens in and 32 out, so four of them fit at first.
  options_.budget.usd = 0.0022;
  store::NanoUsd most = 0;
  on_call = [&](const net::HttpCall&) {
    auto writable = store::ExchangeStore::open(folder_ / "store.sqlite");
    const store::Totals totals = *store::Ledger::open(*writable)->totals();
    most = std::max(most, totals.nano_usd + totals.reserved_nano_usd);
  };
  const auto summary = collect();
  on_call = nullptr;
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->stopped, Stopped::kBudget);
  EXPECT_FALSE(summary->complete);
  EXPECT_GT(summary->committed, 20);
  EXPECT_LT(summary->committed, 35);
  EXPECT_LE(most, 2'200'000);
  EXPECT_GT(most, 1'900'000);
  // The probe was asked directly, at the full price.
  EXPECT_EQ(summary->totals.nano_usd, summary->committed * (10 * 1000 + 5 * 10'000) + 10 * 2000 + 5 * 20'000);
  for (const BatchService::Batch& batch : service_.batches) EXPECT_LE(batch.requests.size(), 16U);
  options_.budget.usd = 1;
  const auto more = collect();
  ASSERT_TRUE(more);
  EXPECT_TRUE(more->complete);
  expect_all_answered_once();
}

TEST_P(BatchJobTest, AServiceInTroubleIsAskedAgainAndADenialIsFinal) {
  for (const char* kind : {"upload", "create", "look", "results"}) {
    service_.faults.emplace(kind, BatchService::Fault{net::json_outcome(429, "{}")});
    service_.faults.emplace(kind, BatchService::Fault{net::json_outcome(503, "{}")});
  }
  net::HttpOutcome cut;
  cut.trouble = net::Trouble::kCut;
  service_.faults.emplace("create", BatchService::Fault{cut, true});  // created, but not heard of
  service_.faults.emplace("create", BatchService::Fault{net::json_outcome(502, "{}"), false});
  bool troubled = false;
  on_call = [&](const net::HttpCall& call) {
    if (troubled || call.method != "POST" || !call.url.ends_with(create_path())) return;
    service_.faults.emplace("list", BatchService::Fault{net::json_outcome(500, "{}")});
    troubled = true;
  };
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(summary->totals.open_attempts, 0);
  EXPECT_EQ(summary->totals.output_tokens, 41 * 5);
  expect_all_answered_once();

  options_.seed = 2;
  service_.faults.emplace("create", BatchService::Fault{net::json_outcome(
                                        403, R"({"error":{"message":"policy: sk-very-secret may not"}})")});
  const auto denied = collect();
  ASSERT_TRUE(denied);
  EXPECT_EQ(denied->stopped, Stopped::kWorld);
  EXPECT_THAT(denied->why, HasSubstr("denies this request (403)"));
  EXPECT_THAT(denied->why, HasSubstr("[key]"));
  EXPECT_EQ(denied->totals.open_attempts, 0) << "it wasn't created, so it costs nothing";
}

TEST_P(BatchJobTest, ABatchThatIsGoneIsToldAndCanBeGivenUp) {
  std::stop_source source;
  on_call = [&](const net::HttpCall&) {
    if (service_.calls["look"] > 2) source.request_stop();
  };
  ASSERT_TRUE(collect(source.get_token()));
  on_call = nullptr;
  service_.batches.clear();
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->stopped, Stopped::kWorld);
  EXPECT_THAT(summary->why, HasSubstr("--reconcile"));
  {
    auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
    EXPECT_EQ(*store::Ledger::open(*store)->reconcile(false, 1), 40);
  }
  const auto again = collect();
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->complete) << again->why;
}

TEST_P(BatchJobTest, WhereThereIsNoBatchApiItIsRefusedBeforehand) {
  service_.faults.emplace("list", BatchService::Fault{net::json_outcome(404, "{}")});
  const auto summary = collect();
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().fault, Fault::kCaller);
  EXPECT_THAT(summary.error().message, HasSubstr("no batch API"));
  EXPECT_TRUE(service_.batches.empty());
  source_.endpoints.push_back({"http://127.0.0.2:1/v1", "", 0, 0});
  EXPECT_THAT(collect().error().message, HasSubstr("expected one"));
}

TEST_P(BatchJobTest, SettingsThatTheServiceRefusesEndItWithItsWords) {
  service_.answer = [&](const std::string& id, const Json&, int) {
    return service_.line(id, 400, {{"error", {{"message", "no"}}}});
  };
  const auto summary = collect();
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().fault, Fault::kCaller);
  EXPECT_THAT(summary.error().message, HasSubstr("refused"));
}

INSTANTIATE_TEST_SUITE_P(Apis, BatchJobTest, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "Anthropic" : "OpenAi"; });

class OpenAiBatchJobTest : public BatchJobTest {};

TEST_P(OpenAiBatchJobTest, AnUploadThatWasNeverHeardOfIsMadeAgain) {
  die_at("/files");
  EXPECT_TRUE(service_.batches.empty());
  const auto summary = collect();
  ASSERT_TRUE(summary);
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(summary->totals.open_attempts, 0);
  EXPECT_EQ(summary->totals.output_tokens, 41 * 5);
  expect_all_answered_once();
}

TEST_P(OpenAiBatchJobTest, ABatchThatFailsAsAWholeIsTriedAgainLaterAndCostsNothing) {
  service_.fails = true;
  on_call = [&](const net::HttpCall&) {
    if (clock_.monotonic_s() > 900) service_.fails = false;
  };
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(summary->totals.output_tokens, 41 * 5);
  EXPECT_GT(service_.batches.size(), 3U);
  expect_all_answered_once();
  service_.fails = true;
  on_call = nullptr;
  options_.seed = 9;
  const auto never = collect();
  ASSERT_TRUE(never);
  EXPECT_EQ(never->stopped, Stopped::kWorld);
  EXPECT_THAT(never->why, HasSubstr("Too much. (token_limit_exceeded)"));
}

INSTANTIATE_TEST_SUITE_P(Api, OpenAiBatchJobTest, ::testing::Values(false));

}  // namespace
}  // namespace retort::collect
