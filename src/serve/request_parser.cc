#include "serve/request_parser.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "base/json.h"
#include "base/text.h"

namespace retort::serve {
namespace {

constexpr std::size_t kMostStops = 16;
constexpr std::int64_t kMostChoices = 128;
constexpr std::size_t kMostPrompts = 2048;
constexpr std::size_t kMostAnswers = 4096;  // prompts times n: what an engine lets wait by default
constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();

std::string number_text(double value) { return canonical_json(Json(value)); }

// The members of one object. The first complaint is kept; later calls then do nothing that matters.
class Members {
 public:
  Members(const Json& object, std::string place) : object_(object), place_(std::move(place)) {}

  // Null: absent, or null in the request.
  const Json* find(const std::string& key) {
    known_.push_back(key);
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  void complain(const std::string& key, std::string message, std::string code = "") {
    if (!error_) error_ = bad_request(std::move(message), place_ + key, std::move(code));
  }
  void wrong_type(const std::string& key, const Json& found, std::string_view expected) {
    complain(key, "'" + place_ + key + "' is " + kind(found) + "; expected " + std::string(expected) + ".",
             "invalid_type");
  }

  void number(const std::string& key, double low, double high, double& value) {
    const Json* found = find(key);
    if (found == nullptr) return;
    if (!found->is_number()) return wrong_type(key, *found, "a number");
    const double given = found->get<double>();
    if (!(given >= low && given <= high)) return out_of_range(key, given, low, high);
    value = given;
  }

  template <class T>
  bool integer(const std::string& key, std::int64_t low, std::int64_t high, T& value) {
    const Json* found = find(key);
    if (found == nullptr) return false;
    // 16.0 is what some languages write for 16.
    const bool whole =
        found->is_number_integer() || (found->is_number_float() && std::abs(found->get<double>()) < 9e15 &&
                                       std::trunc(found->get<double>()) == found->get<double>());
    if (!whole) {
      wrong_type(key, *found, "a whole number");
      return false;
    }
    const double given = found->get<double>();
    if (given < static_cast<double>(low) || given > static_cast<double>(high)) {
      out_of_range(key, given, static_cast<double>(low), static_cast<double>(high));
      return false;
    }
    value = static_cast<T>(found->get<std::int64_t>());
    return true;
  }

  void boolean(const std::string& key, bool& value) {
    const Json* found = find(key);
    if (found == nullptr) return;
    if (!found->is_boolean()) return wrong_type(key, *found, "true or false");
    value = found->get<bool>();
  }

  void ignore(std::initializer_list<const char*> keys) {
    for (const char* key : keys) known_.emplace_back(key);
  }

  // A parameter that isn't supported: only a value that asks for nothing is taken.
  void only(const std::string& key, const std::function<bool(const Json&)>& neutral) {
    const Json* found = find(key);
    if (found != nullptr && !neutral(*found)) {
      complain(key, "'" + place_ + key + "' is not supported by this server; leave it out.", "unsupported_parameter");
    }
  }
  void only(const std::string& key, const Json& neutral) {
    only(key, [&](const Json& found) { return found == neutral; });
  }

  void nothing_else() {
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      const std::string near = nearest(key, known_);
      complain(key,
               "'" + place_ + key + "' is not a parameter of this request." +
                   (near.empty() ? "" : " Did you mean '" + near + "'?"),
               "unknown_parameter");
    }
  }

  const std::optional<ApiError>& error() const { return error_; }
  const std::string& place() const { return place_; }
  void take(const std::optional<ApiError>& other) {
    if (!error_) error_ = other;
  }

 private:
  static std::string kind(const Json& value) {
    if (value.is_array()) return "a list";
    if (value.is_object()) return "an object";
    if (value.is_string()) return "a text";
    if (value.is_boolean()) return "true or false";
    return value.is_null() ? "null" : "a number";
  }
  void out_of_range(const std::string& key, double given, double low, double high) {
    complain(key,
             "'" + place_ + key + "' is " + number_text(given) + "; expected " + number_text(low) + " to " +
                 number_text(high) + ".",
             "invalid_value");
  }

  const Json& object_;
  std::string place_;  // "messages[0]."
  std::vector<std::string> known_;
  std::optional<ApiError> error_;
};

bool is_empty(const Json& value) {
  return value.is_string() ? value.get_ref<const std::string&>().empty() : value.empty();
}

// The text of a message: a string, or a list of text parts.
std::string content_of(Members& message, const std::string& key) {
  const Json* content = message.find(key);
  if (content == nullptr) {
    message.complain(key, "'" + message.place() + key + "' is missing; expected the message's text.",
                     "missing_required_parameter");
    return {};
  }
  if (content->is_string()) return content->get<std::string>();
  if (!content->is_array()) {
    message.wrong_type(key, *content, "a text or a list of text parts");
    return {};
  }
  std::string text;
  for (std::size_t i = 0; i < content->size(); ++i) {
    const Json& part = (*content)[i];
    const std::string place = key + "[" + std::to_string(i) + "]";
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) {
      message.complain(place,
                       "'" + message.place() + place + "' is no content part; expected an object with a 'type'.");
    } else if (part["type"] != "text" || !part.contains("text") || !part["text"].is_string()) {
      message.complain(place,
                       "'" + message.place() + place + "' is of the type '" + part["type"].get<std::string>() +
                           "'; only {\"type\": \"text\", \"text\": …} is supported.",
                       "unsupported_parameter");
    } else {
      text += part["text"].get<std::string>();
    }
  }
  return text;
}

void parse_messages(Members& members, GenerationRequest& request) {
  const Json* list = members.find("messages");
  if (list == nullptr) {
    return members.complain("messages", "'messages' is missing; expected a list of messages.",
                            "missing_required_parameter");
  }
  if (!list->is_array()) return members.wrong_type("messages", *list, "a list of messages");
  if (list->empty()) return members.complain("messages", "'messages' is empty; expected at least one message.");
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string place = "messages[" + std::to_string(i) + "]";
    if (!(*list)[i].is_object()) return members.wrong_type(place, (*list)[i], "an object");
    Members message((*list)[i], place + ".");
    Message made;
    const Json* role = message.find("role");
    if (role == nullptr || !role->is_string()) {
      message.complain("role", "'" + place + ".role' is missing; expected system, user, assistant or tool.");
    } else if (*role == "developer") {
      made.role = Role::kSystem;
    } else if (const auto known = role_from_name(role->get<std::string>())) {
      made.role = *known;
    } else {
      message.complain("role",
                       "'" + place + ".role' is '" + role->get<std::string>() +
                           "'; expected system, developer, user, assistant or tool.",
                       "invalid_value");
    }
    made.content = content_of(message, "content");
    message.only("tool_calls", is_empty);
    message.only("function_call", is_empty);
    message.only("name", is_empty);
    message.only("audio", is_empty);
    message.only("refusal", is_empty);
    message.only("reasoning_content", is_empty);
    message.ignore({"annotations", "tool_call_id"});
    message.nothing_else();
    members.take(message.error());
    request.messages.push_back(std::move(made));
  }
}

bool is_id_list(const Json& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const Json& id) { return id.is_number_integer(); });
}

void parse_prompt(Members& members, GenerationRequest& request) {
  const Json* prompt = members.find("prompt");
  constexpr std::string_view kExpected = "a text, a list of texts, a list of token ids, or a list of such lists";
  if (prompt == nullptr) {
    return members.complain("prompt", "'prompt' is missing; expected " + std::string(kExpected) + ".",
                            "missing_required_parameter");
  }
  const auto add = [&](const Json& one) {
    if (one.is_string()) {
      request.prompts.emplace_back(one.get<std::string>());
      return true;
    }
    if (!is_id_list(one)) return false;
    std::vector<TokenId> ids;
    for (const Json& id : one) {
      const double value = id.get<double>();
      // Whatever is no id of any vocabulary is refused by the engine, with the vocabulary's size.
      ids.push_back(value >= 0 && value <= static_cast<double>(kMostTokens) ? id.get<TokenId>() : -1);
    }
    request.prompts.emplace_back(std::move(ids));
    return true;
  };
  if (add(*prompt)) return;
  if (!prompt->is_array() || prompt->empty()) return members.wrong_type("prompt", *prompt, kExpected);
  if (prompt->size() > kMostPrompts) {
    return members.complain("prompt", "'prompt' holds " + std::to_string(prompt->size()) + " prompts; send at most " +
                                          std::to_string(kMostPrompts) + " at once.");
  }
  for (std::size_t i = 0; i < prompt->size(); ++i) {
    if (!add((*prompt)[i])) {
      return members.wrong_type("prompt[" + std::to_string(i) + "]", (*prompt)[i], "a text or a list of token ids");
    }
  }
}

void parse_stop(Members& members, GenerationRequest& request) {
  const Json* stop = members.find("stop");
  if (stop == nullptr) return;
  const auto add = [&](const Json& text) {
    if (!text.is_string()) {
      members.wrong_type("stop", text, "a text or a list of texts");
      return false;
    }
    const auto& value = text.get_ref<const std::string&>();
    if (value.empty()) {
      members.complain("stop", "'stop' holds an empty text, which would stop every answer at once.");
      return false;
    }
    request.stop.push_back(value);
    return true;
  };
  // Never copied: a copy of JSON goes down a level at a time on the stack, and how deep is the caller's to say.
  if (!stop->is_array()) {
    add(*stop);
    return;
  }
  if (stop->size() > kMostStops) {
    return members.complain("stop", "'stop' holds " + std::to_string(stop->size()) + " texts; expected at most " +
                                        std::to_string(kMostStops) + ".");
  }
  for (const Json& text : *stop) {
    if (!add(text)) return;
  }
}

void parse_max_tokens(Members& members, GenerationRequest& request) {
  const bool chat = request.endpoint == Endpoint::kChat;
  request.sampling.max_tokens = chat ? -1 : 16;
  const std::int64_t least = chat ? 1 : 0;
  const bool old_name = members.integer("max_tokens", least, kMostTokens, request.sampling.max_tokens);
  if (!chat) return;
  const std::int32_t old_value = request.sampling.max_tokens;
  const bool new_name = members.integer("max_completion_tokens", least, kMostTokens, request.sampling.max_tokens);
  if (old_name && new_name && old_value != request.sampling.max_tokens) {
    members.complain("max_tokens", "'max_tokens' and 'max_completion_tokens' differ; send one of them.");
  }
}

void parse_stream(Members& members, GenerationRequest& request) {
  members.boolean("stream", request.stream);
  const Json* options = members.find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) return members.wrong_type("stream_options", *options, "an object");
  if (!request.stream) {
    return members.complain("stream_options", "'stream_options' is only allowed when 'stream' is true.");
  }
  Members inner(*options, "stream_options.");
  inner.boolean("include_usage", request.include_usage);
  inner.ignore({"include_obfuscation"});
  inner.nothing_else();
  members.take(inner.error());
}

void parse_sampling(Members& members, GenerationRequest& request) {
  SamplingOptions& sampling = request.sampling;
  sampling.temperature = 1;
  sampling.top_p = 1;
  members.number("temperature", 0, 2, sampling.temperature);
  members.number("top_p", 0, 1, sampling.top_p);
  // 0 keeps the likeliest token alone, and so does the smallest share.
  sampling.top_p = std::max(sampling.top_p, 1e-9);
  members.integer("top_k", -1, kMostTokens, sampling.top_k);
  sampling.top_k = std::max(sampling.top_k, 0);
  members.number("min_p", 0, 0.999999, sampling.min_p);
  std::int64_t seed = 0;
  request.seeded =
      members.integer("seed", std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(), seed);
  sampling.seed = static_cast<std::uint64_t>(seed);
  members.integer("n", 1, kMostChoices, request.n);
}

void parse_logprobs(Members& members, GenerationRequest& request) {
  int top = 0;
  if (request.endpoint == Endpoint::kCompletions) {
    if (members.integer("logprobs", 0, kMostTopLogprobs, top)) request.top_logprobs = top;
    return;
  }
  bool wanted = false;
  members.boolean("logprobs", wanted);
  const bool given = members.integer("top_logprobs", 0, kMostTopLogprobs, top);
  if (given && !wanted && top > 0) {
    members.complain("top_logprobs", "'top_logprobs' is only allowed when 'logprobs' is true.");
  }
  if (wanted) request.top_logprobs = top;
}

void refuse_unsupported(Members& members, const GenerationRequest& request) {
  for (const char* key : {"frequency_penalty", "presence_penalty"}) members.only(key, Json(0));
  members.only("repetition_penalty", Json(1));
  members.only("logit_bias", is_empty);
  members.ignore({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
                  "prompt_cache_retention", "cache_prompt"});
  if (request.endpoint == Endpoint::kCompletions) {
    members.only("suffix", is_empty);
    members.only("best_of", Json(request.n));
    return;
  }
  const auto says_none = [](const Json& value) { return value == "none" || value == "auto"; };
  for (const char* key : {"tools", "functions"}) members.only(key, is_empty);
  for (const char* key : {"tool_choice", "function_call"}) members.only(key, says_none);
  members.only("response_format", [](const Json& value) {
    const auto type = value.is_object() ? value.find("type") : value.end();
    return type != value.end() && *type == "text";
  });
  members.only("modalities", Json::array({"text"}));
  members.only("audio", is_empty);
  members.only("web_search_options", is_empty);
  members.only("reasoning_effort", Json("none"));
  members.only("verbosity", Json("medium"));
  members.ignore({"parallel_tool_calls", "prediction"});
}

}  // namespace

ApiResult<GenerationRequest> parse_request(Endpoint endpoint, std::string_view body) {
  const auto json = parse_json(body, "The request's body");
  if (!json) return tl::unexpected(bad_request(json.error().message, "", "invalid_json"));
  if (!json->is_object()) return tl::unexpected(bad_request("The request's body is not a JSON object."));
  Members members(*json, "");
  GenerationRequest request;
  request.endpoint = endpoint;
  const Json* model = members.find("model");
  if (model == nullptr) {
    members.complain("model", "'model' is missing; GET /v1/models lists what is served.", "missing_required_parameter");
  } else if (!model->is_string()) {
    members.wrong_type("model", *model, "a text");
  } else {
    request.model = model->get<std::string>();
  }
  if (endpoint == Endpoint::kChat) {
    parse_messages(members, request);
  } else {
    parse_prompt(members, request);
    members.boolean("echo", request.echo);
    members.boolean("parse_special", request.parse_special);
  }
  parse_sampling(members, request);
  if (const std::size_t answers = request.prompts.size() * static_cast<std::size_t>(request.n);
      answers > kMostAnswers) {
    members.complain("n", "'prompt' and 'n' ask for " + std::to_string(answers) + " answers; expected at most " +
                              std::to_string(kMostAnswers) + " in one request.");
  }
  parse_max_tokens(members, request);
  parse_stop(members, request);
  parse_logprobs(members, request);
  parse_stream(members, request);
  members.boolean("return_token_ids", request.return_token_ids);
  members.boolean("ignore_eos", request.ignore_eos);
  refuse_unsupported(members, request);
  members.nothing_else();
  if (members.error()) return tl::unexpected(*members.error());
  return request;
}

}  // namespace retort::serve
