#include "recipe/schema.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/text.h"

namespace retort::recipe {

namespace {

std::string bound_text(double value) {
  std::array<char, 40> buffer{};
  // Whole bounds in full (10000000, not 1e+07).
  const bool whole = value == static_cast<double>(static_cast<long long>(value));
  std::snprintf(buffer.data(), buffer.size(), whole ? "%.0f" : "%.6g", value);
  return buffer.data();
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string last_part(std::string_view key) {
  const std::size_t dot = key.rfind('.');
  return std::string(dot == std::string_view::npos ? key : key.substr(dot + 1));
}

// "whole number from 1 to 8, in tokens"
std::string type_line(const Option& option) {
  return option.type_name + (option.text.unit.empty() ? "" : ", in " + option.text.unit);
}

std::string default_text(const Option& option) {
  return option.text.required ? std::string("none: it must be given") : to_yaml(option.default_value);
}

// Lines of at most 96 characters, broken between words.
std::string wrapped(std::string_view text, std::string_view indent) {
  constexpr std::size_t kWidth = 96;
  std::string out;
  std::size_t line = 0;
  for (const std::string& word : split(text, ' ')) {
    if (line > 0 && line + 1 + word.size() > kWidth) {
      out += "\n";
      line = 0;
    }
    out += line == 0 ? std::string(indent) : " ";
    line += (line == 0 ? indent.size() : 1) + word.size();
    out += word;
  }
  return out + "\n";
}

std::string escaped_for_table(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

}  // namespace

std::string describe_range(const OptionText& text) {
  if (!text.choices.empty()) return "one of: " + joined(text.choices);
  std::string range;
  if (text.minimum && text.maximum) {
    range = (text.above_minimum ? "above " : "from ") + bound_text(*text.minimum) +
            (text.above_minimum ? ", at most " : " to ") + bound_text(*text.maximum);
  } else if (text.minimum) {
    range = text.above_minimum ? "above " + bound_text(*text.minimum) : "of at least " + bound_text(*text.minimum);
  } else if (text.maximum) {
    range = "of at most " + bound_text(*text.maximum);
  }
  return range;
}

void Schema::add_options(const std::string& prefix, const std::string& help, const std::vector<Option>& options) {
  auto section = std::ranges::find_if(sections_, [&](const Section& candidate) { return candidate.prefix == prefix; });
  if (section == sections_.end()) {
    sections_.push_back({prefix, help, {}});
    section = std::prev(sections_.end());
  } else if (section->help.empty()) {
    section->help = help;
  }
  for (const Option& option : options) {
    RETORT_CHECK(find(option.key) == nullptr);
    section->keys.push_back(option.key);
    options_.push_back(option);
  }
}

std::vector<std::string> Schema::keys() const {
  std::vector<std::string> keys;
  for (const Section& section : sections_) keys.insert(keys.end(), section.keys.begin(), section.keys.end());
  return keys;
}

const Option* Schema::find(std::string_view key) const {
  const auto found = std::ranges::find_if(options_, [&](const Option& option) { return option.key == key; });
  return found == options_.end() ? nullptr : &*found;
}

std::string Schema::nearest_key(std::string_view key) const {
  const std::vector<std::string> all = keys();
  // The right word in the wrong section is likelier meant than any misspelling.
  const std::string word = last_part(key);
  for (const std::string& candidate : all) {
    if (last_part(candidate) == word && candidate != key) return candidate;
  }
  // Then a misspelt word within the section it stands in, then anywhere.
  const std::size_t dot = key.rfind('.');
  const std::string section(dot == std::string_view::npos ? std::string_view() : key.substr(0, dot));
  std::vector<std::string> siblings;
  for (const std::string& candidate : all) {
    const std::size_t at = candidate.rfind('.');
    if ((at == std::string::npos ? "" : candidate.substr(0, at)) == section) siblings.push_back(last_part(candidate));
  }
  if (section.empty()) {
    for (const Section& known : sections_) {
      if (!known.prefix.empty()) siblings.push_back(known.prefix);
    }
  }
  const std::string sibling = nearest(word, siblings);
  if (!sibling.empty()) return section.empty() ? sibling : section + "." + sibling;
  return nearest(key, all);
}

std::string Schema::describe_section(const Section& section) const {
  std::string text = section.prefix.empty() ? "" : section.prefix + "\n";
  if (!section.help.empty()) text += wrapped(section.help, section.prefix.empty() ? "" : "  ");
  std::size_t width = 0;
  for (const std::string& name : section.keys) width = std::max(width, name.size());
  for (const std::string& name : section.keys) {
    const Option& option = *find(name);
    text += "  " + name + std::string(width - name.size() + 2, ' ') + default_text(option) + "\n";
  }
  return text;
}

Result<std::string> Schema::describe(std::string_view key) const {
  if (const Option* option = find(key)) {
    std::string text = option->key + "\n  " + type_line(*option) + "\n  default: " + default_text(*option) + "\n";
    if (!option->text.help.empty()) text += "\n" + wrapped(option->text.help, "  ");
    return text;
  }
  if (key == "recipe") {
    std::string text = "The keys of a recipe and their defaults. `retort help KEY` says more about one.\n";
    for (const Section& section : sections_) text += "\n" + describe_section(section);
    return text;
  }
  for (const Section& section : sections_) {
    if (section.prefix == key && !section.prefix.empty()) return describe_section(section);
  }
  const std::string near = nearest_key(key);
  return caller_error("There is no recipe option '" + std::string(key) + "'." +
                      (near.empty() ? " `retort help recipe` lists all of them." : " Did you mean '" + near + "'?"));
}

std::string Schema::reference_page(std::string_view introduction) const {
  std::string page(introduction);
  for (const Section& section : sections_) {
    page += "\n## " + (section.prefix.empty() ? std::string("Top level") : "`" + section.prefix + "`") + "\n\n";
    if (!section.help.empty()) page += section.help + "\n\n";
    page += "| Key | Value | Default | Meaning |\n|---|---|---|---|\n";
    for (const std::string& key : section.keys) {
      const Option& option = *find(key);
      const std::string shown =
          option.text.required ? "*must be given*" : "`" + escaped_for_table(to_yaml(option.default_value)) + "`";
      page += "| `" + key + "` | " + escaped_for_table(type_line(option)) + " | " + shown + " | " +
              escaped_for_table(option.text.help) + " |\n";
    }
  }
  return page;
}

}  // namespace retort::recipe
