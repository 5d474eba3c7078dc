#include "provider/capabilities.h"

#include <algorithm>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "provider/json_answer.h"
#include "provider/limit_headers.h"
#include "provider/verdict.h"

namespace retort::provider {
namespace {

constexpr int kTimes = 4;  // a service that is busy is asked so often
constexpr double kProbeTimeout_s = 120;

const Prompt& short_prompt() {
  static const Prompt prompt{.messages = {{.role = Role::kUser, .content = "Say OK."}}};
  return prompt;
}

net::HttpCall call_of(const ProbeTarget& target, std::string method, std::string_view path, std::string body) {
  net::HttpCall call;
  call.method = std::move(method);
  call.url = target.url + std::string(path);
  call.headers = target.dialect.headers(target.key);
  call.body = std::move(body);
  call.timeout_s = kProbeTimeout_s;
  return call;
}

// What stands at a path of the service, without cost. Nothing: it isn't there.
Result<std::optional<Json>> free_look(const ProbeTarget& target, const Ask& ask, std::string_view path) {
  RETORT_ASSIGN(const net::HttpOutcome outcome, ask(call_of(target, "GET", path, ""), std::nullopt));
  if (outcome.trouble != net::Trouble::kNone || outcome.status == 401 || outcome.status == 403) {
    const Verdict verdict = judge(target.dialect, outcome, {}, target.url, target.key);
    return Failure(Error{verdict.fault, verdict.sentence});
  }
  Json json = Json::parse(outcome.body, nullptr, false);
  if (outcome.status != 200 || !json.is_object()) return std::optional<Json>();
  return std::optional<Json>(std::move(json));
}

Result<void> check_model(const ProbeTarget& target, const Ask& ask) {
  RETORT_ASSIGN(const std::optional<Json> listed, free_look(target, ask, "/models"));
  if (!listed || !part_of(*listed, "data").is_array()) return {};
  std::vector<std::string> names;
  for (const Json& entry : part_of(*listed, "data")) names.push_back(text_or_empty(entry, "id"));
  // Long lists come in pages; only a short one is known to be whole.
  const bool whole = !part_of(*listed, "has_more").is_boolean() || !part_of(*listed, "has_more").get<bool>();
  if (!whole || names.empty() || std::find(names.begin(), names.end(), target.model) != names.end()) return {};
  const std::string near = nearest(target.model, names);
  const std::string there = near.empty() ? "it has '" + names.front() + "'" : "did you mean '" + near + "'?";
  return caller_error(target.url + " has no model '" + target.model + "' (" + there + "); correct teacher.model.");
}

// One step of what is asked for when a request was refused: less of what only some services know.
bool ask_for_less(AskOptions& options, const ApiError& error) {
  const std::string words = to_lower_ascii(error.message);
  const auto mentions = [&](const char* word) { return words.find(word) != std::string::npos; };
  if (!options.max_completion_tokens && mentions("max_completion_tokens")) {
    options.max_completion_tokens = true;
    return true;
  }
  if (options.seed && mentions("seed")) {
    options.seed = false;
    return true;
  }
  if (options.top_logprobs == 20) {
    options.top_logprobs = 5;
  } else if (options.top_logprobs == 5) {
    options.top_logprobs = 0;
  } else if (options.top_logprobs) {
    options.top_logprobs.reset();
  } else if (options.seed) {
    options.seed = false;
  } else {
    return false;
  }
  return true;
}

std::optional<int> given_logprobs(const Completion& completion) {
  if (completion.logprobs.empty()) return std::nullopt;
  const Json all = Json::parse(completion.logprobs, nullptr, false);
  std::size_t most = 0;
  for (const Json& entry : all) {
    const Json& top = part_of(entry, "top");
    if (top.is_array()) most = std::max(most, top.size());
  }
  return static_cast<int>(most);
}

Result<void> probe_answers(const ProbeTarget& target, const Ask& ask, Capabilities& found) {
  AskOptions options;
  // A temperature of 1 is the only one that every model takes.
  options.sampling = {.temperature = 1, .top_p = 1, .top_k = 0, .min_p = 0, .max_tokens = 16, .seed = 1};
  const bool anthropic = target.dialect.name() == anthropic_messages().name();
  if (!anthropic) options.top_logprobs = 20;
  int busy = 0;
  while (true) {
    RETORT_ASSIGN(std::string body, target.dialect.body(target.model, short_prompt(), options));
    RETORT_ASSIGN(const net::HttpOutcome outcome, ask(call_of(target, "POST", target.dialect.path(), std::move(body)),
                                                      worst_case(short_prompt(), options.sampling.max_tokens)));
    const Verdict verdict = judge(target.dialect, outcome, told_limits(outcome.headers, 0), target.url, target.key);
    if (verdict.kind == Verdict::Kind::kAnswered) {
      found.top_logprobs = given_logprobs(verdict.answer.completion);
      found.seed = options.seed && !anthropic;
      found.max_completion_tokens = options.max_completion_tokens;
      return {};
    }
    if (verdict.kind == Verdict::Kind::kStop) return Failure(Error{verdict.fault, verdict.sentence});
    if (verdict.kind == Verdict::Kind::kRetry) {
      if (++busy >= kTimes) return world_error(verdict.sentence);
    } else if (!ask_for_less(options, api_error(outcome.body))) {
      return caller_error(verdict.sentence);
    }
  }
}

// Whether a text that is given can be scored: completions with `echo`.
Result<bool> probe_prompt_logprobs(const ProbeTarget& target, const Ask& ask) {
  const Json body = {{"model", target.model}, {"prompt", "One two three"}, {"max_tokens", 1}, {"echo", true},
                     {"logprobs", 1},         {"temperature", 0}};
  RETORT_ASSIGN(const net::HttpOutcome outcome,
                ask(call_of(target, "POST", "/completions", canonical_json(body)), worst_case(short_prompt(), 1)));
  if (outcome.trouble != net::Trouble::kNone || outcome.status != 200) return false;
  const Json json = Json::parse(outcome.body, nullptr, false);
  const Json& choices = part_of(json, "choices");
  if (!choices.is_array() || choices.empty()) return false;
  const Json& values = part_of(part_of(choices[0], "logprobs"), "token_logprobs");
  return values.is_array() && values.size() >= 3;
}

}  // namespace

std::string Capabilities::sentence() const {
  std::string text = "text";
  if (top_logprobs) {
    text += *top_logprobs == 0 ? ", log-probabilities of the sampled tokens"
                               : ", log-probabilities of " + std::to_string(*top_logprobs) + " tokens a place";
  }
  if (prompt_logprobs) text += ", log-probabilities of a given text";
  if (seed) text += ", seed";
  if (batch) text += ", batches";
  return text;
}

Json to_json(const Capabilities& c) {
  return {{"top_logprobs", c.top_logprobs ? Json(*c.top_logprobs) : Json()},
          {"prompt_logprobs", c.prompt_logprobs},
          {"batch", c.batch},
          {"seed", c.seed},
          {"max_completion_tokens", c.max_completion_tokens},
          {"probed_at", c.probed_at}};
}

Result<Capabilities> capabilities_from_json(const Json& json) {
  constexpr std::string_view kWhat = "The capabilities";
  Capabilities c;
  RETORT_ASSIGN(const Json top, member<Json>(json, "top_logprobs", kWhat));
  if (top.is_number_integer()) c.top_logprobs = top.get<int>();
  RETORT_ASSIGN(c.prompt_logprobs, member<bool>(json, "prompt_logprobs", kWhat));
  RETORT_ASSIGN(c.batch, member<bool>(json, "batch", kWhat));
  RETORT_ASSIGN(c.seed, member<bool>(json, "seed", kWhat));
  RETORT_ASSIGN(c.max_completion_tokens, member<bool>(json, "max_completion_tokens", kWhat));
  RETORT_ASSIGN(c.probed_at, member<std::string>(json, "probed_at", kWhat));
  return c;
}

Capabilities common(const Capabilities& a, const Capabilities& b) {
  Capabilities both = a;
  if (!b.top_logprobs) both.top_logprobs.reset();
  if (both.top_logprobs) both.top_logprobs = std::min(*a.top_logprobs, *b.top_logprobs);
  both.prompt_logprobs = a.prompt_logprobs && b.prompt_logprobs;
  both.batch = a.batch && b.batch;
  both.seed = a.seed && b.seed;
  both.max_completion_tokens = a.max_completion_tokens || b.max_completion_tokens;
  both.probed_at = std::min(a.probed_at, b.probed_at);
  return both;
}

Result<Capabilities> probe(const ProbeTarget& target, const Ask& ask, const std::string& now_iso) {
  Capabilities found;
  found.probed_at = now_iso;
  RETORT_TRY(check_model(target, ask));
  RETORT_TRY(probe_answers(target, ask, found));
  const bool anthropic = target.dialect.name() == anthropic_messages().name();
  if (!anthropic) {
    RETORT_ASSIGN(found.prompt_logprobs, probe_prompt_logprobs(target, ask));
  }
  RETORT_ASSIGN(const std::optional<Json> batches,
                free_look(target, ask, anthropic ? "/messages/batches?limit=1" : "/batches?limit=1"));
  found.batch = batches.has_value() && part_of(*batches, "data").is_array();
  return found;
}

}  // namespace retort::provider
