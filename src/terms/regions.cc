// Where a student is used, and where terms hold.

#include <algorithm>
#include <array>

#include "base/text.h"
#include "terms/facts.h"

namespace retort::terms {
namespace {

bool is_eu(std::string_view country) {
  constexpr std::array<std::string_view, 28> kMembers = {"EU", "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES",
                                                         "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
                                                         "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"};
  return std::find(kMembers.begin(), kMembers.end(), country) != kMembers.end();
}

bool is_region_code(const std::string& code) {
  return code.size() == 2 && std::all_of(code.begin(), code.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

}  // namespace

std::string region_code(std::string_view region) {
  std::string code(trim(region));
  for (char& c : code) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return code == "UK" ? "GB" : code;
}

bool in_regions(const std::string& code, const std::vector<std::string_view>& regions) {
  if (code.empty()) return false;
  // A place that can't be read may be any.
  if (!is_region_code(code)) return true;
  return std::any_of(regions.begin(), regions.end(), [&](std::string_view region) {
    return region == code || (region == "EU" && is_eu(code)) || (code == "EU" && is_eu(region));
  });
}

}  // namespace retort::terms
