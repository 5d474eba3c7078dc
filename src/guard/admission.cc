#include "guard/admission.h"

#include <algorithm>
#include <array>
#include <vector>

#include "api/batch.h"
#include "api/blobs.h"
#include "base/json.h"
#include "base/text.h"
#include "guard/batch_look.h"
#include "policy/price.h"

namespace retort::guard {
namespace {

using api::Operation;

// What an answer is assumed to need of tokens_per_minute where the request asks for more: most stop long before.
constexpr std::int64_t kLikelyAnswerTokens = 512;
constexpr std::int64_t kBytesPerToken = 4;

std::string_view presented_key(const net::Headers& headers) {
  if (const auto key = headers.find("x-api-key")) return *key;
  const auto authorization = headers.find("authorization");
  if (!authorization) return {};
  std::string_view text = *authorization;
  constexpr std::string_view kBearer = "bearer ";
  if (text.size() < kBearer.size() || to_lower_ascii(text.substr(0, kBearer.size())) != kBearer) return {};
  text.remove_prefix(kBearer.size());
  while (text.starts_with(' ')) text.remove_prefix(1);
  return text;
}

bool has_body(const api::Route& route, const net::HttpRequest& request) {
  return request.method == "POST" && (api::generates(route.operation) || route.operation == Operation::kCountTokens ||
                                      route.operation == Operation::kEmbeddings);
}

evidence::Exposure exposure_of(const api::RequestFacts& facts) {
  evidence::Exposure asked;
  asked.stream = facts.stream;
  asked.reasoning = facts.reasoning;
  asked.logprobs = facts.logprobs;
  asked.logit_bias = facts.logit_bias;
  asked.seed = facts.seed;
  asked.tools = facts.tools;
  asked.store = facts.store;
  asked.top_logprobs = facts.top_logprobs;
  asked.n = facts.n;
  asked.max_tokens = facts.max_tokens.value_or(0);
  return asked;
}

evidence::Exposure granted_of(evidence::Exposure asked, const policy::Decision& decision) {
  if (decision.strip_logprobs) asked.logprobs = false, asked.top_logprobs = 0;
  if (decision.top_logprobs > 0) asked.top_logprobs = decision.top_logprobs;
  if (decision.strip_logit_bias) asked.logit_bias = false;
  if (decision.strip_seed) asked.seed = false;
  if (decision.strip_reasoning) asked.reasoning = false;
  if (decision.unstore) asked.store = false;
  if (decision.n > 0) asked.n = decision.n;
  if (decision.max_tokens > 0) asked.max_tokens = decision.max_tokens;
  return asked;
}

}  // namespace

void refuse_without_evidence(Admission& admission) {
  admission.reservation.cancel();
  admission.refused_by = "evidence.required";
  admission.refused = api::ApiError{
      .status = 503,
      .message = "This gateway cannot keep its records at the moment and therefore serves nobody; try again later.",
      .code = "evidence_unavailable",
      .param = {},
      .retry = true,
      .retry_after_s = 5};
}

// One request on its way through the filters. Each returns false when the request ends there.
struct Admitter::Pass {
  GuardState& state;
  api::RequestReader& reader;
  const net::HttpRequest& request;
  Plane plane;
  Admission& out;

  const Rules& rules;
  std::shared_ptr<const callers::CallerDirectory> directory{};
  const callers::Caller* caller = nullptr;
  std::optional<origin::NetworkFacts> network{};
  std::string client_ip{};
  std::optional<std::string> body{};  // when blobs were changed in it
  std::vector<policy::Step> steps{};
  std::vector<std::string> flags{};  // of network rules

  bool refuse(int status, std::string code, std::string rule, std::string sentence, double retry_after_s = 0) {
    out.refused_by = std::move(rule);
    out.refused = api::ApiError{.status = status,
                                .message = std::move(sentence),
                                .code = std::move(code),
                                .param = {},
                                .retry = retry_after_s > 0,
                                .retry_after_s = retry_after_s};
    return false;
  }

  bool authenticate() {
    directory = state.callers->now();
    const auto known = directory->authenticate(presented_key(request.headers), out.begun_unix_ms);
    if (!known) {
      return refuse(401, "invalid_api_key", "key." + std::string(callers::name_of(known.error())),
                    std::string(callers::sentence_of(known.error())));
    }
    caller = known->caller;
    out.account = caller->account;
    out.organisation = caller->organisation;
    out.tier = known->tier;
    if (caller->listed) {
      return refuse(403, "account_listed", "callers.listed",
                    "This account's owner is on a list of parties that may not be served; write to the operator of "
                    "this API if you think that is a mistake.");
    }
    return identify_end_customer();
  }

  bool identify_end_customer() {
    const auto header = request.headers.find(callers::kEndCustomerHeader);
    if (!header) return true;
    if (!caller->attested(out.begun_unix_ms) || !caller->attestation) {
      return refuse(
          403, "not_a_reseller", "callers.end_customer",
          "The header x-retort-end-customer is for attested resellers; leave it out, or ask the operator of this API.");
    }
    const auto pseudonym = callers::verify_end_customer(*header, *caller->attestation, out.begun_unix_ms / 1000);
    if (!pseudonym) {
      return refuse(403, "end_customer_not_attested", "callers.end_customer",
                    "The header x-retort-end-customer is not accepted: " +
                        std::string(callers::text_of(pseudonym.error())) + ".");
    }
    out.end_customer = *pseudonym;
    return true;
  }

  bool locate() {
    const auto peer = origin::IpAddress::parse(request.peer);
    if (!peer) {
      client_ip = request.peer;
      if (rules.network_rules.rules.empty() || rules.policy.fail.network == "open") return true;
      return refuse(503, "network_unknown", "fail.network",
                    "The address of this connection could not be read; try again.");
    }
    std::vector<std::string_view> fields;
    const std::string_view name = rules.hop_header == origin::HopHeader::kForwarded ? "forwarded" : "x-forwarded-for";
    if (!rules.trusted_hops.empty()) {
      for (const auto& field : request.headers.fields()) {
        if (to_lower_ascii(field.name) == name) fields.push_back(field.value);
      }
    }
    const auto client = origin::client_address(*peer, fields, rules.hop_header, rules.trusted_hops);
    client_ip = client.address.text();
    if (rules.sources->sources().empty() && rules.network_rules.rules.empty()) return true;
    network = rules.sources->facts_of(client.address);
    if (client.unreadable) network->unknowns.emplace_back("address: a forwarded one could not be read");
    const origin::NetworkDecision decided = origin::decide(rules.network_rules, *network);
    switch (decided.outcome) {
      case origin::NetworkOutcome::kPass: return true;
      case origin::NetworkOutcome::kFlag: flags.push_back("network." + decided.rule); return true;
      case origin::NetworkOutcome::kVerify:
        if (out.tier != callers::kAnonymous) return true;  // verified already
        return refuse(
            403, "verification_required", "network." + decided.rule,
            "From this network the account must be verified before it can go on; ask the operator of this API how.");
      case origin::NetworkOutcome::kRefuse:
        return refuse(403, "network_refused", "network." + decided.rule,
                      "This API is not offered to the network this request comes from.");
    }
    return true;
  }

  bool find_policy() {
    const auto tier = rules.policy.tiers.find(out.tier);
    if (tier == rules.policy.tiers.end()) {
      return refuse(403, "tier_not_served", "tiers",
                    "Accounts of the tier '" + out.tier + "' are not served here; ask the operator of this API.");
    }
    const auto in_force = state.steps->in_force();
    const auto found = in_force->find(out.account);
    if (found != in_force->end()) steps = found->second;
    out.effective = policy::effective(out.tier, tier->second, steps, rules.policy.steps, out.begun_unix_ms);
    return true;
  }

  bool read_body() {
    if (!has_body(out.route, request) || plane == Plane::kHeaders) return true;
    auto facts = reader.read(out.route.operation, request.body);
    if (!facts) return refuse(400, "invalid_request", "request", facts.error().message);
    out.facts = std::move(*facts);
    return true;
  }

  bool decide() {
    policy::EffectivePolicy asked = out.effective;
    // Where nothing can be withheld, a wish beyond what is exposed is refused.
    if (plane != Plane::kProxy) asked.tier.expose.excess = "refuse";
    out.decision = policy::decide(asked, out.route, out.facts ? &*out.facts : nullptr);
    if (!out.decision.allowed) {
      return refuse(out.decision.status, out.decision.code, out.decision.rule, out.decision.sentence);
    }
    return plane == Plane::kProxy || leave_as_it_is();
  }

  // What the proxy would change of the request, and another proxy can't.
  bool leave_as_it_is() {
    if (out.facts && out.decision.max_tokens > 0) {
      return refuse(403, "max_tokens_needed", "expose.max_output_tokens",
                    "Answers of this account are bounded; say max_tokens (max_output_tokens) of at most " +
                        std::to_string(out.decision.max_tokens) + ".");
    }
    if (out.facts && out.decision.unstore) {
      return refuse(403, "stored_not_allowed", "expose.stored",
                    "This account may not let the provider keep its answers; say \"store\": false.");
    }
    if (!api::generates(out.route.operation)) return true;
    out.undecided = undecided(out.effective.tier, plane, out.in_force->sealer != nullptr);
    if (out.undecided.empty() || rules.options.authz.undecided == "pass") return true;
    return refuse(403, "not_decidable", "authz.undecided",
                  "This door cannot see whether the request keeps to what this account may have, and is closed for it; "
                  "ask the operator of this API.");
  }

  void identify_sealing() {
    out.sealed_for = caller->organisation.empty() ? "account " + out.account : "organisation " + caller->organisation;
    if (!out.end_customer.empty()) out.sealed_for += "\nend customer " + out.end_customer;
  }

  bool creates_batch() const {
    return out.route.operation == Operation::kBatches && out.route.id.empty() && request.method == "POST";
  }

  // The requests of a batch, by the policy of single ones.
  bool look_into_batch() {
    if (plane == Plane::kHeaders) return true;
    const bool openai = out.route.family == api::Family::kOpenAi;
    const bool upload = out.route.operation == Operation::kFiles && openai && out.route.id.empty() &&
                        request.method != "GET" && request.method != "HEAD";
    if (!upload && !creates_batch()) return true;
    if (!upload && openai) return find_batch_file();
    identify_sealing();
    std::string outcome;
    BatchTerms terms{.rules = rules, .policy = out.effective, .reader = reader};
    if (out.in_force->sealer && plane == Plane::kProxy) {
      terms.fate = [&](std::string_view model, std::string_view blob, const Digest& prefix) {
        bool dropped = false;
        return fate_of(model, blob, prefix, outcome, dropped);
      };
      terms.rule = [&] { return "sealing." + outcome; };
    }
    const auto judged = [&](const BatchRefusal& refusal) {
      if (refusal.code == "invalid_reasoning") ++state.metrics.refused_blobs;
      return refuse(refusal.status, refusal.code, refusal.rule, refusal.sentence);
    };
    if (upload) {
      // Of two the provider may take the other one, and read another form.
      std::vector<std::string_view> types;
      for (const net::Headers::Field& field : request.headers.fields()) {
        if (to_lower_ascii(field.name) == "content-type") types.emplace_back(field.value);
      }
      auto look = look_into_upload(types.size() == 1 ? types.front() : std::string_view(), request.body, terms);
      if (!look) return judged(look.error());
      return !*look || take(std::move(**look), true);
    }
    auto look = look_into_list(request.body, terms);
    if (!look) return judged(look.error());
    return take(std::move(*look), false);
  }

  bool take(BatchLook look, bool upload) {
    if (plane != Plane::kProxy && !look.body.empty()) {
      return refuse(403, "batch_needs_changes", "expose.batch",
                    "This batch leaves unsaid what this account must say in each request (store, max_tokens); say it.");
    }
    if (!look.body.empty()) body = std::move(look.body);
    out.decision.withheld = std::move(look.withheld);
    out.batch = Batch{upload, std::move(look.path), static_cast<std::int64_t>(look.requests), look.worst, look.prices};
    return true;
  }

  // Of files that another proxy took in, nothing is known here.
  bool find_batch_file() {
    if (plane != Plane::kProxy) return true;
    const auto order = api::read_batch_order(request.body);
    if (!order) return refuse(400, "invalid_request", "request", order.error().message);
    const auto found = state.batch_files->find(order->file);
    if (!found) {
      state.log(found.error().message);
      return refuse(503, "batch_file_unknown", "expose.batch",
                    "What is known of this file can't be read now; try again.", 1);
    }
    if (!*found || (*found)->account != out.account) {
      return refuse(403, "batch_file_unknown", "expose.batch",
                    "The file '" + order->file +
                        "' was not uploaded for a batch by this account through this gateway; upload it here with the "
                        "purpose \"batch\".");
    }
    if ((*found)->path != order->path) {
      return refuse(400, "invalid_request", "request",
                    "The file's requests are for " + (*found)->path + "; say that as \"endpoint\".");
    }
    out.batch = Batch{false, {}, (*found)->requests, (*found)->worst, (*found)->prices};
    return true;
  }

  // Sealed blobs of the request are opened for upstream; what comes from elsewhere ends here.
  bool open_blobs() {
    identify_sealing();
    if (!out.in_force->sealer || !out.facts || !out.facts->blobs || plane != Plane::kProxy) return true;
    bool dropped = false;
    std::string outcome;
    auto rewritten =
        api::rewrite_blobs(out.route.operation, request.body, [&](std::string_view blob, const Digest& prefix) {
          return fate_of(out.facts->model, blob, prefix, outcome, dropped);
        });
    if (!rewritten) {
      ++state.metrics.refused_blobs;
      return refuse(400, "invalid_reasoning", "sealing." + outcome, rewritten.error().message);
    }
    body = std::move(*rewritten);
    if (dropped) out.decision.withheld.emplace_back("reasoning_blobs");
    return true;
  }

  api::BlobFate fate_of(std::string_view model, std::string_view blob, const Digest& prefix, std::string& outcome,
                        bool& dropped) {
    const sealing::Opened opened =
        out.in_force->sealer->open(blob, {out.sealed_for, std::string(model), prefix, out.begun_unix_ms});
    outcome = sealing::name_of(opened.outcome);
    const SealingOptions& options = rules.options.sealing;
    const auto refused = [](std::string sentence) {
      return api::BlobFate{api::BlobFate::Kind::kRefuse, {}, std::move(sentence)};
    };
    switch (opened.outcome) {
      case sealing::Outcome::kOpened:
        if (out.facts) out.conversation = opened.conversation;
        return {api::BlobFate::Kind::kReplace, opened.blob, {}};
      case sealing::Outcome::kTampered:
      case sealing::Outcome::kForeignOrganisation:
        flags.push_back("sealing." + outcome + (opened.sealed_for.empty() ? "" : " " + opened.sealed_for));
        return refused(
            "The opaque reasoning in this request is not what this API gave to your account; send the conversation "
            "without it.");
      case sealing::Outcome::kExpired:
        return refused("The opaque reasoning in this request has expired; send the conversation without it.");
      case sealing::Outcome::kOtherModel:
        if (options.other_model == "refuse") {
          return refused("The opaque reasoning in this request is another model's; send the conversation without it.");
        }
        break;
      case sealing::Outcome::kChangedPrefix:
        if (options.changed_prefix == "refuse") {
          return refused(
              "The conversation before the opaque reasoning in this request was changed; send it without it.");
        }
        break;
      // From before this gateway, or from another door: it may not come in by this one.
      case sealing::Outcome::kNotSealed: break;
    }
    dropped = true;
    return {api::BlobFate::Kind::kDrop, {}, {}};
  }

  std::string_view sent_body() const { return body ? std::string_view(*body) : std::string_view(request.body); }

  bool choose_upstream() {
    const std::string model = out.facts ? out.facts->model : std::string();
    out.upstream = rules.upstream_for(out.route.family, model);
    if (out.upstream == nullptr && (plane == Plane::kProxy || out.facts)) {
      return refuse(404, model.empty() ? "not_found" : "model_not_found", "upstreams",
                    model.empty() ? "No upstream of this API's dialect is behind this gateway."
                                  : "The model '" + model + "' does not exist or your account may not use it.");
    }
    out.price = rules.price_of(model);
    return true;
  }

  // Whether anything is billed for it.
  bool spends() const {
    switch (out.route.operation) {
      case Operation::kModels:
      case Operation::kCountTokens:
      case Operation::kFiles:
      case Operation::kStored: return false;
      case Operation::kBatches: return creates_batch();
      case Operation::kOther: return request.method != "GET" && request.method != "HEAD" && request.method != "DELETE";
      default: return true;
    }
  }

  std::optional<policy::NanoUsd> worst_case() const {
    if (out.batch) return out.batch->worst;
    if (!out.facts || out.price == nullptr) return std::nullopt;
    return policy::worst_case(*out.price, out.route.operation, *out.facts, out.decision);
  }

  bool limit() {
    const policy::Limits& limits = out.effective.tier.limits;
    const bool free = !spends();
    policy::NanoUsd worst = 0;
    if (limits.usd_per_day && !free) {
      const auto bound = worst_case();
      if (!bound) {
        return refuse(403, "cost_not_bounded", "limits.usd_per_day",
                      plane == Plane::kHeaders
                          ? "This account has a budget, and what a request may cost cannot be seen at this door."
                      : out.batch
                          ? "What this batch may cost has no bound, and this account has a budget; say max_tokens in "
                            "each request, and name models that have a price here."
                      : out.facts && out.price == nullptr
                          ? "The model '" + out.facts->model + "' has no price here, and this account has a budget."
                          : "What this request may cost has no bound, and this account has a budget; say max_tokens.");
      }
      worst = *bound;
    } else if ((out.price != nullptr || out.batch) && !free) {
      worst = worst_case().value_or(0);
    }
    std::int64_t tokens = 0;
    if (out.facts && !free) {
      tokens = out.facts->prompt_bytes / kBytesPerToken;
      if (api::generates(out.route.operation)) {
        const std::int64_t n = out.decision.n > 0 ? out.decision.n : out.facts->n;
        tokens += std::min(out.facts->max_tokens.value_or(kLikelyAnswerTokens), kLikelyAnswerTokens) * n;
      }
    }
    policy::Admission admitted =
        state.limits.admit(out.account, limits, tokens, worst, {state.clock.monotonic_s(), out.begun_unix_ms});
    const std::string rule = "limits." + std::string(policy::name_of(admitted.refused_by));
    switch (admitted.refused_by) {
      case policy::LimitKind::kNone: break;
      case policy::LimitKind::kUnavailable:
        return refuse(503, "budget_unavailable", "state.redis",
                      "Whether this account has money left cannot be known at the moment; try again.",
                      admitted.retry_after_s);
      case policy::LimitKind::kMoney:
        // Trying again would only cost the caller time: said by the header, and by OpenAI's own code for it.
        refuse(429, "insufficient_quota", rule,
               "The day's budget of this account is used up; it begins anew at midnight UTC.");
        out.refused->retry = false;
        out.refused->retry_after_s = admitted.retry_after_s;
        return false;
      default:
        return refuse(
            429, "rate_limit_exceeded", rule,
            "This account asks faster than its " + std::string(policy::name_of(admitted.refused_by)) + " allow.",
            std::max(0.001, admitted.retry_after_s));
    }
    out.reservation = std::move(admitted.reservation);
    return true;
  }

  // Refusals of known callers are evidence too.
  bool record() {
    const bool exchange = out.facts && api::generates(out.route.operation);
    const bool unseen = plane == Plane::kHeaders && api::generates(out.route.operation);
    const bool batch = (out.route.operation == Operation::kBatches && request.method == "POST") || out.batch;
    if (!state.recorder || caller == nullptr || (!exchange && !unseen && !batch && !out.refused)) return true;
    evidence::AdmissionRecord record;
    record.id = out.id;
    record.time_unix_ms = out.begun_unix_ms;
    record.account = out.account;
    record.organisation = out.organisation;
    record.tier = out.tier;
    record.end_customer = out.end_customer;
    record.dialect = api::dialect_of(out.route.operation);
    record.path = request.path;
    record.batch = batch;
    record.client.ip = client_ip;
    if (const auto agent = request.headers.find("user-agent")) record.client.user_agent = *agent;
    if (network) record.network = canonical_json(origin::to_json(*network));
    if (out.facts) {
      record.model = out.facts->model;
      record.asked = exposure_of(*out.facts);
      record.granted = granted_of(record.asked, out.decision);
    }
    record.decision.allowed = !out.refused;
    record.decision.rule = out.refused ? out.refused_by : out.decision.rule;
    if (out.refused) {
      record.decision.reason = out.refused->message;
      record.status = out.refused->status;
    } else if (out.batch) {
      record.decision.reason = "a batch of " + std::to_string(out.batch->requests) + " requests";
    }
    for (const policy::Step& step : steps) {
      if (step.since_unix_ms <= out.begun_unix_ms && out.begun_unix_ms < step.until_unix_ms) {
        record.decision.steps.emplace_back(policy::name_of(step.kind));
      }
    }
    for (const std::string& flag : flags) record.decision.steps.push_back("flag " + flag);
    if (out.conversation) record.conversation = sealing::hex(*out.conversation);
    record.decision.withheld = out.decision.withheld;
    record.reserved_nano_usd = out.refused ? 0 : out.reservation.worst();
    record.in_force = out.in_force->digest;
    std::vector<std::string> texts;
    if (exchange) texts = reader.prompt_texts(out.route.operation, request.body);
    std::string prompt;
    for (const std::string& text : texts) {
      if (!prompt.empty()) prompt += '\n';
      prompt += text;
    }
    const std::array<evidence::NamedText, 1> named = {{{"prompt", prompt}}};
    const auto staged = state.recorder->stage_admission(
        std::move(record), exchange ? std::string_view(request.body) : "", std::span(named).first(exchange ? 1 : 0));
    // The proxy sends nothing on before it is written, with others' of the same moment (guard/passage.h).
    if (staged && plane == Plane::kProxy && !out.refused) {
      out.recorded = true;
      out.staged = *staged;
      return true;
    }
    const bool kept = staged && state.recorder->settle(*staged);
    state.evidence_kept(kept);
    if (kept) {
      out.recorded = !out.refused && (exchange || unseen || batch);
      return true;
    }
    if (!rules.options.evidence.required || out.refused) return true;
    refuse_without_evidence(out);
    return false;
  }
};

Admitter::Admitter(GuardState& state, std::uint64_t seed) : state_(state), random_(seed) {}

Admission Admitter::admit(const net::HttpRequest& request, Plane plane) {
  Admission out;
  out.begun_unix_ms = state_.clock.unix_ms();
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::uint64_t high = random_.next();
  std::uint64_t low = random_.next();
  for (int i = 0; i < 16; ++i, high >>= 4U, low >>= 4U) {
    out.id += kHex[high & 15U];
    out.id += kHex[low & 15U];
  }
  out.in_force = state_.now();
  out.route = api::route_of(request);
  Pass pass{.state = state_,
            .reader = reader_,
            .request = request,
            .plane = plane,
            .out = out,
            .rules = *out.in_force->rules};
  const bool admitted = pass.authenticate() && pass.locate() && pass.find_policy() && pass.read_body() &&
                        pass.decide() && pass.look_into_batch() && pass.open_blobs() && pass.choose_upstream() &&
                        pass.limit();
  if (admitted && out.facts && plane == Plane::kProxy) {
    out.body = policy::edited_body(out.route.operation, pass.sent_body(), *out.facts, out.decision, true);
  } else if (admitted && plane == Plane::kProxy) {
    out.body = std::string(pass.sent_body());
  }
  pass.record();
  if (out.refused) state_.metrics.refused(out.refused_by);
  return out;
}

}  // namespace retort::guard
