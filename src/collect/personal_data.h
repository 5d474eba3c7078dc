// Finds personal data and secrets in text, and masks them.
//
// What is looked for (docs/formats/prompts.md): e-mail addresses, phone numbers, IP addresses, payment cards (Luhn),
// IBANs (mod 97), US social security numbers; keys and tokens that are known by their form, private keys in PEM, and
// passwords inside URLs. Each becomes a word in brackets that is always the same: [EMAIL], [SECRET], …
//
// Relied on: one pass over the text, no regular expressions, time and memory linear in its length; masked text is
// masked no further; text in which nothing is found is returned as it is. Forms are chosen so that ordinary prose, code
// and numbers are left alone: what has no form of its own (names, addresses) isn't found. Pure; any thread.
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
enum class PersonalData : std::uint8_t { kSecret, kEmail, kIban, kCard, kSsn, kIp, kPhone };
inline constexpr std::array<PersonalData, 7> kPersonalData = {
    PersonalData::kSecret, PersonalData::kEmail, PersonalData::kIban, PersonalData::kCard,
    PersonalData::kSsn,    PersonalData::kIp,    PersonalData::kPhone};
std::string_view name_of(PersonalData kind);  // "secret", "email", "iban", "card", "ssn", "ip", "phone"
std::string_view mask_of(PersonalData kind);  // "[SECRET]", "[EMAIL]", …

// How many of each kind.
class PersonalDataCounts {
 public:
  std::int64_t of(PersonalData kind) const { return counts_[static_cast<std::size_t>(kind)]; }
  void add(PersonalData kind, std::int64_t count = 1) { counts_[static_cast<std::size_t>(kind)] += count; }
  PersonalDataCounts& operator+=(const PersonalDataCounts& other);
  std::int64_t total() const;
  // "12 e-mail addresses, 1 secret"; empty when there are none.
  std::string words() const;
  bool operator==(const PersonalDataCounts&) const = default;

 private:
  std::array<std::int64_t, kPersonalData.size()> counts_{};
};

// A finding: bytes [begin, end) of the text.
struct PersonalDataSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
  PersonalData kind = PersonalData::kSecret;
  bool operator==(const PersonalDataSpan&) const = default;
};

// Ascending, not overlapping.
std::vector<PersonalDataSpan> find_personal_data(std::string_view text);

// Replaces each finding by its mask and returns what was found.
PersonalDataCounts mask_personal_data(std::string& text);
// The same for a text that is JSON: inside its strings and keys, also in JSON that stands in a string (the arguments of
// a call). Numbers that are findings become texts. A text that isn't JSON is masked as text.
PersonalDataCounts mask_personal_data_in_json(std::string& json);
// Of every part of a prompt, tools and calls included.
PersonalDataCounts mask_personal_data(Prompt& prompt);

}  // namespace retort::collect
