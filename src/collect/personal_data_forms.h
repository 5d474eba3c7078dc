// The forms by which personal data and secrets are known. Internal to the module.
//
// FormScanner looks at one place of a text at a time. Each look reads a bounded number of bytes, or consumes what it
// reads, so that a pass over the text is linear. It borrows the text. One thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "collect/personal_data.h"

namespace retort::collect {

class FormScanner {
 public:
  explicit FormScanner(std::string_view text) : text_(text) {}

  // The first place from `i` on where anything could begin; the text's size when there is none.
  std::size_t next_trigger(std::size_t i) const;
  // What is found at place `i`. `before`: where the last finding ended; nothing reaches back beyond it but an e-mail
  // address.
  std::optional<PersonalDataSpan> at(std::size_t i, std::size_t before);

 private:
  using Found = std::optional<PersonalDataSpan>;
  char char_at(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  char char_before(std::size_t i) const { return i > 0 ? text_[i - 1] : '\0'; }

  Found word(std::size_t i);  // at the first letter of a word
  Found number(std::size_t i) const;
  Found known_token(std::size_t i) const;
  Found web_token(std::size_t i) const;  // JWT
  Found bearer(std::size_t i) const;
  Found private_key(std::size_t i);         // PEM
  Found url_password(std::size_t i) const;  // at "://"
  Found email(std::size_t i, std::size_t before) const;
  Found iban(std::size_t i) const;
  Found card(std::size_t i) const;
  Found social_security(std::size_t i) const;
  Found ipv4(std::size_t i) const;
  Found ipv6(std::size_t i) const;
  Found phone(std::size_t i) const;
  bool phone_word_before(std::size_t i) const;

  std::string_view text_;
  std::size_t no_end_from_ = std::string_view::npos;  // no end of a private key stands from here on
};

}  // namespace retort::collect
