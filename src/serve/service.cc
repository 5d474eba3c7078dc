#include "serve/service.h"

#include <array>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "base/json.h"
#include "base/random.h"
#include "base/text.h"
#include "serve/answer.h"
#include "serve/request_parser.h"

namespace retort::serve {
namespace {

constexpr std::string_view kModels = "/v1/models";

ApiError not_found(std::string message, std::string param, std::string code) {
  return {.status = 404, .message = std::move(message), .param = std::move(param), .code = std::move(code)};
}

ApiError loading() { return unavailable("The model is still being loaded; try again in a moment.", "model_loading"); }

std::string hex(std::uint64_t value) {
  std::array<char, 20> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

}  // namespace

struct Service::State {
  State(std::string id, std::uint64_t from, const Clock& given)
      : model_id(std::move(id)), entropy(from), clock(given), created_s(given.unix_ms() / 1000), reader([this] {
          read_requests();
        }) {}
  ~State() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    changed.notify_all();
    reader.join();
  }

  struct Waiting {
    Endpoint endpoint;
    std::string body;
    std::shared_ptr<net::Reply> reply;
  };

  std::shared_ptr<const ServedModel> model() const {
    const std::lock_guard lock(mutex);
    return served;
  }

  void read_requests();
  ApiResult<void> generate(Waiting& waiting);
  ApiResult<std::vector<ReadyPrompt>> prompts(const ServedModel& served_model, const GenerationRequest& request) const;
  ApiResult<ReadyPrompt> ready_prompt(const ServedModel& served_model, const GenerationRequest& request,
                                      const PromptInput& input) const;
  ApiError unknown_model(const std::string& asked) const {
    return not_found("The model '" + asked + "' is not served here; this server has '" + model_id + "'.", "model",
                     "model_not_found");
  }
  Json model_json() const {
    return {{"id", model_id}, {"object", "model"}, {"created", created_s}, {"owned_by", "retort"}};
  }
  net::HttpResponse get(const std::string& path) const;

  const std::string model_id;
  const std::uint64_t entropy;
  const Clock& clock;
  const std::int64_t created_s;

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::shared_ptr<const ServedModel> served;
  std::deque<Waiting> waiting_requests;
  bool ending = false;
  std::uint64_t count = 0;  // of requests read; the reader's
  std::thread reader;       // last: it uses the others
};

net::HttpResponse protocol_error(int status, std::string_view sentence) {
  ApiError error{.status = status, .message = std::string(sentence)};
  if (status >= 500) error.type = "server_error";
  return response_of(error);
}

Service::Service(std::string model_id, std::uint64_t entropy, const Clock& clock)
    : state_(std::make_unique<State>(std::move(model_id), entropy, clock)) {}
Service::~Service() = default;

void Service::ready(ServedModel model) {
  const std::lock_guard lock(state_->mutex);
  state_->served = std::make_shared<const ServedModel>(std::move(model));
}

net::HttpResponse Service::State::get(const std::string& path) const {
  const auto now = model();
  if (path == "/health") {
    if (!now) return response_of(loading());
    return net::json_response(200, canonical_json({{"status", "ok"},
                                                   {"model", model_id},
                                                   {"running", now->engine->running()},
                                                   {"waiting", now->engine->waiting()}}));
  }
  if (!now) return response_of(loading());
  if (path == kModels) {
    return net::json_response(200, canonical_json({{"object", "list"}, {"data", Json::array({model_json()})}}));
  }
  const auto asked = net::percent_decode(path.substr(kModels.size() + 1));
  if (!asked) return response_of(bad_request(asked.error().message));
  if (*asked != model_id) return response_of(unknown_model(*asked));
  return net::json_response(200, canonical_json(model_json()));
}

void Service::handle(net::HttpRequest request, std::shared_ptr<net::Reply> reply) {
  const std::string& path = request.path;
  const bool reads = path == "/health" || path == kModels || path.starts_with(std::string(kModels) + "/");
  const bool chat = path == "/v1/chat/completions";
  if (!reads && !chat && path != "/v1/completions") {
    reply->send(response_of(not_found(
        "There is no " + path + " here; /v1/chat/completions, /v1/completions, /v1/models and " + "/health are.", "",
        "unknown_url")));
    return;
  }
  const bool right_method = reads ? request.method == "GET" || request.method == "HEAD" : request.method == "POST";
  if (!right_method) {
    net::HttpResponse response =
        response_of({.status = 405,
                     .message = path + " takes " + (reads ? "GET" : "POST") + ", not " + request.method + ".",
                     .param = "",
                     .code = "method_not_allowed"});
    response.headers.add("Allow", reads ? "GET, HEAD" : "POST");
    reply->send(std::move(response));
    return;
  }
  if (reads) {
    reply->send(state_->get(path));
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->waiting_requests.push_back(
        {chat ? Endpoint::kChat : Endpoint::kCompletions, std::move(request.body), std::move(reply)});
  }
  state_->changed.notify_all();
}

void Service::State::read_requests() {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [this] { return ending || !waiting_requests.empty(); });
    if (ending) return;
    Waiting waiting = std::move(waiting_requests.front());
    waiting_requests.pop_front();
    lock.unlock();
    const auto begun = generate(waiting);
    if (!begun) waiting.reply->send(response_of(begun.error()));
    waiting = {};
    lock.lock();
  }
}

ApiResult<ReadyPrompt> Service::State::ready_prompt(const ServedModel& served_model, const GenerationRequest& request,
                                                    const PromptInput& input) const {
  ReadyPrompt prompt;
  if (const auto* ids = std::get_if<std::vector<TokenId>>(&input)) {
    prompt.ids = *ids;
    for (const TokenId id : *ids) {
      if (!served_model.tokenizer->contains(id)) {
        return tl::unexpected(bad_request(
            "The prompt holds a token id outside the vocabulary, which has the ids 0 to " +
                std::to_string(served_model.tokenizer->vocabulary() - 1) + "; was it made with another tokenizer?",
            "prompt"));
      }
      prompt.text += served_model.tokenizer->piece(id);
    }
    return prompt;
  }
  prompt.text = std::get<std::string>(input);
  const auto special = request.parse_special ? tokens::SpecialTokens::kParse : tokens::SpecialTokens::kAsText;
  auto ids = served_model.tokenizer->encode(prompt.text, special, true);
  if (!ids) return tl::unexpected(api_error_of(ids.error(), "prompt"));
  prompt.ids = std::move(*ids);
  return prompt;
}

ApiResult<std::vector<ReadyPrompt>> Service::State::prompts(const ServedModel& served_model,
                                                            const GenerationRequest& request) const {
  std::vector<ReadyPrompt> made;
  if (request.endpoint == Endpoint::kChat) {
    if (!served_model.format) {
      return tl::unexpected(
          bad_request("The model has no chat template, so it can't be talked to; use /v1/completions.", "messages"));
    }
    auto ids = served_model.format->prompt_ids(Prompt{request.messages});
    if (!ids) return tl::unexpected(api_error_of(ids.error(), "messages"));
    made.push_back({std::move(*ids), ""});
  }
  for (const PromptInput& input : request.prompts) {
    auto prompt = ready_prompt(served_model, request, input);
    if (!prompt) return tl::unexpected(prompt.error());
    made.push_back(std::move(*prompt));
  }
  const char* param = request.endpoint == Endpoint::kChat ? "messages" : "prompt";
  const std::size_t context = served_model.engine->context_tokens();
  for (const ReadyPrompt& prompt : made) {
    if (prompt.ids.empty())
      return tl::unexpected(bad_request("The prompt has no token; expected at least one.", param));
    // Without a number the answer takes what is left, which must be something.
    const auto answer = static_cast<std::size_t>(request.sampling.max_tokens < 0 ? 1 : request.sampling.max_tokens);
    if (prompt.ids.size() + answer > context) {
      return tl::unexpected(
          bad_request("The prompt has " + human_count(static_cast<std::int64_t>(prompt.ids.size())) +
                          " tokens and the answer may have " + human_count(static_cast<std::int64_t>(answer)) +
                          ", but the context holds " + human_count(static_cast<std::int64_t>(context)) +
                          " together; shorten one, or serve with a larger --context.",
                      param, "context_length_exceeded"));
    }
  }
  return made;
}

ApiResult<void> Service::State::generate(Waiting& waiting) {
  const auto served_model = model();
  if (!served_model) return tl::unexpected(loading());
  auto request = parse_request(waiting.endpoint, waiting.body);
  if (!request) return tl::unexpected(request.error());
  if (request->model != model_id) return tl::unexpected(unknown_model(request->model));
  auto ready_prompts = prompts(*served_model, *request);
  if (!ready_prompts) return tl::unexpected(ready_prompts.error());

  const std::uint64_t number = count++;
  if (!request->seeded) request->sampling.seed = derive_seed(entropy, "seed", number);
  ResponseWriter writer(*request, hex(derive_seed(entropy, "id", number)) + hex(number).substr(8),
                        clock.unix_ms() / 1000);
  const std::vector<TokenId>& ends =
      waiting.endpoint == Endpoint::kChat ? served_model->format->end_ids() : served_model->tokenizer->end_ids();
  const auto answer = std::make_shared<Answer>(std::move(*request), std::move(*ready_prompts), served_model->tokenizer,
                                               ends, waiting.reply, std::move(writer));
  answer->start();
  const Result<void> queued = served_model->engine->submit(answer->sequences());
  if (queued) return {};
  // The engine's own complaints are about a request that is too much for now, or for ever.
  return tl::unexpected(queued.error().fault == Fault::kWorld ? unavailable(queued.error().message, "overloaded")
                                                              : api_error_of(queued.error(), "prompt"));
}

}  // namespace retort::serve
