// The OpenAI-compatible API: which request leads to which answer.
//
//   GET  /health                  200 when the model is ready, 503 before
//   GET  /v1/models, /v1/models/{id}
//   POST /v1/chat/completions, /v1/completions
//
// Reading a request (JSON, template, tokenizer) happens on a thread of the service, so that the network's never waits;
// sequences run in the engine. Everything public may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "exchange/sequence_engine.h"
#include "net/server.h"
#include "serve/api_error.h"
#include "serve/generation_request.h"
#include "tokens/chat_format.h"
#include "tokens/tokenizer.h"

namespace retort::serve {

struct ServedModel {
  std::shared_ptr<const tokens::Tokenizer> tokenizer;
  std::shared_ptr<const tokens::ChatFormat> format;  // null: the file has no chat template
  SequenceEngine* engine = nullptr;                  // must outlive the service's last answer
};

class Service {
 public:
  // `model_id` is the name under which the model is asked for. `entropy`: where the seeds of requests without one, and
  // the ids of answers, come from. `clock` must outlive the service.
  Service(std::string model_id, std::uint64_t entropy, const Clock& clock);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // The model is loaded: from now on it is asked.
  void ready(ServedModel model);

  // For net::HttpServer. Returns at once.
  void handle(net::HttpRequest request, std::shared_ptr<net::Reply> reply);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The server's own complaints in the API's form: for net::ServerOptions.
net::HttpResponse protocol_error(int status, std::string_view sentence);

}  // namespace retort::serve
