// What src/api costs a request and an event: processor time of one thread, warm memory, the median of rounds.
//
//   api_bench [--rounds N]      prints one JSON object
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "api/answer.h"
#include "api/blobs.h"
#include "api/json_edit.h"
#include "api/request_facts.h"
#include "api/route.h"
#include "base/json.h"

namespace {

using namespace retort;       // NOLINT(google-build-using-namespace): a program's own file
using namespace retort::api;  // NOLINT(google-build-using-namespace)

// The machine's other work doesn't count.
double processor_us() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

// Median over `rounds` of the microseconds that one of `repeats` calls takes.
double microseconds(int rounds, int repeats, const std::function<void()>& work) {
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    const double begin = processor_us();
    for (int i = 0; i < repeats; ++i) work();
    times.push_back((processor_us() - begin) / repeats);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// A conversation of `bytes` in turns of about 500.
std::string chat_body(std::size_t bytes) {
  std::string body =
      R"({"model":"gpt-5.1","stream":true,"temperature":0.7,"max_completion_tokens":1024,"user":"u-1","messages":[{"role":"system","content":"Be brief."})";
  bool user = true;
  while (body.size() + 200 < bytes) {
    std::string text;
    while (text.size() < 460) text += "The still was heated slowly; what came over first was \\\"heads\\\". ";
    body += R"(,{"role":")" + std::string(user ? "user" : "assistant") + R"(","content":")" + text + "\"}";
    user = !user;
  }
  return body + R"(,{"role":"user","content":"And then?"}]})";
}

std::string messages_body(std::size_t bytes) {
  std::string body = R"({"model":"m","max_tokens":1024,"messages":[{"role":"user","content":"Begin."})";
  while (body.size() + 200 < bytes) {
    const std::string text(400, 'x');
    body += R"(,{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":")" +
            std::string(300, 'S') + R"("},{"type":"text","text":")" + text + R"("}]},{"role":"user","content":")" +
            text + "\"}";
  }
  return body + "]}";
}

std::string chat_event(bool usage) {
  return R"(data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-5.1","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":" still"},"logprobs":null,"finish_reason":null}])" +
         std::string(usage ? R"(,"usage":null)" : "") + R"(,"obfuscation":"Xk3d9"})" + "\n\n";
}

std::string messages_event() {
  return "event: content_block_delta\ndata: "
         "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\" "
         "still\"}}\n\n";
}

std::string responses_event() {
  return R"(event: response.output_text.delta)"
         "\n"
         R"(data: {"type":"response.output_text.delta","sequence_number":11,"item_id":"msg_67c9a29384","output_index":1,"content_index":0,"delta":" still","logprobs":[],"obfuscation":"c3d"})"
         "\n\n";
}

double event_cost(int rounds, Operation operation, const std::string& event, bool edits) {
  const auto reader = std::make_shared<JsonReader>();
  AnswerEdits wanted;
  if (edits) {
    wanted.hide_usage = wanted.strip_reasoning = wanted.strip_logprobs = true;
    wanted.seal = [](std::string_view blob) { return std::string(blob); };
  }
  AnswerStream answer(operation, 100, wanted, reader);
  return microseconds(rounds, 5000, [&] {
    if (!answer.feed(event)) std::abort();
  });
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = 21;
  if (argc == 3 && std::string_view(argv[1]) == "--rounds") rounds = std::max(1, std::atoi(argv[2]));
  Json out;
  RequestReader reader;
  JsonReader json;
  const auto digest_of = [](std::string_view blob, const Digest&) {
    return BlobFate{.kind = BlobFate::Kind::kReplace, .blob = std::string(blob) + "x", .sentence = {}};
  };
  for (const std::size_t size : {std::size_t{1} << 10U, std::size_t{100} << 10U}) {
    const std::string chat = chat_body(size);
    const std::string messages = messages_body(size);
    const int repeats = size > 10000 ? 100 : 5000;
    const std::string name = std::to_string(size >> 10U) + "_kb_us";
    out["request_facts_" + name] = microseconds(rounds, repeats, [&] {
      if (!reader.read(Operation::kChat, chat)) std::abort();
    });
    out["json_edit_" + name] = microseconds(rounds, repeats, [&] {
      JsonEdit edit(chat);
      edit.set("model", "\"other\"").set("stream_options", "{\"include_usage\":true}");
      if (edit.apply().empty()) std::abort();
    });
    out["conversation_digest_" + name] = microseconds(rounds, repeats, [&] {
      if (!conversation_digest(Operation::kChat, chat, &json)) std::abort();
    });
    out["rewrite_blobs_" + name] = microseconds(rounds, repeats, [&] {
      if (!rewrite_blobs(Operation::kMessages, messages, digest_of, &json)) std::abort();
    });
  }
  net::HttpRequest request;
  request.method = "POST";
  request.path = "/v1/chat/completions";
  request.headers.add("Authorization", "Bearer x");
  request.headers.add("Content-Type", "application/json");
  out["route_us"] = microseconds(rounds, 5000, [&] {
    if (route_of(request).operation != Operation::kChat) std::abort();
  });
  out["event_chat_us"] = event_cost(rounds, Operation::kChat, chat_event(true), false);
  out["event_chat_edited_us"] = event_cost(rounds, Operation::kChat, chat_event(true), true);
  out["event_messages_us"] = event_cost(rounds, Operation::kMessages, messages_event(), false);
  out["event_messages_edited_us"] = event_cost(rounds, Operation::kMessages, messages_event(), true);
  out["event_responses_us"] = event_cost(rounds, Operation::kResponses, responses_event(), false);
  out["event_responses_edited_us"] = event_cost(rounds, Operation::kResponses, responses_event(), true);
  std::cout << out.dump(2) << '\n';
  return 0;
}
