#include "callers/traits.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/text.h"

namespace retort::callers {
namespace {

constexpr std::array<std::string_view, 3> kPayment = {"card", "bank_account", "wallet"};
constexpr std::array<std::string_view, 4> kRegistration = {"email", "domain", "phone", "device"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string digits_of(std::string_view text) {
  std::string digits;
  std::copy_if(text.begin(), text.end(), std::back_inserter(digits), is_digit);
  return digits;
}

// ISO/IEC 7812-1: 13 to 19 digits, the last of which makes the Luhn sum a multiple of ten.
bool is_card_number(std::string_view text) {
  const bool only = std::all_of(text.begin(), text.end(), [](char c) { return is_digit(c) || c == ' ' || c == '-'; });
  const std::string digits = digits_of(text);
  if (!only || digits.size() < 13 || digits.size() > 19) return false;
  int sum = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    int digit = digits[digits.size() - 1 - i] - '0';
    if (i % 2 == 1) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  return sum % 10 == 0;
}

}  // namespace

std::span<const std::string_view> payment_kinds() { return kPayment; }
std::span<const std::string_view> registration_kinds() { return kRegistration; }

Result<std::string> normalised_trait(std::string_view kind, std::string_view value) {
  const std::string_view trimmed = trim(value);
  if (trimmed.empty() || trimmed.size() > 512 || !is_valid_utf8(trimmed)) {
    return caller_error("A trait of kind '" + std::string(kind) + "' needs a value: 1 to 512 bytes of text.");
  }
  if (kind == "email") {
    const std::size_t at = trimmed.rfind('@');
    if (at == std::string_view::npos || at == 0 || at + 1 == trimmed.size()) {
      return caller_error("That is no e-mail address; expected one such as name@example.org.");
    }
    return to_lower_ascii(trimmed);
  }
  if (kind == "domain") {
    std::string domain = to_lower_ascii(trimmed);
    while (domain.ends_with('.')) domain.pop_back();
    // Letters of other scripts are beyond ASCII in UTF-8.
    const bool good = std::all_of(domain.begin(), domain.end(), [](char c) {
      return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || static_cast<unsigned char>(c) >= 0x80;
    });
    if (!good || domain.find('.') == std::string::npos) {
      return caller_error("That is no domain; expected one such as example.org.");
    }
    return domain;
  }
  if (kind == "phone") {
    std::string digits = digits_of(trimmed);
    while (digits.starts_with("00")) digits.erase(0, 2);
    if (digits.size() < 5) return caller_error("That is no phone number; expected at least 5 digits.");
    return digits;
  }
  if (kind == "card" && is_card_number(trimmed)) {
    return caller_error(
        "That is a whole card number, which must not be kept here; give the fingerprint that the payment processor "
        "makes of it.");
  }
  if (std::find(kPayment.begin(), kPayment.end(), kind) != kPayment.end() || kind == "device") {
    return std::string(trimmed);
  }
  std::vector<std::string> known(kPayment.begin(), kPayment.end());
  known.insert(known.end(), kRegistration.begin(), kRegistration.end());
  const std::string near = nearest(kind, known);
  return caller_error("There is no kind of trait '" + std::string(kind) + "'" +
                      (near.empty() ? "" : "; did you mean '" + near + "'?") +
                      " Expected card, bank_account, wallet, email, domain, phone or device.");
}

}  // namespace retort::callers
