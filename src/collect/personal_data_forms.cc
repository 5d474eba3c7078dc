#include "collect/personal_data_forms.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "base/text.h"

namespace retort::collect {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_upper(c) || is_lower(c); }
bool is_alnum(char c) { return is_letter(c) || is_digit(c); }
bool is_word(char c) { return is_alnum(c) || c == '_'; }
bool is_url64(char c) { return is_word(c) || c == '-'; }  // base64 for URLs
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// The ISO 13616 registry: how long an account number of each country is.
constexpr std::string_view kIbanLengths =
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23GL18"
    "GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24"
    "PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20";

std::size_t iban_length(std::string_view country) {
  for (std::size_t i = 0; i < kIbanLengths.size(); i += 4) {
    if (kIbanLengths.substr(i, 2) == country) {
      return static_cast<std::size_t>((kIbanLengths[i + 2] - '0') * 10 + (kIbanLengths[i + 3] - '0'));
    }
  }
  return 0;
}

// The check digit of payment cards (ISO/IEC 7812-1, Luhn).
bool luhn(std::string_view digits) {
  int sum = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    int value = digits[digits.size() - 1 - i] - '0';
    if (i % 2 == 1) value = value > 4 ? 2 * value - 9 : 2 * value;
    sum += value;
  }
  return sum % 10 == 0;
}

// Whether a brand issues numbers of this beginning and length (ISO/IEC 7812 issuer ranges of the large brands).
bool is_issued(std::string_view digits) {
  const auto lead = [&](std::size_t count) { return std::stoi(std::string(digits.substr(0, count))); };
  switch (digits.size()) {
    case 13: return digits[0] == '4';
    case 14: return lead(2) == 36 || lead(2) == 38 || lead(2) == 39 || (lead(3) >= 300 && lead(3) <= 305);
    case 15: return lead(2) == 34 || lead(2) == 37;
    case 16:
      return digits[0] == '4' || (lead(2) >= 51 && lead(2) <= 55) || (lead(4) >= 2221 && lead(4) <= 2720) ||
             lead(4) == 6011 || lead(2) == 65 || (lead(3) >= 644 && lead(3) <= 649) || lead(2) == 62 ||
             (lead(4) >= 3528 && lead(4) <= 3589) || lead(2) == 50 || (lead(2) >= 56 && lead(2) <= 58);
    case 19: return digits[0] == '4' || lead(2) == 62;
    default: return false;
  }
}

// Keys whose issuers give them a beginning of their own.
struct KnownToken {
  std::string_view prefix;
  bool (*of)(char);
  std::size_t least;  // characters after the prefix
  std::size_t most;
  bool mixed;  // the prefix is also an ordinary beginning: a long run of letters and digits must follow
};
bool is_upper_or_digit(char c) { return is_upper(c) || is_digit(c); }
bool is_alnum_or_dash(char c) { return is_alnum(c) || c == '-'; }
bool is_token_char(char c) { return is_url64(c) || c == '.'; }
constexpr std::array<KnownToken, 24> kKnownTokens = {{{"sk-", is_url64, 16, 400, true},
                                                      {"sk_live_", is_alnum, 16, 250, false},
                                                      {"sk_test_", is_alnum, 16, 250, false},
                                                      {"rk_live_", is_alnum, 16, 250, false},
                                                      {"ghp_", is_alnum, 30, 255, false},
                                                      {"gho_", is_alnum, 30, 255, false},
                                                      {"ghu_", is_alnum, 30, 255, false},
                                                      {"ghs_", is_alnum, 30, 255, false},
                                                      {"ghr_", is_alnum, 30, 255, false},
                                                      {"github_pat_", is_word, 40, 255, false},
                                                      {"glpat-", is_url64, 20, 255, false},
                                                      {"gsk_", is_alnum, 40, 255, false},
                                                      {"AKIA", is_upper_or_digit, 16, 16, false},
                                                      {"ASIA", is_upper_or_digit, 16, 16, true},
                                                      {"AIza", is_url64, 35, 35, false},
                                                      {"ya29.", is_url64, 20, 400, false},
                                                      {"xoxa-", is_alnum_or_dash, 10, 255, false},
                                                      {"xoxb-", is_alnum_or_dash, 10, 255, false},
                                                      {"xoxp-", is_alnum_or_dash, 10, 255, false},
                                                      {"xoxr-", is_alnum_or_dash, 10, 255, false},
                                                      {"xoxs-", is_alnum_or_dash, 10, 255, false},
                                                      {"hf_", is_alnum, 30, 60, false},
                                                      {"nvapi-", is_url64, 40, 255, false},
                                                      {"SG.", is_token_char, 60, 80, true}}};

// Not a placeholder such as xxxxxxxx: at least six different characters.
bool is_varied(std::string_view text) {
  std::array<bool, 256> seen{};
  int different = 0;
  for (const char c : text) {
    bool& known = seen[static_cast<unsigned char>(c)];
    different += known ? 0 : 1;
    known = true;
  }
  return different >= 6;
}

// A run of at least 16 letters and digits with both in it, or of 32 in upper and lower case: no words with dashes.
bool is_key_like(std::string_view text) {
  std::size_t run = 0;
  bool digit = false;
  bool upper = false;
  bool lower = false;
  for (const char c : text) {
    if (!is_alnum(c)) {
      run = 0;
      digit = upper = lower = false;
      continue;
    }
    ++run;
    digit = digit || is_digit(c);
    upper = upper || is_upper(c);
    lower = lower || is_lower(c);
    if ((run >= 16 && digit && (upper || lower)) || (run >= 32 && upper && lower)) return true;
  }
  return false;
}

// Endings of file names that "icon@2x.png" and the like have where an address has its country.
bool is_file_ending(std::string_view ending) {
  static constexpr std::array<std::string_view, 18> kEndings = {"png",  "jpg", "jpeg", "gif", "svg", "webp",
                                                                "pdf",  "js",  "jsx",  "ts",  "tsx", "css",
                                                                "html", "py",  "json", "mjs", "vue", "yaml"};
  const std::string lower = to_lower_ascii(ending);
  return std::ranges::find(kEndings, lower) != kEndings.end();
}

}  // namespace

std::size_t FormScanner::next_trigger(std::size_t i) const {
  for (; i < text_.size(); ++i) {
    const char c = text_[i];
    if (is_alnum(c)) {
      if (!is_word(char_before(i))) return i;
    } else if (c == '@' || c == ':' || c == '+' || c == '(') {
      return i;
    } else if (c == '-' && text_.compare(i, 5, "-----") == 0) {
      return i;
    }
  }
  return i;
}

std::optional<PersonalDataSpan> FormScanner::at(std::size_t i, std::size_t before) {
  switch (text_[i]) {
    case '@': return email(i, before);
    case '+':
    case '(': return phone(i);
    case '-': return private_key(i);
    case ':': return text_.compare(i, 3, "://") == 0 ? url_password(i) : ipv6(i);
    default: return is_digit(text_[i]) ? number(i) : word(i);
  }
}

FormScanner::Found FormScanner::word(std::size_t i) {
  if (auto found = known_token(i)) return found;
  if (auto found = web_token(i)) return found;
  if (auto found = bearer(i)) return found;
  if (auto found = iban(i)) return found;
  return ipv6(i);
}

FormScanner::Found FormScanner::number(std::size_t i) const {
  if (auto found = social_security(i)) return found;
  if (auto found = card(i)) return found;
  if (auto found = ipv4(i)) return found;
  if (auto found = ipv6(i)) return found;
  return phone(i);
}

FormScanner::Found FormScanner::known_token(std::size_t i) const {
  if (char_before(i) == '-') return std::nullopt;
  for (const KnownToken& token : kKnownTokens) {
    if (text_[i] != token.prefix.front() || text_.compare(i, token.prefix.size(), token.prefix) != 0) continue;
    const std::size_t begin = i + token.prefix.size();
    std::size_t end = begin;
    while (end < text_.size() && end - begin <= token.most && token.of(text_[end])) ++end;
    while (end > begin && !is_word(text_[end - 1])) --end;  // the full stop or dash of a sentence
    const std::string_view rest = text_.substr(begin, end - begin);
    if (rest.size() < token.least || rest.size() > token.most || is_word(char_at(end))) continue;
    if (token.mixed ? is_key_like(rest) : is_varied(rest)) return PersonalDataSpan{i, end, PersonalKind::kSecret};
  }
  return std::nullopt;
}

FormScanner::Found FormScanner::web_token(std::size_t i) const {
  if (text_.compare(i, 3, "eyJ") != 0 || char_before(i) == '-' || char_before(i) == '.') return std::nullopt;
  std::size_t end = i;
  std::array<std::size_t, 3> lengths{};
  for (std::size_t part = 0; part < 3; ++part) {
    const std::size_t begin = end;
    while (end < text_.size() && is_url64(text_[end])) ++end;
    lengths[part] = end - begin;
    if (part < 2 && char_at(end) != '.') return std::nullopt;
    if (part < 2) ++end;
  }
  if (lengths[0] < 10 || lengths[1] < 4) return std::nullopt;
  if (lengths[2] == 0) --end;  // unsigned, or the full stop of a sentence
  if (lengths[2] < 20 && text_.compare(i + lengths[0] + 1, 3, "eyJ") != 0) return std::nullopt;
  return PersonalDataSpan{i, end, PersonalKind::kSecret};
}

FormScanner::Found FormScanner::bearer(std::size_t i) const {
  constexpr std::string_view kWord = "bearer";
  if ((text_[i] != 'B' && text_[i] != 'b') || to_lower_ascii(text_.substr(i, kWord.size())) != kWord) {
    return std::nullopt;
  }
  std::size_t begin = i + kWord.size();
  const std::size_t word_end = begin;
  while (begin - word_end < 3 && (char_at(begin) == ' ' || char_at(begin) == ':')) ++begin;
  if (begin == word_end) return std::nullopt;
  std::size_t end = begin;
  const auto in_token = [](char c) { return is_url64(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '='; };
  while (end < text_.size() && in_token(text_[end])) ++end;
  while (end > begin && text_[end - 1] == '.') --end;
  const std::string_view token = text_.substr(begin, end - begin);
  const bool digit = std::ranges::any_of(token, is_digit);
  if (token.size() < 16 || !digit || !std::ranges::any_of(token, is_letter) || !is_varied(token)) return std::nullopt;
  return PersonalDataSpan{begin, end, PersonalKind::kSecret};
}

FormScanner::Found FormScanner::private_key(std::size_t i) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  constexpr std::string_view kEnd = "-----END ";
  constexpr std::size_t kLongestLabel = 64;
  if (text_.compare(i, kBegin.size(), kBegin) != 0) return std::nullopt;
  const std::size_t label = i + kBegin.size();
  const std::size_t dashes = text_.substr(0, std::min(text_.size(), label + kLongestLabel)).find("-----", label);
  if (dashes == std::string_view::npos) return std::nullopt;
  if (text_.substr(label, dashes - label).find("PRIVATE KEY") == std::string_view::npos) return std::nullopt;
  const std::size_t body = dashes + 5;
  if (body < no_end_from_) {
    const std::size_t end = text_.find(kEnd, body);
    if (end == std::string_view::npos) {
      no_end_from_ = body;
    } else {
      const std::size_t last =
          text_.substr(0, std::min(text_.size(), end + kEnd.size() + kLongestLabel)).find("-----", end + kEnd.size());
      return PersonalDataSpan{i, last == std::string_view::npos ? end + kEnd.size() : last + 5, PersonalKind::kSecret};
    }
  }
  // Cut off: what follows of base64, line by line.
  std::size_t end = body;
  const auto in_body = [](char c) { return is_alnum(c) || c == '+' || c == '/' || c == '=' || c == '\n' || c == '\r'; };
  while (end < text_.size() && (in_body(text_[end]) || text_.compare(end, 2, "\\n") == 0)) ++end;
  if (end - body < 16) return std::nullopt;
  return PersonalDataSpan{i, end, PersonalKind::kSecret};
}

FormScanner::Found FormScanner::url_password(std::size_t i) const {
  constexpr std::size_t kLongest = 512;
  if (!is_alnum(char_before(i))) return std::nullopt;
  const std::size_t begin = i + 3;
  std::size_t colon = 0;
  std::size_t at = 0;
  for (std::size_t j = begin; j < text_.size() && j - begin < kLongest; ++j) {
    const char c = text_[j];
    if (c == '/' || c == '?' || c == '#' || c == '"' || c == '\'' || c == '<' || c == '>' || c == '`' || c == '{' ||
        c == '}' || c == '\\' || static_cast<unsigned char>(c) <= ' ') {
      break;
    }
    if (c == ':' && colon == 0) colon = j;
    if (c == '@') at = j;
  }
  if (colon == 0 || at <= colon + 1) return std::nullopt;
  const char first = text_[colon + 1];
  if (first == '$' || first == '[' || first == '%' || first == '*') return std::nullopt;  // stands for one
  return PersonalDataSpan{begin, at, PersonalKind::kSecret};
}

FormScanner::Found FormScanner::email(std::size_t i, std::size_t before) const {
  constexpr std::size_t kLongestLocal = 64;  // RFC 5321, 4.5.3.1
  constexpr std::size_t kLongestDomain = 253;
  if (i == 0 || before == i) return std::nullopt;
  std::size_t begin = i;
  const auto in_local = [](char c) { return is_word(c) || c == '.' || c == '%' || c == '+' || c == '-'; };
  while (begin > 0 && i - begin < kLongestLocal && in_local(text_[begin - 1])) --begin;
  while (begin < i && !is_word(text_[begin])) ++begin;
  if (begin == i || text_[i - 1] == '.') return std::nullopt;
  std::size_t end = i + 1;  // of labels that make a domain
  std::size_t j = i + 1;
  std::size_t labels = 0;
  while (j < text_.size() && j - i <= kLongestDomain && is_alnum(text_[j])) {
    const std::size_t label = j;
    while (j < text_.size() && j - i <= kLongestDomain && is_alnum_or_dash(text_[j])) ++j;
    const std::string_view name = text_.substr(label, j - label);
    if (name.back() == '-') break;
    ++labels;
    const bool top = labels >= 2 && name.size() >= 2 &&
                     (std::ranges::all_of(name, is_letter) || name.starts_with("xn--")) && !is_file_ending(name);
    if (top) end = j;
    if (char_at(j) != '.') break;
    ++j;
  }
  if (end == i + 1) return std::nullopt;
  const char next = char_at(end);
  // Code: a matrix product with a member, `a@b.shape[0]`; a repository, git@host.
  if (next == '(' || next == '[' || next == '_' || text_.substr(begin, i - begin) == "git") return std::nullopt;
  return PersonalDataSpan{begin, end, PersonalKind::kEmail};
}

FormScanner::Found FormScanner::iban(std::size_t i) const {
  if (!is_upper(char_at(i)) || !is_upper(char_at(i + 1)) || !is_digit(char_at(i + 2)) || !is_digit(char_at(i + 3))) {
    return std::nullopt;
  }
  const std::size_t length = iban_length(text_.substr(i, 2));
  if (length == 0) return std::nullopt;
  std::string number;
  std::size_t j = i;
  const char separator = char_at(i + 4) == ' ' || char_at(i + 4) == '-' ? char_at(i + 4) : '\0';
  while (number.size() < length && j < text_.size()) {
    if (separator != '\0' && !number.empty() && number.size() % 4 == 0) {
      if (text_[j] != separator) return std::nullopt;
      ++j;
    }
    const char c = char_at(j);
    if (!is_upper_or_digit(c)) return std::nullopt;
    number += c;
    ++j;
  }
  if (number.size() != length || is_word(char_at(j))) return std::nullopt;
  std::rotate(number.begin(), number.begin() + 4, number.end());
  int rest = 0;  // ISO 7064, mod 97-10
  for (const char c : number) {
    const int value = is_digit(c) ? c - '0' : c - 'A' + 10;
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  if (rest != 1) return std::nullopt;
  return PersonalDataSpan{i, j, PersonalKind::kIban};
}

FormScanner::Found FormScanner::card(std::size_t i) const {
  const char previous = char_before(i);
  if (previous == '.' || ((previous == '-' || previous == ',') && i >= 2 && is_alnum(text_[i - 2]))) {
    return std::nullopt;
  }
  const auto ends = [&](std::size_t end) {
    const char next = char_at(end);
    const bool goes_on = (next == '.' || next == '-' || next == ',') && is_digit(char_at(end + 1));
    return !is_word(next) && !goes_on;
  };
  std::size_t run = i;
  while (run < text_.size() && run - i < 20 && is_digit(text_[run])) ++run;
  if (run - i >= 13) {
    const std::string_view digits = text_.substr(i, run - i);
    if (!ends(run) || !is_issued(digits) || !luhn(digits)) return std::nullopt;
    return PersonalDataSpan{i, run, PersonalKind::kCard};
  }
  const char separator = char_at(run);
  if (run - i != 4 || (separator != ' ' && separator != '-')) return std::nullopt;
  // As printed: 4-4-4-4, Amex 4-6-5, Diners 4-6-4, and 4-4-4-4-3.
  static constexpr std::array<std::array<std::size_t, 5>, 4> kGroups = {
      {{4, 4, 4, 4, 3}, {4, 4, 4, 4, 0}, {4, 6, 5, 0, 0}, {4, 6, 4, 0, 0}}};
  for (const auto& groups : kGroups) {
    std::string digits;
    std::size_t j = i;
    bool fits = true;
    for (std::size_t g = 0; g < groups.size() && groups[g] > 0 && fits; ++g) {
      if (g > 0 && char_at(j++) != separator) fits = false;
      for (std::size_t k = 0; k < groups[g] && fits; ++k, ++j) {
        fits = is_digit(char_at(j));
        digits += char_at(j);
      }
    }
    if (fits && ends(j) && is_issued(digits) && luhn(digits)) return PersonalDataSpan{i, j, PersonalKind::kCard};
  }
  return std::nullopt;
}

FormScanner::Found FormScanner::social_security(std::size_t i) const {
  constexpr std::string_view kForm = "ddd-dd-dddd";
  if (char_before(i) == '-' || char_before(i) == '.') return std::nullopt;
  for (std::size_t k = 0; k < kForm.size(); ++k) {
    if (kForm[k] == 'd' ? !is_digit(char_at(i + k)) : char_at(i + k) != '-') return std::nullopt;
  }
  const std::size_t end = i + kForm.size();
  if (is_word(char_at(end)) || (char_at(end) == '-' && is_alnum(char_at(end + 1)))) return std::nullopt;
  const std::string_view area = text_.substr(i, 3);
  // Never issued (Social Security Administration).
  if (area == "000" || area == "666" || area[0] == '9') return std::nullopt;
  if (text_.substr(i + 4, 2) == "00" || text_.substr(i + 7, 4) == "0000") return std::nullopt;
  return PersonalDataSpan{i, end, PersonalKind::kSsn};
}

FormScanner::Found FormScanner::ipv4(std::size_t i) const {
  const char previous = char_before(i);
  if (previous == '.' || previous == '-') return std::nullopt;
  std::array<int, 4> octets{};
  std::size_t j = i;
  for (std::size_t k = 0; k < octets.size(); ++k) {
    if (k > 0 && char_at(j++) != '.') return std::nullopt;
    const std::size_t begin = j;
    while (j - begin < 3 && is_digit(char_at(j))) octets[k] = octets[k] * 10 + (text_[j++] - '0');
    if (j == begin || octets[k] > 255 || (text_[begin] == '0' && j - begin > 1)) return std::nullopt;
  }
  const char next = char_at(j);
  if (is_word(next) || (next == '.' && is_alnum(char_at(j + 1))) || (next == '-' && is_digit(char_at(j + 1)))) {
    return std::nullopt;
  }
  // Nobody's: this machine, any, a network's own number, masks. Four single digits are a section or a version more
  // often than an address.
  const bool single = std::ranges::all_of(octets, [](int octet) { return octet < 10; });
  if (single || octets[0] == 127 || octets[0] == 0 || octets[0] == 255 || octets[3] == 0) return std::nullopt;
  const std::string near = to_lower_ascii(text_.substr(i < 10 ? 0 : i - 10, std::min<std::size_t>(i, 10)));
  if (near.find("version") != std::string::npos || near.find("release") != std::string::npos) return std::nullopt;
  return PersonalDataSpan{i, j, PersonalKind::kIp};
}

FormScanner::Found FormScanner::ipv6(std::size_t i) const {
  constexpr std::size_t kLongest = 45;
  const char previous = char_before(i);
  if (is_word(previous) || previous == ':' || previous == '.') return std::nullopt;
  std::size_t end = i;
  while (end < text_.size() && end - i <= kLongest && (is_hex(text_[end]) || text_[end] == ':' || text_[end] == '.')) {
    ++end;
  }
  if (end - i > kLongest) return std::nullopt;
  if (is_word(char_at(end))) return std::nullopt;
  while (end > i && (text_[end - 1] == '.' || (text_[end - 1] == ':' && !(end - i >= 2 && text_[end - 2] == ':')))) {
    --end;
  }
  const std::string address(text_.substr(i, end - i));
  std::size_t groups = 0;
  std::size_t first = 0;  // the length of the first group
  bool digit = false;
  for (std::size_t k = 0; k < address.size(); ++k) {
    digit = digit || is_digit(address[k]);
    if (address[k] != ':' && (k == 0 || address[k - 1] == ':')) ++groups;
    if (groups == 1 && address[k] != ':' && first == k) ++first;
  }
  // `a::b` is a name in many programming languages.
  if (!digit || groups < 2 || (groups < 3 && first != 4)) return std::nullopt;
  in6_addr parsed{};
  if (inet_pton(AF_INET6, address.c_str(), &parsed) != 1) return std::nullopt;
  return PersonalDataSpan{i, end, PersonalKind::kIp};
}

bool FormScanner::phone_word_before(std::size_t i) const {
  constexpr std::size_t kReach = 24;
  static constexpr std::array<std::string_view, 11> kWords = {
      "phone", "telephone", "tel", "mobile", "cell", "cellphone", "fax", "whatsapp", "sms", "telefon", "handynummer"};
  const std::string near = to_lower_ascii(text_.substr(i < kReach ? 0 : i - kReach, std::min(i, kReach)));
  std::size_t begin = 0;
  while (begin < near.size()) {
    std::size_t end = begin;
    while (end < near.size() && is_letter(near[end])) ++end;
    const std::string_view word = std::string_view(near).substr(begin, end - begin);
    if (std::ranges::find(kWords, word) != kWords.end()) return true;
    begin = end + 1;
  }
  return false;
}

FormScanner::Found FormScanner::phone(std::size_t i) const {
  const char first = text_[i];
  const char previous = char_before(i);
  if (is_word(previous) || previous == '.' || previous == '+') return std::nullopt;
  const auto form = [&](std::size_t from, std::string_view pattern) -> std::size_t {  // its end, or 0
    for (std::size_t k = 0; k < pattern.size(); ++k) {
      const char c = char_at(from + k);
      if (pattern[k] == 'd' ? !is_digit(c) : pattern[k] == 'n' ? c < '2' || c > '9' : c != pattern[k]) return 0;
    }
    const std::size_t end = from + pattern.size();
    const char next = char_at(end);
    const bool goes_on = (next == '-' || next == '.' || next == '/') && is_alnum(char_at(end + 1));
    return is_word(next) || goes_on ? 0 : end;
  };
  const auto found = [&](std::size_t end) { return PersonalDataSpan{i, end, PersonalKind::kPhone}; };
  // Groups of digits from `from` on, in the ways people write them: where they end, how many digits, any separators.
  struct Groups {
    std::size_t end = 0;
    std::size_t digits = 0;
    bool separated = false;
  };
  const auto groups = [&](std::size_t from) {
    constexpr std::size_t kMostDigits = 15;  // ITU-T E.164
    Groups result;
    std::size_t j = from;
    std::size_t digits = 0;
    while (j < text_.size()) {
      if (is_digit(text_[j])) {
        if (++digits > kMostDigits) break;
        ++j;
        if (!is_digit(char_at(j))) result = {j, digits, j - from > digits};
        continue;
      }
      std::size_t k = j;
      while (k - j < 2 && (char_at(k) == ' ' || char_at(k) == '-' || char_at(k) == '.' || char_at(k) == '(' ||
                           char_at(k) == ')' || char_at(k) == '/')) {
        ++k;
      }
      if (k == j || !is_digit(char_at(k))) break;
      j = k;
    }
    if (is_word(char_at(result.end))) result = {};
    return result;
  };
  if (first == '+') {
    std::size_t back = i;
    while (back > 0 && i - back < 2 && text_[back - 1] == ' ') --back;
    const char operand = char_before(back);
    if (char_at(i + 1) < '1' || char_at(i + 1) > '9' || operand == ')' || is_digit(operand)) return std::nullopt;
    const Groups number = groups(i + 1);
    if (number.digits >= (number.separated ? 8U : 10U)) return found(number.end);
    return std::nullopt;
  }
  if (previous == '-' || previous == '/' || previous == ',' || previous == '$') return std::nullopt;
  // North America: area code and exchange.
  if (first == '(') {
    for (const std::string_view pattern : {"(ddd) ddd-dddd", "(ddd)ddd-dddd", "(ndd) ddd.dddd", "(ndd) ddd dddd"}) {
      if (const std::size_t end = form(i, pattern)) return found(end);
    }
    return std::nullopt;
  }
  for (const std::string_view pattern :
       {"ndd-ddd-dddd", "1-ndd-ddd-dddd", "ndd.ndd.dddd", "1.ndd.ndd.dddd", "1 (ndd) ddd-dddd", "1-(ndd)-ddd-dddd"}) {
    if (const std::size_t end = form(i, pattern)) return found(end);
  }
  if (!phone_word_before(i)) return std::nullopt;
  for (const std::string_view pattern : {"ndd-dddd", "ndd ddd dddd", "nddnddnddd", "1 ndd ddd dddd"}) {
    if (const std::size_t end = form(i, pattern)) return found(end);
  }
  if (first != '0') return std::nullopt;
  const Groups number = groups(i);
  return number.digits >= 8 ? Found(found(number.end)) : std::nullopt;
}

}  // namespace retort::collect
