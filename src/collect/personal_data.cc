#include "collect/personal_data.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "collect/json_rows.h"
#include "collect/personal_data_forms.h"
#include "collect/prompt_json.h"

namespace retort::collect {
namespace {

struct Kind {
  std::string_view name;
  std::string_view mask;
  std::string_view one;
  std::string_view many;
};

const Kind& kind_text(PersonalKind kind) {
  static constexpr std::array<Kind, kPersonalKinds.size()> kKinds = {
      {{"secret", "[SECRET]", "key, token or password", "keys, tokens and passwords"},
       {"email", "[EMAIL]", "e-mail address", "e-mail addresses"},
       {"iban", "[IBAN]", "IBAN", "IBANs"},
       {"card", "[CARD]", "card number", "card numbers"},
       {"ssn", "[SSN]", "social security number", "social security numbers"},
       {"ip", "[IP]", "IP address", "IP addresses"},
       {"phone", "[PHONE]", "phone number", "phone numbers"}}};
  return kKinds[static_cast<std::size_t>(kind)];
}

// Walks a JSON value; its depth is bounded by whoever parsed it.
void mask_json(Json& value, PersonalDataCounts& counts);

void mask_string(std::string& text, PersonalDataCounts& counts) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool json = first != std::string::npos && (text[first] == '{' || text[first] == '[');
  counts += json ? mask_personal_data_in_json(text) : mask_personal_data(text);
}

void mask_json(Json& value, PersonalDataCounts& counts) {
  if (value.is_string()) {
    mask_string(value.get_ref<std::string&>(), counts);
  } else if (value.is_number()) {
    std::string text = value.dump();
    const PersonalDataCounts found = mask_personal_data(text);
    if (found.total() > 0) value = text;
    counts += found;
  } else if (value.is_array()) {
    for (Json& item : value) mask_json(item, counts);
  } else if (value.is_object()) {
    std::vector<std::pair<std::string, std::string>> renamed;
    for (auto& [key, item] : value.items()) {
      std::string name = key;
      const PersonalDataCounts found = mask_personal_data(name);
      if (found.total() > 0) renamed.emplace_back(key, std::move(name));
      counts += found;
      mask_json(item, counts);
    }
    for (auto& [key, name] : renamed) {
      Json item = std::move(value[key]);
      value.erase(key);
      value[name] = std::move(item);
    }
  }
}

}  // namespace

std::string_view name_of(PersonalKind kind) { return kind_text(kind).name; }
std::string_view mask_of(PersonalKind kind) { return kind_text(kind).mask; }

PersonalDataCounts& PersonalDataCounts::operator+=(const PersonalDataCounts& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  return *this;
}

std::int64_t PersonalDataCounts::total() const {
  std::int64_t total = 0;
  for (const std::int64_t count : counts_) total += count;
  return total;
}

std::string PersonalDataCounts::words() const {
  std::string text;
  for (const PersonalKind kind : kPersonalKinds) {
    if (of(kind) == 0) continue;
    const Kind& known = kind_text(kind);
    text +=
        (text.empty() ? "" : ", ") + human_count(of(kind)) + " " + std::string(of(kind) == 1 ? known.one : known.many);
  }
  return text;
}

std::vector<PersonalDataSpan> find_personal_data(std::string_view text) {
  std::vector<PersonalDataSpan> found;
  std::size_t i = 0;
  FormScanner scanner(text);
  while (true) {
    i = scanner.next_trigger(i);
    if (i >= text.size()) break;
    const auto span = scanner.at(i, found.empty() ? 0 : found.back().end);
    if (!span) {
      ++i;
      continue;
    }
    i = std::max(i + 1, span->end);
    // An address's local part is found backwards, and may reach into what stands before it: one finding then.
    PersonalDataSpan joined = *span;
    while (!found.empty() && found.back().end > joined.begin) {
      joined.begin = std::min(joined.begin, found.back().begin);
      joined.end = std::max(joined.end, found.back().end);
      joined.kind = std::min(joined.kind, found.back().kind);
      found.pop_back();
    }
    found.push_back(joined);
  }
  return found;
}

PersonalDataCounts mask_personal_data(std::string& text) {
  // A mask may part two things that were written without a space, so that the second is found only now.
  constexpr int kMostPasses = 8;
  PersonalDataCounts counts;
  for (int pass = 0; pass < kMostPasses; ++pass) {
    const std::vector<PersonalDataSpan> found = find_personal_data(text);
    if (found.empty()) break;
    std::string masked;
    masked.reserve(text.size());
    std::size_t from = 0;
    for (const PersonalDataSpan& span : found) {
      masked.append(text, from, span.begin - from);
      masked += mask_of(span.kind);
      counts.add(span.kind);
      from = span.end;
    }
    masked.append(text, from);
    text = std::move(masked);
  }
  return counts;
}

PersonalDataCounts mask_personal_data_in_json(std::string& json) {
  PersonalDataCounts counts;
  if (json.empty()) return counts;
  auto value = parse_row(json);
  if (!value || value->is_primitive()) return mask_personal_data(json);
  mask_json(*value, counts);
  if (counts.total() > 0) json = canonical_json(*value);
  return counts;
}

PersonalDataCounts mask_personal_data(Prompt& prompt) {
  PersonalDataCounts counts;
  for (Message& message : prompt.messages) {
    counts += mask_personal_data(message.content);
    counts += mask_personal_data(message.name);
    counts += mask_personal_data(message.tool_call_id);
    counts += mask_personal_data_in_json(message.tool_calls);
  }
  counts += mask_personal_data_in_json(prompt.tools);
  return counts;
}

}  // namespace retort::collect
