// Finds personal data and secrets in text, and masks them.
//
// What is looked for (docs/formats/prompts.md): e-mail addresses, phone numbers, IP addresses, payment cards (Luhn),
// IBANs (mod 97), US social security numbers; keys and tokens that are known by their form, private keys in PEM, and
// passwords inside URLs. Each becomes a word in brackets that is always the same: [EMAIL], [SECRET], …
//
// Relied on: no regular expressions, time and memory linear in the text's length; masked text is masked no further;
// text in which nothing is found is returned as it is. Forms are chosen so that ordinary prose, code and numbers are
// left alone: what has no form of its own (names, addresses) isn't found. Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "exchange/exchange.h"

namespace retort::collect {

// In the order of precedence where two are found in one place.
enum class PersonalKind : std::uint8_t { kSecret, kEmail, kIban, kCard, kSsn, kIp, kPhone };
inline constexpr std::array<PersonalKind, 7> kPersonalKinds = {
    PersonalKind::kSecret, PersonalKind::kEmail, PersonalKind::kIban, PersonalKind::kCard,
    PersonalKind::kSsn,    PersonalKind::kIp,    PersonalKind::kPhone};
std::string_view name_of(PersonalKind kind);  // "secret", "email", "iban", "card", "ssn", "ip", "phone"
std::string_view mask_of(PersonalKind kind);  // "[SECRET]", "[EMAIL]", …

// How many of each kind.
class PersonalDataCounts {
 public:
  std::int64_t of(PersonalKind kind) const { return counts_[static_cast<std::size_t>(kind)]; }
  void add(PersonalKind kind, std::int64_t count = 1) { counts_[static_cast<std::size_t>(kind)] += count; }
  PersonalDataCounts& operator+=(const PersonalDataCounts& other);
  std::int64_t total() const;
  // "12 e-mail addresses, 1 secret"; empty when there are none.
  std::string words() const;
  bool operator==(const PersonalDataCounts&) const = default;

 private:
  std::array<std::int64_t, kPersonalKinds.size()> counts_{};
};

// A finding: bytes [begin, end) of the text.
struct PersonalDataSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
  PersonalKind kind = PersonalKind::kSecret;
  bool operator==(const PersonalDataSpan&) const = default;
};

// Ascending, not overlapping.
std::vector<PersonalDataSpan> find_personal_data(std::string_view text);

// Replaces each finding by its mask, and again what that lays bare, and returns what was found.
PersonalDataCounts mask_personal_data(std::string& text);
// The same for a text that is JSON: inside its strings and keys, also in JSON that stands in a string (the arguments of
// a call). Numbers that are findings become texts. A text that isn't JSON is masked as text.
PersonalDataCounts mask_personal_data_in_json(std::string& json);
// Of every part of a prompt, tools and calls included.
PersonalDataCounts mask_personal_data(Prompt& prompt);

}  // namespace retort::collect
