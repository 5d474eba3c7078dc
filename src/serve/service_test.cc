#include "serve/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <mutex>

#include "base/json.h"
#include "base/text.h"
#include "gguf/testing.h"

namespace retort::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr TokenId kEnd = 2;
constexpr float kTop = 5;  // the logit of what a row predicts; all others are 0

// Says the same ids to everybody, when it is told to: rows that predict the very tokens that follow.
class ScriptedEngine final : public SequenceEngine {
 public:
  Result<void> submit(std::vector<SequenceRequest> requests) override {
    const std::lock_guard lock(mutex);
    if (full) return world_error("The queue is full.");
    for (SequenceRequest& request : requests) queued.push_back(std::move(request));
    changed.notify_all();
    return {};
  }
  std::size_t vocabulary() const override { return 277; }
  std::size_t context_tokens() const override { return 256; }
  std::size_t parallel() const override { return 1; }
  std::size_t running() const override { return 0; }
  std::size_t waiting() const override { return 0; }

  std::vector<SequenceRequest> take(std::size_t count) {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(5), [&] { return queued.size() >= count; });
    EXPECT_EQ(queued.size(), count);
    return std::exchange(queued, {});
  }
  std::vector<float> row(TokenId id) const {
    std::vector<float> logits(vocabulary());
    logits[static_cast<std::size_t>(id)] = kTop;
    return logits;
  }
  double logprob() const { return kTop - std::log(std::exp(double{kTop}) + static_cast<double>(vocabulary() - 1)); }

  // Runs one sequence: its prompt's rows, the ids, and an end.
  void run(const SequenceRequest& request, const std::vector<TokenId>& ids) const {
    if (request.prompt_logits) {
      for (std::size_t i = 0; i + 1 < request.prompt_ids.size(); ++i) {
        request.sink->prompt_row(i, row(request.prompt_ids[i + 1]));
      }
    }
    std::int32_t left = request.sampling.max_tokens;
    for (const TokenId id : ids) {
      if (left-- == 0) break;
      if (!request.sink->sampled(id, row(id)) ||
          std::find(request.end_ids.begin(), request.end_ids.end(), id) != request.end_ids.end()) {
        return request.sink->finished(FinishReason::kEnd);
      }
    }
    request.sink->finished(FinishReason::kLength);
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<SequenceRequest> queued;
  bool full = false;
};

class RecordedReply final : public net::Reply {
 public:
  void send(net::HttpResponse response) override {
    end([&] { whole = std::move(response); });
  }
  void begin(net::HttpResponse first) override { head = std::move(first); }
  void write(std::string piece) override { stream += piece; }
  void finish() override {
    end([&] { finished = true; });
  }
  void cut() override {
    end([&] { was_cut = true; });
  }
  void on_gone(std::function<void()> gone) override { leave = std::move(gone); }

  const net::HttpResponse& wait() {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(5), [&] { return ended; }));
    return whole;
  }
  std::vector<Json> events() const {
    std::vector<Json> made;
    for (std::size_t at = 0; (at = stream.find("data: ", at)) != std::string::npos;) {
      const std::size_t end = stream.find("\n\n", at);
      const std::string text = stream.substr(at + 6, end - at - 6);
      made.push_back(text == "[DONE]" ? Json("[DONE]") : Json::parse(text));
      at = end;
    }
    return made;
  }

  net::HttpResponse whole;
  net::HttpResponse head;
  std::string stream;
  bool finished = false;
  bool was_cut = false;
  std::function<void()> leave;

 private:
  void end(const std::function<void()>& how) {
    const std::lock_guard lock(mutex);
    EXPECT_FALSE(ended) << "one answer a request";
    how();
    ended = true;
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool ended = false;
};

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() {
    const auto path =
        std::filesystem::path(::testing::TempDir()) / ("retort_serve_" + std::to_string(getpid()) + ".gguf");
    gguf::testing::TinyModelOptions options;
    options.weights = false;
    EXPECT_TRUE(gguf::testing::write_tiny_model(path, options));
    auto loaded = tokens::Tokenizer::load(path);
    auto template_loaded = tokens::ChatFormat::load(path);
    EXPECT_TRUE(loaded && template_loaded);
    tokenizer = std::make_shared<const tokens::Tokenizer>(std::move(*loaded));
    format = std::make_shared<const tokens::ChatFormat>(std::move(*template_loaded));
    std::filesystem::remove(path);
    service.ready({tokenizer, format, &engine});
  }

  std::shared_ptr<RecordedReply> ask(const std::string& method, const std::string& path, const Json& body = {}) {
    auto reply = std::make_shared<RecordedReply>();
    net::HttpRequest request;
    request.method = method;
    request.path = path;
    if (!body.is_null()) request.body = body.dump();
    service.handle(std::move(request), reply);
    return reply;
  }
  std::shared_ptr<RecordedReply> chat(Json more) {
    Json body = {{"model", "tiny"}, {"messages", Json::array({{{"role", "user"}, {"content", "hi"}}})}};
    if (!more.is_null()) body.update(more);
    return ask("POST", "/v1/chat/completions", body);
  }
  std::shared_ptr<RecordedReply> complete(Json more) {
    Json body = {{"model", "tiny"}, {"prompt", "hello"}};
    if (!more.is_null()) body.update(more);
    return ask("POST", "/v1/completions", body);
  }
  static Json json(const std::shared_ptr<RecordedReply>& reply, int status = 200) {
    const net::HttpResponse& response = reply->wait();
    EXPECT_EQ(response.status, status) << response.body;
    return Json::parse(response.body);
  }
  std::vector<TokenId> ids_of(const std::string& text) const {
    return tokenizer->encode(text).value_or(std::vector<TokenId>{});
  }
  std::vector<TokenId> with_end(const std::string& text) const {
    std::vector<TokenId> ids = ids_of(text);
    ids.push_back(kEnd);
    return ids;
  }

  ManualClock clock;
  ScriptedEngine engine;
  std::shared_ptr<const tokens::Tokenizer> tokenizer;
  std::shared_ptr<const tokens::ChatFormat> format;
  Service service{"tiny", 1, clock};
};

TEST_F(ServiceTest, HealthAndModels) {
  EXPECT_EQ(json(ask("GET", "/health"))["status"], "ok");
  EXPECT_EQ(json(ask("GET", "/v1/models"))["data"][0]["id"], "tiny");
  EXPECT_EQ(json(ask("GET", "/v1/models/tin%79"))["object"], "model");
  EXPECT_EQ(json(ask("GET", "/v1/models/other"), 404)["error"]["code"], "model_not_found");
  EXPECT_EQ(json(ask("GET", "/v2"), 404)["error"]["code"], "unknown_url");
  const auto wrong = ask("PUT", "/v1/models");
  json(wrong, 405);
  EXPECT_EQ(wrong->whole.headers.find("Allow"), "GET, HEAD");
  json(ask("GET", "/v1/completions"), 405);
}

TEST_F(ServiceTest, NothingIsAnsweredBeforeTheModelIsThere) {
  Service empty("tiny", 1, clock);
  for (const char* path : {"/health", "/v1/models", "/v1/models/tiny", "/v1/completions"}) {
    auto reply = std::make_shared<RecordedReply>();
    net::HttpRequest request;
    request.method = std::string(path) == "/v1/completions" ? "POST" : "GET";
    request.path = path;
    empty.handle(std::move(request), reply);
    EXPECT_EQ(json(reply, 503)["error"]["code"], "model_loading") << path;
  }
}

TEST_F(ServiceTest, AChatIsAnswered) {
  const auto reply = chat({{"seed", 9}, {"max_tokens", 20}});
  const auto asked = engine.take(1);
  EXPECT_EQ(asked[0].prompt_ids, format->prompt_ids({{{Role::kUser, "hi"}}}).value());
  EXPECT_EQ(asked[0].end_ids, format->end_ids());
  EXPECT_EQ(asked[0].sampling.seed, 9U);
  EXPECT_FALSE(asked[0].prompt_logits);
  engine.run(asked[0], with_end("good day"));
  const Json answer = json(reply);
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "good day");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer["usage"]["prompt_tokens"], asked[0].prompt_ids.size());
  EXPECT_EQ(answer["usage"]["completion_tokens"], with_end("good day").size());
  EXPECT_THAT(answer["id"].get<std::string>(), StartsWith("chatcmpl-"));
}

TEST_F(ServiceTest, AStreamSaysTheSameInPieces) {
  const auto reply =
      chat({{"stream", true}, {"stream_options", {{"include_usage", true}}}, {"logprobs", true}, {"max_tokens", 60}});
  engine.run(engine.take(1)[0], with_end("Grüße 👋"));
  reply->wait();
  EXPECT_TRUE(reply->finished);
  EXPECT_EQ(reply->head.headers.find("content-type"), "text/event-stream; charset=utf-8");
  const auto events = reply->events();
  ASSERT_GT(events.size(), 5U);
  EXPECT_EQ(events[0]["choices"][0]["delta"], Json::parse(R"({"role":"assistant","content":""})"));
  std::string text;
  std::size_t tokens = 0;
  for (std::size_t i = 0; i + 2 < events.size(); ++i) {
    const Json& choice = events[i]["choices"][0];
    const std::string piece = choice["delta"].value("content", "");
    EXPECT_TRUE(is_valid_utf8(piece));
    text += piece;
    tokens += choice["logprobs"]["content"].size();
    EXPECT_TRUE(events[i]["usage"].is_null());
  }
  EXPECT_EQ(text, "Grüße 👋");
  EXPECT_EQ(tokens, ids_of("Grüße 👋").size());
  EXPECT_EQ(events[events.size() - 3]["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(events[events.size() - 2]["usage"]["completion_tokens"], tokens + 1);
  EXPECT_EQ(events.back(), "[DONE]");
}

TEST_F(ServiceTest, AStopStringEndsTheAnswerAndIsNotInIt) {
  for (const bool stream : {false, true}) {
    const auto reply = complete({{"stop", "\n\n"}, {"stream", stream}, {"logprobs", 0}, {"max_tokens", 40}});
    engine.run(engine.take(1)[0], ids_of("one\n\ntwo"));
    reply->wait();
    std::string text;
    std::size_t tokens = 0;
    std::string finish;
    std::vector<Json> parts = reply->events();
    if (!stream) parts = {json(reply)};
    for (const Json& part : parts) {
      if (!part.is_object()) continue;
      text += part["choices"][0]["text"].get<std::string>();
      tokens += part["choices"][0]["logprobs"]["tokens"].size();
      if (part["choices"][0]["finish_reason"].is_string()) finish = part["choices"][0]["finish_reason"];
    }
    EXPECT_EQ(text, "one");
    EXPECT_EQ(finish, "stop");
    EXPECT_EQ(tokens, ids_of("one").size());
  }
}

TEST_F(ServiceTest, AGivenTextIsScored) {
  const std::string text = "hello Ü";
  const auto reply = complete({{"prompt", text}, {"echo", true}, {"logprobs", 2}, {"max_tokens", 0}});
  const auto asked = engine.take(1);
  EXPECT_TRUE(asked[0].prompt_logits);
  EXPECT_EQ(asked[0].sampling.max_tokens, 0);
  engine.run(asked[0], {});
  const Json choice = json(reply)["choices"][0];
  EXPECT_EQ(choice["text"], text);
  EXPECT_EQ(choice["finish_reason"], "length");
  const Json& logprobs = choice["logprobs"];
  const std::vector<TokenId> ids = ids_of(text);
  ASSERT_EQ(logprobs["tokens"].size(), ids.size());
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  EXPECT_EQ(logprobs["text_offset"][0], 0);
  for (std::size_t i = 1; i < ids.size(); ++i) {
    EXPECT_NEAR(logprobs["token_logprobs"][i].get<double>(), engine.logprob(), 1e-12);
    EXPECT_EQ(logprobs["top_logprobs"][i].size(), 2U);
    EXPECT_TRUE(logprobs["top_logprobs"][i].contains(logprobs["tokens"][i].get<std::string>()));
  }
  EXPECT_EQ(logprobs["text_offset"].back(), 7) << "code points: the second byte of Ü begins none";
}

TEST_F(ServiceTest, AnEchoGoesBeforeTheAnswer) {
  const auto reply =
      complete({{"prompt", "hello"}, {"echo", true}, {"logprobs", 0}, {"max_tokens", 20}, {"return_token_ids", true}});
  engine.run(engine.take(1)[0], with_end(" you"));
  const Json choice = json(reply)["choices"][0];
  EXPECT_EQ(choice["text"], "hello you");
  EXPECT_EQ(choice["logprobs"]["tokens"].size(), ids_of("hello").size() + ids_of(" you").size());
  EXPECT_EQ(choice["logprobs"]["text_offset"].back().get<std::size_t>(), 6U);
  EXPECT_EQ(choice["prompt_token_ids"], Json(ids_of("hello")));
  EXPECT_EQ(choice["token_ids"], Json(with_end(" you")));
}

TEST_F(ServiceTest, SeveralPromptsAndChoicesStandInOrder) {
  const auto reply = complete({{"prompt", {"a", "b"}}, {"n", 2}, {"seed", 5}, {"max_tokens", 10}});
  const auto asked = engine.take(4);
  EXPECT_EQ(asked[0].sampling.seed, 5U);
  EXPECT_EQ(asked[2].sampling.seed, 5U) << "as if it had been asked alone";
  EXPECT_NE(asked[1].sampling.seed, 5U);
  EXPECT_EQ(asked[1].sampling.seed, asked[3].sampling.seed);
  EXPECT_EQ(asked[2].prompt_ids, ids_of("b"));
  for (const std::size_t i : {3, 0, 2, 1}) engine.run(asked[i], with_end(std::to_string(i)));
  const Json answer = json(reply);
  ASSERT_EQ(answer["choices"].size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(answer["choices"][i]["index"], i);
    EXPECT_EQ(answer["choices"][i]["text"], std::to_string(i));
  }
  EXPECT_EQ(answer["usage"], Json::parse(R"({"prompt_tokens":2,"completion_tokens":8,"total_tokens":10})"));
}

TEST_F(ServiceTest, SeedsOfRequestsWithoutOneDiffer) {
  complete({});
  complete({});
  const auto asked = engine.take(2);
  EXPECT_NE(asked[0].sampling.seed, asked[1].sampling.seed);
  for (const auto& request : asked) engine.run(request, {});
}

TEST_F(ServiceTest, AnEndTokenMayBeIgnored) {
  const auto reply = complete({{"ignore_eos", true}, {"max_tokens", 3}});
  const auto asked = engine.take(1);
  EXPECT_TRUE(asked[0].end_ids.empty());
  engine.run(asked[0], {kEnd, ids_of("a")[0], kEnd});
  const Json answer = json(reply);
  EXPECT_EQ(answer["choices"][0]["text"], "a");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
}

TEST_F(ServiceTest, SpecialTokensInAPromptAreTextUnlessAskedFor) {
  complete({{"prompt", "<|im_end|>"}});
  complete({{"prompt", "<|im_end|>"}, {"parse_special", true}});
  const auto asked = engine.take(2);
  EXPECT_GT(asked[0].prompt_ids.size(), 5U);
  EXPECT_EQ(asked[1].prompt_ids, std::vector<TokenId>{kEnd});
  for (const auto& request : asked) engine.run(request, {});
}

TEST_F(ServiceTest, WhatCannotBeAnsweredIsSaid) {
  EXPECT_EQ(json(complete({{"model", "gpt-9"}}), 404)["error"]["code"], "model_not_found");
  EXPECT_EQ(json(complete({{"prompt", ""}}), 400)["error"]["param"], "prompt");
  EXPECT_EQ(json(complete({{"prompt", {100000}}}), 400)["error"]["param"], "prompt");
  EXPECT_EQ(json(complete({{"max_tokens", 256}}), 400)["error"]["code"], "context_length_exceeded");
  EXPECT_EQ(json(chat({{"messages", Json::array({{{"role", "user"}, {"content", std::string(300, 'x')}}})}}),
                 400)["error"]["code"],
            "context_length_exceeded");
  engine.full = true;
  const auto busy = complete({});
  EXPECT_EQ(json(busy, 503)["error"]["code"], "overloaded");
  EXPECT_EQ(busy->whole.headers.find("Retry-After"), "1");
  service.ready({tokenizer, nullptr, &engine});
  EXPECT_THAT(json(chat({}), 400)["error"]["message"].get<std::string>(), HasSubstr("no chat template"));
}

TEST_F(ServiceTest, AFailureIsAnErrorBeforeTheStreamAndAnEventInIt) {
  for (const bool stream : {false, true}) {
    const auto reply = complete({{"stream", stream}, {"n", 2}});
    const auto asked = engine.take(2);
    if (stream) asked[0].sink->sampled(ids_of("a")[0], engine.row(5));
    asked[0].sink->failed({Fault::kWorld, "Out of memory."});
    EXPECT_TRUE(asked[1].stop.stop_requested()) << "the other choice has no use";
    asked[1].sink->failed({Fault::kInterrupted, "Stopped."});
    reply->wait();
    if (stream) {
      EXPECT_TRUE(reply->was_cut);
      EXPECT_EQ(reply->events().back()["error"]["message"], "Out of memory.");
    } else {
      EXPECT_EQ(json(reply, 500)["error"]["type"], "server_error");
    }
  }
}

TEST_F(ServiceTest, LogitsThatAreNoNumbersAreAnError) {
  const auto reply = complete({{"logprobs", 1}});
  const auto asked = engine.take(1);
  std::vector<float> row = engine.row(5);
  row[7] = NAN;
  asked[0].sink->sampled(5, row);
  EXPECT_EQ(json(reply, 500)["error"]["code"], "engine_failed");
  asked[0].sink->finished(FinishReason::kLength);
}

TEST_F(ServiceTest, AClientThatLeavesStopsItsSequences) {
  const auto reply = complete({{"n", 2}});
  const auto asked = engine.take(2);
  EXPECT_FALSE(asked[1].stop.stop_requested());
  reply->leave();
  EXPECT_TRUE(asked[0].stop.stop_requested());
  EXPECT_TRUE(asked[1].stop.stop_requested());
  for (const auto& request : asked) request.sink->failed({Fault::kInterrupted, "Stopped."});
}

}  // namespace
}  // namespace retort::serve
