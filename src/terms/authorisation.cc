// Whether a recorded permission holds.

#include "base/digest.h"
#include "base/text.h"
#include "terms/terms.h"

namespace retort::terms {
namespace {

bool is_iso_date(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i != 4 && i != 7 && (text[i] < '0' || text[i] > '9')) return false;
  }
  const std::string_view month = text.substr(5, 2);
  const std::string_view day = text.substr(8, 2);
  return month >= "01" && month <= "12" && day >= "01" && day <= "31";
}

}  // namespace

std::string problem_of(const Authorisation& authorisation, std::string_view today) {
  if (trim(authorisation.by).empty()) return "it doesn't say who gave it (by)";
  if (!Digest::from_hex(to_lower_ascii(authorisation.document))) {
    return "its document is '" + authorisation.document + "', not a SHA-256 of 64 hexadecimal digits";
  }
  if (trim(authorisation.scope).empty()) return "it doesn't say what it permits (scope)";
  if (authorisation.expires.empty()) return {};
  if (!is_iso_date(authorisation.expires)) {
    return "it expires on '" + authorisation.expires + "', which is no date like 2027-01-31";
  }
  if (!is_iso_date(today)) return "it expires on " + authorisation.expires + ", and today's date isn't known";
  if (today > authorisation.expires) return "it expired on " + authorisation.expires;
  return {};
}

}  // namespace retort::terms
