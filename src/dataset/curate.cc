#include "dataset/curate.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "exchange/repetition.h"

namespace retort::dataset {

namespace {

constexpr int kFormatVersion = 1;
constexpr std::string_view kWhat = "The curation";
constexpr std::array<std::string_view, kDropReasons.size()> kReasonNames = {
    "empty", "truncated", "too_short", "too_long", "repetition", "exact_duplicate", "normalised_duplicate"};

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_sentence_punctuation(char c) { return std::string_view(".,;:!?'\"`").find(c) != std::string_view::npos; }

// Digest of messages and answer, for comparison only: the id also covers seed, time and model.
Digest content_digest(const std::vector<Message>& messages, std::string_view answer) {
  Sha256 running;
  for (const Message& message : messages) {
    running.update(name_of(message.role)).update(std::string_view("\0", 1));
    running.update(std::to_string(message.content.size())).update(std::string_view("\0", 1)).update(message.content);
  }
  running.update("answer").update(std::string_view("\0", 1)).update(answer);
  return running.finish();
}

Prompt normalised(const Prompt& prompt) {
  Prompt same = prompt;
  for (Message& message : same.messages) message.content = normalise_text(message.content);
  return same;
}

const TokenSpan* answer_span(const Exchange& exchange) {
  const auto& spans = exchange.tokens.spans;
  const auto last = std::find_if(spans.rbegin(), spans.rend(),
                                 [](const TokenSpan& span) { return span.kind == SpanKind::kAssistant; });
  return last == spans.rend() || last->begin == last->end ? nullptr : &*last;
}

std::string tokens_text(std::int64_t tokens) { return std::to_string(tokens) + (tokens == 1 ? " token" : " tokens"); }

std::optional<std::string> why_empty(const Exchange& exchange) {
  const auto& messages = exchange.prompt.messages;
  if (messages.empty()) return "no prompt";
  if (messages.back().role == Role::kUser && trim(messages.back().content).empty()) return "empty user's turn";
  if (trim(exchange.completion.text).empty()) return "empty answer";
  if (answer_span(exchange) == nullptr) return "no tokens of an answer";
  return std::nullopt;
}

std::optional<std::string> why_repetition(const Exchange& exchange, const TokenSpan& answer,
                                          const RepetitionRule& rule) {
  for (const TokenSpan& span : exchange.tokens.spans) {
    const bool is_answer = span == answer;
    if (!is_answer && !(span.sampled && span.kind == SpanKind::kUser)) continue;
    const Repetition found =
        measure_repetition(std::span(exchange.tokens.ids).subspan(span.begin, span.end - span.begin), rule);
    if (!found.is_loop) continue;
    const std::string whose = is_answer ? "answer" : "user's turn";
    if (found.loop_tokens >= rule.loop_tokens) {
      return whose + ": " + tokens_text(found.loop_tokens) + " repeat every " + std::to_string(found.period);
    }
    std::array<char, 16> percent{};
    std::snprintf(percent.data(), percent.size(), "%.0f %%", 100 * found.repeated_share);
    return whose + ": " + percent.data() + " of its 4-grams occurred before";
  }
  return std::nullopt;
}

}  // namespace

std::string_view name_of(DropReason reason) { return kReasonNames.at(static_cast<std::size_t>(reason)); }

Result<DropReason> drop_reason_from_name(std::string_view name) {
  for (const DropReason reason : kDropReasons) {
    if (name_of(reason) == name) return reason;
  }
  return caller_error("'" + std::string(name) + "' is no reason for dropping an exchange.");
}

std::int64_t Curation::count(DropReason reason) const { return std::ranges::count(dropped, reason, &Dropped::reason); }

std::string normalise_text(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_space(c)) {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else if (is_sentence_punctuation(c)) {
      const bool between_digits = i > 0 && i + 1 < text.size() && is_digit(text[i - 1]) && is_digit(text[i + 1]);
      if (between_digits) out += c;
    } else {
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out.empty() ? std::string(trim(text)) : out;
}

Digest normalised_prompt_digest(const Prompt& prompt) { return prompt_digest(normalised(prompt)); }

struct Curator::State {
  CurateOptions options;
  Curation curation;
  std::unordered_map<Digest, Digest> seen_exactly;     // content -> first id
  std::unordered_map<Digest, Digest> seen_normalised;  // likewise

  std::optional<Dropped> reason_to_drop(const Digest& id, const Exchange& exchange, const Prompt& normalised_prompt) {
    if (auto detail = why_empty(exchange)) return Dropped{id, DropReason::kEmpty, std::move(*detail)};
    const TokenSpan& answer = *answer_span(exchange);
    const std::int64_t tokens = answer.end - answer.begin;
    if (options.drop_truncated && exchange.completion.finish_reason == FinishReason::kLength) {
      return Dropped{id, DropReason::kTruncated, "cut after " + tokens_text(tokens)};
    }
    if (tokens < options.min_tokens) return Dropped{id, DropReason::kTooShort, tokens_text(tokens)};
    if (options.max_tokens && tokens > *options.max_tokens) {
      return Dropped{id, DropReason::kTooLong, tokens_text(tokens)};
    }
    if (options.drop_repetition) {
      const RepetitionRule rule = {options.loop_tokens, options.loop_repeats, options.max_repeated_share};
      if (auto detail = why_repetition(exchange, answer, rule)) {
        return Dropped{id, DropReason::kRepetition, std::move(*detail)};
      }
    }
    if (options.deduplicate == "none") return std::nullopt;
    const Digest exact = content_digest(exchange.prompt.messages, exchange.completion.text);
    if (const auto [first, is_new] = seen_exactly.try_emplace(exact, id); !is_new) {
      return Dropped{id, DropReason::kExactDuplicate, "same as " + first->second.short_hex()};
    }
    if (options.deduplicate == "exact") return std::nullopt;
    const Digest loose = content_digest(normalised_prompt.messages, normalise_text(exchange.completion.text));
    if (const auto [first, is_new] = seen_normalised.try_emplace(loose, id); !is_new) {
      return Dropped{id, DropReason::kNormalisedDuplicate, "same as " + first->second.short_hex()};
    }
    return std::nullopt;
  }
};

Curator::Curator(CurateOptions options) : state_(std::make_unique<State>()) { state_->options = std::move(options); }
Curator::~Curator() = default;
Curator::Curator(Curator&&) noexcept = default;
Curator& Curator::operator=(Curator&&) noexcept = default;

void Curator::add(const Digest& id, const Exchange& exchange) {
  const Prompt normalised_prompt = normalised(exchange.prompt);
  Curation& curation = state_->curation;
  if (auto dropped = state_->reason_to_drop(id, exchange, normalised_prompt)) {
    curation.dropped.push_back(std::move(*dropped));
    return;
  }
  const TokenSpan& answer = *answer_span(exchange);
  curation.kept.push_back(id);
  curation.prompt_groups.push_back(prompt_digest(normalised_prompt));
  curation.kept_answer_tokens += answer.end - answer.begin;
  curation.kept_tokens += static_cast<std::int64_t>(exchange.tokens.ids.size());
  curation.kept_truncated += exchange.completion.finish_reason == FinishReason::kLength ? 1 : 0;
}

Curation Curator::finish() { return std::move(state_->curation); }

Result<Curation> curate(const ReadExchange& read, std::span<const Digest> ids, const CurateOptions& options) {
  if (ids.empty()) {
    return caller_error(
        "There are no exchanges to curate. Collect some first: raise collect.count, or give a file of "
        "prompts that isn't empty.");
  }
  Curator curator(options);
  for (const Digest& id : ids) {
    RETORT_ASSIGN(const Exchange exchange, read(id));
    curator.add(id, exchange);
  }
  Curation curation = curator.finish();
  if (!curation.kept.empty()) return curation;
  std::string counts;
  for (const DropReason reason : kDropReasons) {
    const std::int64_t count = curation.count(reason);
    if (count > 0) counts += (counts.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(name_of(reason));
  }
  return caller_error("Nothing is left after curation: all " + std::to_string(ids.size()) +
                      " exchanges were dropped (" + counts +
                      "). Expected at least one to keep; loosen the options under `curate`, or collect other prompts.");
}

Json to_json(const Curation& curation) {
  Json kept = Json::array();
  for (const Digest& id : curation.kept) kept.push_back(id.hex());
  Json groups = Json::array();
  for (const Digest& group : curation.prompt_groups) groups.push_back(group.hex());
  Json dropped = Json::array();
  for (const Dropped& each : curation.dropped) {
    dropped.push_back({{"id", each.id.hex()}, {"reason", std::string(name_of(each.reason))}, {"detail", each.detail}});
  }
  Json counts = Json::object();
  for (const DropReason reason : kDropReasons) counts[std::string(name_of(reason))] = curation.count(reason);
  return {{"version", kFormatVersion},           {"kept", std::move(kept)},
          {"prompt_groups", std::move(groups)},  {"dropped", std::move(dropped)},
          {"counts", std::move(counts)},         {"kept_answer_tokens", curation.kept_answer_tokens},
          {"kept_tokens", curation.kept_tokens}, {"kept_truncated", curation.kept_truncated}};
}

Result<Curation> curation_from_json(const Json& json) {
  RETORT_ASSIGN(const int version, member<int>(json, "version", kWhat));
  if (version != kFormatVersion) {
    return caller_error("The curation is of format version " + std::to_string(version) +
                        "; this program reads version " + std::to_string(kFormatVersion) +
                        ". Use the program that wrote it, or a newer one.");
  }
  Curation curation;
  RETORT_ASSIGN(const auto kept, member<std::vector<std::string>>(json, "kept", kWhat));
  for (const std::string& text : kept) {
    RETORT_ASSIGN(const Digest id, Digest::from_hex(text));
    curation.kept.push_back(id);
  }
  RETORT_ASSIGN(const auto groups, member<std::vector<std::string>>(json, "prompt_groups", kWhat));
  for (const std::string& text : groups) {
    RETORT_ASSIGN(const Digest group, Digest::from_hex(text));
    curation.prompt_groups.push_back(group);
  }
  if (curation.prompt_groups.size() != curation.kept.size()) {
    return caller_error("The curation has " + std::to_string(kept.size()) + " kept exchanges but " +
                        std::to_string(groups.size()) + " prompt groups; expected one for each. It is damaged.");
  }
  RETORT_ASSIGN(const auto dropped, member<std::vector<Json>>(json, "dropped", kWhat));
  for (const Json& entry : dropped) {
    Dropped each;
    RETORT_ASSIGN(const auto id, member<std::string>(entry, "id", kWhat));
    RETORT_ASSIGN(each.id, Digest::from_hex(id));
    RETORT_ASSIGN(const auto reason, member<std::string>(entry, "reason", kWhat));
    RETORT_ASSIGN(each.reason, drop_reason_from_name(reason));
    RETORT_ASSIGN(each.detail, member<std::string>(entry, "detail", kWhat));
    curation.dropped.push_back(std::move(each));
  }
  RETORT_ASSIGN(curation.kept_answer_tokens, member<std::int64_t>(json, "kept_answer_tokens", kWhat));
  RETORT_ASSIGN(curation.kept_tokens, member<std::int64_t>(json, "kept_tokens", kWhat));
  RETORT_ASSIGN(curation.kept_truncated, member<std::int64_t>(json, "kept_truncated", kWhat));
  return curation;
}

}  // namespace retort::dataset
