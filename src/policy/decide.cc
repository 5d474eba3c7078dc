#include "policy/decide.h"

#include <algorithm>

#include "api/json_edit.h"
#include "base/json.h"

namespace retort::policy {
namespace {

using api::Operation;

Decision refusal(int status, std::string code, std::string rule, std::string sentence) {
  Decision decision;
  decision.allowed = false;
  decision.status = status;
  decision.code = std::move(code);
  decision.rule = std::move(rule);
  decision.sentence = std::move(sentence);
  return decision;
}

Decision not_exposed(const EffectivePolicy& policy, const std::string& what, const std::string& key) {
  return refusal(403, key + "_not_allowed", "expose." + key,
                 "Accounts of the tier '" + policy.tier_name + "' may not use " + what +
                     " here; ask the operator of this API for another tier.");
}

// A wish beyond what is exposed: refused where the policy says so, else noted. True: refused.
bool beyond(const EffectivePolicy& policy, Decision& decision, const std::string& key, const std::string& note,
            const std::string& what) {
  if (policy.tier.expose.excess == "refuse") {
    decision = not_exposed(policy, what, key);
    return true;
  }
  decision.withheld.push_back(note);
  decision.rule = "expose." + key;
  return false;
}

// Of answers that the provider kept, which are fetched now: by themselves or as a batch's results.
void strip_what_is_kept(const Exposure& expose, Decision& decision) {
  decision.strip_reasoning = expose.reasoning != "full";
  decision.strip_logprobs = expose.logprobs == 0;
}

Decision decide_generation(const EffectivePolicy& policy, Operation operation, const api::RequestFacts& facts) {
  const Exposure& expose = policy.tier.expose;
  Decision decision;
  if (!model_allowed(expose, facts.model)) {
    return refusal(404, "model_not_found", "expose.models",
                   "The model '" + facts.model + "' does not exist or your account may not use it.");
  }
  if (facts.tools && !expose.tools) return not_exposed(policy, "tools", "tools");
  if (facts.background && !expose.stored) return not_exposed(policy, "background answers", "stored");
  if (facts.continues && !expose.stored) {
    return not_exposed(policy, "answers kept by the provider (previous_response_id, conversation)", "stored");
  }
  if (facts.logprobs) {
    if (expose.logprobs == 0) {
      if (beyond(policy, decision, "logprobs", "logprobs", "log-probabilities")) return decision;
      decision.strip_logprobs = true;
    } else if (facts.top_logprobs > expose.logprobs) {
      const std::string kept = "top_logprobs=" + std::to_string(expose.logprobs);
      if (beyond(policy, decision, "logprobs", kept, "so many log-probabilities")) return decision;
      decision.top_logprobs = expose.logprobs;
    }
    if (facts.logit_bias && !decision.strip_logprobs && !expose.logit_bias_with_logprobs) {
      if (beyond(policy, decision, "logit_bias_with_logprobs", "logit_bias", "logit_bias together with logprobs")) {
        return decision;
      }
      decision.strip_logit_bias = true;
    }
  }
  if (facts.n > expose.n) {
    if (beyond(policy, decision, "n", "n=" + std::to_string(expose.n), "so many completions a request"))
      return decision;
    decision.n = expose.n;
  }
  if (facts.seed && !expose.seed) {
    if (beyond(policy, decision, "seed", "seed", "a seed")) return decision;
    decision.strip_seed = true;
  }
  if (facts.store && !expose.stored) {
    decision.unstore = true;
    // Responses are kept unless told otherwise: a default that nobody asked for isn't worth a word.
    if (operation != Operation::kResponses) decision.withheld.emplace_back("store");
  }
  if (expose.max_output_tokens &&
      facts.max_tokens.value_or(*expose.max_output_tokens + 1) > *expose.max_output_tokens) {
    const std::string kept = "max_tokens=" + std::to_string(*expose.max_output_tokens);
    if (facts.max_tokens && beyond(policy, decision, "max_output_tokens", kept, "answers of this length"))
      return decision;
    decision.max_tokens = *expose.max_output_tokens;
  }
  // Models reason unasked: the answer is looked at in any case.
  if (expose.reasoning != "full") {
    decision.strip_reasoning = true;
    if (expose.reasoning == "summary") decision.summarised_by = expose.summary_model;
    if (facts.reasoning && beyond(policy, decision, "reasoning", "reasoning", "texts of reasoning")) return decision;
  }
  if (expose.logprobs == 0) decision.strip_logprobs = true;
  return decision;
}

std::string_view max_tokens_name(Operation operation, const api::JsonEdit& edit) {
  switch (operation) {
    case Operation::kResponses: return "max_output_tokens";
    case Operation::kChat:
      return edit.has("max_completion_tokens") || !edit.has("max_tokens") ? "max_completion_tokens" : "max_tokens";
    default: return "max_tokens";
  }
}

void edit_logprobs(Operation operation, const Decision& decision, api::JsonEdit& edit) {
  if (decision.strip_logprobs) {
    edit.remove("top_logprobs");
    if (operation != Operation::kResponses) edit.remove("logprobs");
    if (operation == Operation::kResponses && edit.has("include")) {
      Json include = Json::parse(edit.value("include"), nullptr, false);
      if (include.is_array()) {
        Json kept = Json::array();
        for (const Json& item : include) {
          if (!item.is_string() || item.get<std::string>() != "message.output_text.logprobs") kept.push_back(item);
        }
        if (kept.size() != include.size()) edit.set("include", kept.dump());
      }
    }
  } else if (decision.top_logprobs > 0) {
    const char* key = operation == Operation::kCompletions ? "logprobs" : "top_logprobs";
    edit.set(key, std::to_string(decision.top_logprobs));
  }
}

}  // namespace

bool model_allowed(const Exposure& expose, std::string_view model) {
  if (expose.models.empty()) return true;
  return std::any_of(expose.models.begin(), expose.models.end(), [&](std::string_view allowed) {
    return allowed.ends_with('*') ? model.starts_with(allowed.substr(0, allowed.size() - 1)) : model == allowed;
  });
}

Decision decide(const EffectivePolicy& policy, const api::Route& route, const api::RequestFacts* facts) {
  const Exposure& expose = policy.tier.expose;
  if (policy.blocked) {
    return refusal(403, "account_blocked", "steps.block",
                   "This account is blocked; write to the operator of this API if you think that is a mistake.");
  }
  if (policy.ask_verification) {
    return refusal(403, "verification_required", "steps.ask_verification",
                   "This account must be verified before it can go on; ask the operator of this API how.");
  }
  Decision decision;
  switch (route.operation) {
    case Operation::kBatches:
      if (!expose.batch) decision = not_exposed(policy, "batches", "batch");
      strip_what_is_kept(expose, decision);
      break;
    case Operation::kFiles:
      if (!expose.files) decision = not_exposed(policy, "uploaded files", "files");
      strip_what_is_kept(expose, decision);
      break;
    case Operation::kStored:
      if (!expose.stored) decision = not_exposed(policy, "answers kept by the provider", "stored");
      strip_what_is_kept(expose, decision);
      break;
    case Operation::kEmbeddings:
      if (!expose.embeddings) decision = not_exposed(policy, "embeddings", "embeddings");
      break;
    case Operation::kOther:
      if (!expose.other_paths) decision = not_exposed(policy, "this path", "other_paths");
      break;
    case Operation::kNone:
      decision = refusal(404, "not_found", "", "There is nothing at this path; the API is under /v1/.");
      break;
    case Operation::kModels:
    case Operation::kCountTokens:
    case Operation::kModerations: break;
    default:
      if (facts != nullptr) decision = decide_generation(policy, route.operation, *facts);
      break;
  }
  const bool names_model = route.operation == Operation::kCountTokens || route.operation == Operation::kEmbeddings;
  if (decision.allowed && names_model && facts != nullptr && !model_allowed(expose, facts->model)) {
    decision = refusal(404, "model_not_found", "expose.models",
                       "The model '" + facts->model + "' does not exist or your account may not use it.");
  }
  decision.slow_ms = policy.slow_ms;
  return decision;
}

std::string edited_body(Operation operation, std::string_view body, const api::RequestFacts& facts,
                        const Decision& decision, bool meter) {
  const bool legacy = operation == Operation::kChat || operation == Operation::kCompletions;
  const bool ask_usage = meter && legacy && facts.stream && !facts.include_usage;
  const bool strip_logprobs = decision.strip_logprobs && facts.logprobs;
  if (!ask_usage && !strip_logprobs && decision.top_logprobs == 0 && !decision.strip_logit_bias &&
      !decision.strip_seed && !decision.unstore && decision.n == 0 && decision.max_tokens == 0) {
    return std::string(body);
  }
  api::JsonEdit edit(body);
  if (strip_logprobs || decision.top_logprobs > 0) edit_logprobs(operation, decision, edit);
  if (decision.strip_logit_bias) edit.remove("logit_bias");
  if (decision.strip_seed) edit.remove("seed");
  if (decision.unstore) edit.set("store", "false");
  if (decision.n > 0) {
    edit.set("n", std::to_string(decision.n));
    edit.remove("best_of");
  }
  if (decision.max_tokens > 0) edit.set(max_tokens_name(operation, edit), std::to_string(decision.max_tokens));
  if (ask_usage) {
    Json options = Json::object();
    if (edit.has("stream_options")) options = Json::parse(edit.value("stream_options"), nullptr, false);
    if (!options.is_object()) options = Json::object();
    options["include_usage"] = true;
    edit.set("stream_options", options.dump());
  }
  return edit.apply();
}

}  // namespace retort::policy
