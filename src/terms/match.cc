// Finds the family of a model by its name, word by word.

#include <string>
#include <tuple>

#include "base/text.h"
#include "terms/facts.h"

namespace retort::terms {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return c >= 'a' && c <= 'z'; }

// "Qwen2.5-3B-Instruct" -> qwen, 2.5, 3, b, instruct. Words and numbers; case and separators don't matter. A number
// keeps its decimals, also as 3p1; "3.0" is "3".
std::vector<std::string> words_of(std::string_view text) {
  const std::string lower = to_lower_ascii(text);
  std::vector<std::string> words;
  std::size_t i = 0;
  while (i < lower.size()) {
    std::string word;
    if (is_digit(lower[i])) {
      while (i < lower.size()) {
        const bool point = (lower[i] == '.' || lower[i] == 'p') && i + 1 < lower.size() && is_digit(lower[i + 1]);
        if (!is_digit(lower[i]) && !point) break;
        word += point ? '.' : lower[i];
        ++i;
      }
      if (word.ends_with(".0")) word.resize(word.size() - 2);
    } else if (is_letter(lower[i]) || lower[i] == '#') {
      while (i < lower.size() && (is_letter(lower[i]) || lower[i] == '#')) {
        if (lower[i] == '#' && !word.empty()) break;
        word += lower[i++];
        if (word == "#") break;
      }
    } else {
      ++i;
      continue;
    }
    words.push_back(std::move(word));
  }
  return words;
}

bool is_number(const std::string& word) { return !word.empty() && is_digit(word[0]); }
bool is_unit(const std::string& word) { return word == "b" || word == "m"; }

struct Pattern {
  const Family* family;
  std::vector<std::string> name;
  std::vector<std::string> size;
  bool exact;  // no '#'
};

// How many words of the id the pattern explains; 0: it doesn't match.
std::size_t matched(const Pattern& pattern, const std::vector<std::string>& id) {
  const std::vector<std::string>& name = pattern.name;
  for (std::size_t at = 0; at + name.size() <= id.size(); ++at) {
    if (pattern.family->leads && at > 0) break;
    const std::size_t end = at + name.size();
    bool fits = true;
    for (std::size_t i = 0; i < name.size() && fits; ++i) {
      fits = name[i] == "#" ? is_number(id[at + i]) : name[i] == id[at + i];
    }
    // In "open-llama-3b" the 3 is a size and not Llama's version.
    if (fits && (name.back() == "#" || is_number(name.back()))) fits = end >= id.size() || !is_unit(id[end]);
    if (!fits) continue;
    if (pattern.size.empty()) return name.size();
    for (std::size_t i = end; i + 1 < id.size(); ++i) {
      if (!is_number(id[i]) || !is_unit(id[i + 1])) continue;
      // The first size said is the model's: what comes later is of its experts or its context.
      return id[i] == pattern.size[0] && id[i + 1] == pattern.size[1] ? name.size() : 0;
    }
    return 0;
  }
  return 0;
}

const std::vector<Pattern>& patterns() {
  static const std::vector<Pattern> list = [] {
    std::vector<Pattern> made;
    for (const Family& family : families()) {
      made.push_back(
          {&family, words_of(family.name), words_of(family.size), family.name.find('#') == std::string_view::npos});
    }
    return made;
  }();
  return list;
}

}  // namespace

const Family* find_family(std::string_view model) {
  while (model.ends_with('/')) model.remove_suffix(1);
  if (const std::size_t slash = model.rfind('/'); slash != std::string_view::npos) model.remove_prefix(slash + 1);
  const std::vector<std::string> id = words_of(model);
  const Pattern* best = nullptr;
  std::size_t best_words = 0;
  for (const Pattern& pattern : patterns()) {
    const std::size_t words = matched(pattern, id);
    if (words == 0) continue;
    const auto rank = [](const Pattern& p, std::size_t n) { return std::tuple(n, !p.size.empty(), p.exact); };
    if (best == nullptr || rank(pattern, words) > rank(*best, best_words)) {
      best = &pattern;
      best_words = words;
    }
  }
  return best == nullptr ? nullptr : best->family;
}

}  // namespace retort::terms
