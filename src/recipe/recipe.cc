#include "recipe/recipe.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "recipe/yaml_reader.h"

namespace retort::recipe {

// Reads one recipe and gathers what is wrong with it.
class RecipeReader {
 public:
  RecipeReader(std::string_view what, std::shared_ptr<const Schema> schema)
      : what_(what), recipe_(schema), schema_(*schema) {}

  Result<Recipe> read(std::string_view yaml, std::span<const std::string> overrides) {
    std::vector<YamlFault> faults;
    auto root = read_yaml(yaml, faults);
    if (!root) return caller_error("The " + schema_.noun() + " " + what_ + " " + root.error().message);
    for (YamlFault& fault : faults) report(fault.line, "", std::move(fault.key), std::move(fault.sentence));
    if (root->kind != Node::Kind::kMap && root->kind != Node::Kind::kNull) {
      return caller_error("The " + schema_.noun() + " " + what_ + " is " + describe(*root) +
                          "; expected keys and values such as `" + schema_.example() + "`.");
    }
    for (const std::string& text : overrides) apply_override(*root, text);
    read_map(*root, "");
    for (const Option& option : schema_.options()) {
      if (option.text.required && !said_.contains(option.key)) {
        report(0, "", option.key, "is missing; expected " + with_article(option));
      }
    }
    run_checks();
    if (!found_.empty()) return Failure(Error{Fault::kCaller, sentence()});
    return std::move(recipe_);
  }

 private:
  struct Found {
    int line = 0;  // 0: from an override, or absent
    std::string origin;
    std::string key;
    std::string sentence;
  };

  void report(int line, std::string origin, std::string key, std::string text) {
    found_.push_back({origin.empty() ? line : 0, std::move(origin), std::move(key), std::move(text)});
  }

  static std::string with_article(const Option& option) {
    std::string text = option.type_name == "text" ? "a text" : option.type_name;
    if (!option.text.help.empty()) text += " (" + option.text.help + ")";
    return text;
  }

  // Puts `a.b=value` into the tree, as if the file had said so.
  void apply_override(Node& root, const std::string& text) {
    const std::size_t equals = text.find('=');
    const std::string key(trim(std::string_view(text).substr(0, equals)));
    if (equals == std::string::npos || key.empty()) {
      report(0, "--set " + text, "", "is not an override; expected KEY=VALUE, such as train.epochs=2");
      return;
    }
    const std::string origin = "--set " + key;
    std::vector<YamlFault> faults;
    auto value = read_yaml(std::string_view(text).substr(equals + 1), faults);
    if (!value || !faults.empty()) {
      report(0, origin, key, value ? faults.front().sentence : value.error().message);
      return;
    }
    mark_origin(*value, origin);
    const std::vector<std::string> parts = split(key, '.');
    Node* at = &root;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      // A value that stood where now a part of it is set gives way: prompts: self_generated, then prompts.file=….
      if (at->kind != Node::Kind::kMap) *at = Node::map({});
      auto member = std::ranges::find_if(at->members, [&](const Node::Member& m) { return m.key == parts[i]; });
      if (member == at->members.end()) {
        Node empty = Node::map({});
        empty.origin = origin;
        at->members.push_back({parts[i], std::move(empty), 0});
        member = std::prev(at->members.end());
      }
      at = &member->value;
    }
    *at = std::move(*value);
  }

  static void mark_origin(Node& node, const std::string& origin) {
    node.origin = origin;
    node.line = 0;
    for (Node& item : node.items) mark_origin(item, origin);
    for (Node::Member& member : node.members) {
      member.line = 0;
      mark_origin(member.value, origin);
    }
  }

  bool is_section(const std::string& prefix) const {
    return std::ranges::any_of(schema_.sections(), [&](const Schema::Section& section) {
      return !prefix.empty() && (section.prefix == prefix || section.prefix.starts_with(prefix + "."));
    });
  }

  void read_map(const Node& map, const std::string& prefix) {
    for (const Node::Member& member : map.members) {
      const std::string key = prefix.empty() ? member.key : prefix + "." + member.key;
      const int line = member.line > 0 ? member.line : member.value.line;
      if (const Option* option = schema_.find(key)) {
        read_option(*option, member.value, line);
      } else if (is_section(key)) {
        if (member.value.kind == Node::Kind::kMap) {
          read_map(member.value, key);
        } else if (member.value.kind != Node::Kind::kNull) {  // an empty section says nothing
          report(line, member.value.origin, key,
                 "is " + describe(member.value) + "; expected a section with options such as " + example_key(key));
        }
      } else {
        const std::string near = schema_.nearest_key(key);
        report(line, member.value.origin, key,
               "is not an option" + (near.empty() ? "; " + schema_.where_listed() + " lists all of them"
                                                  : "; did you mean " + near + "?"));
      }
    }
  }

  std::string example_key(const std::string& prefix) const {
    for (const Option& option : schema_.options()) {
      if (option.key.starts_with(prefix + ".")) return option.key;
    }
    return prefix + ".…";
  }

  void read_option(const Option& option, const Node& node, int line) {
    said_[option.key] = {line, node.origin};
    auto value = option.canonical(node);
    if (!value) {
      std::string text = "is " + describe(node) + "; expected " + value.error();
      if (!option.text.unit.empty()) text += " (" + option.text.unit + ")";
      if (node.kind == Node::Kind::kText && !option.text.choices.empty()) {
        const std::string near = nearest(node.text, option.text.choices);
        if (!near.empty()) text += "; did you mean " + near + "?";
      }
      report(line, node.origin, option.key, std::move(text));
      return;
    }
    recipe_.values_[option.key] = std::move(*value);
  }

  // Rules over several options only make sense when each of those is fine.
  void run_checks() {
    const auto is_faulty = [this](const std::string& key) {
      return std::ranges::any_of(found_, [&](const Found& found) { return found.key == key; });
    };
    Problems problems;
    const auto value_of = [this](const std::string& key) { return recipe_.value_of(key); };
    for (const auto& check : schema_.checks_) {
      if (std::ranges::none_of(check.keys, is_faulty)) check.rule(value_of, problems);
    }
    if (found_.empty() && problems.empty()) {
      for (const auto& check : schema_.cross_checks_) check(recipe_, problems);
    }
    for (const Problems::Problem& problem : problems.list()) {
      const auto place = said_.find(problem.key);
      if (place == said_.end()) {
        report(0, "", problem.key, problem.sentence);
      } else {
        report(place->second.first, place->second.second, problem.key, problem.sentence);
      }
    }
  }

  std::string sentence() {
    std::ranges::stable_sort(found_, [](const Found& a, const Found& b) {
      const auto rank = [](const Found& f) { return f.line > 0 ? f.line : 1'000'000'000; };
      return rank(a) < rank(b);
    });
    std::string text = "The " + schema_.noun() + " " + what_ + " has " +
                       (found_.size() == 1 ? std::string("a problem") : std::to_string(found_.size()) + " problems") +
                       "; nothing was started.";
    for (const Found& found : found_) {
      text += "\n  ";
      if (found.line > 0) text += "line " + std::to_string(found.line) + ": ";
      if (!found.origin.empty()) text += found.origin + ": ";
      // "--set train.epochs" has named the key already.
      if (!found.key.empty() && found.origin != "--set " + found.key) text += found.key + " ";
      text += found.sentence;
      if (!text.ends_with('?') && !text.ends_with('.')) text += ".";
    }
    return text;
  }

  std::string what_;
  Recipe recipe_;
  const Schema& schema_;
  std::map<std::string, std::pair<int, std::string>> said_;  // key -> line, origin
  std::vector<Found> found_;
};

Result<Recipe> Recipe::parse(std::string_view yaml, std::string_view what, std::shared_ptr<const Schema> schema,
                             std::span<const std::string> overrides) {
  RETORT_CHECK(schema != nullptr);
  return RecipeReader(what, std::move(schema)).read(yaml, overrides);
}

Result<Recipe> Recipe::load(const std::filesystem::path& path, std::shared_ptr<const Schema> schema,
                            std::span<const std::string> overrides) {
  auto text = read_file(path);
  if (!text) return with_context(text.error(), "The " + schema->noun() + " cannot be read");
  return parse(*text, path.string(), std::move(schema), overrides);
}

const Node* Recipe::value_of(const std::string& key) const {
  const auto found = values_.find(key);
  if (found != values_.end()) return &found->second;
  const Option* option = schema_->find(key);
  return option == nullptr ? nullptr : &option->default_value;
}

bool Recipe::is_set(const std::string& key) const { return values_.contains(key); }

std::string Recipe::effective_yaml(bool with_comments) const {
  std::string out;
  for (const Schema::Section& section : schema_->sections()) {
    const bool top = section.prefix.empty();
    // A dotted prefix is written as nested maps would need merging with its parent; sections are one level deep.
    RETORT_CHECK(section.prefix.find('.') == std::string::npos);
    if (!top) out += section.prefix + ":\n";
    for (const std::string& key : section.keys) {
      const Option& option = *schema_->find(key);
      out += (top ? "" : "  ") + (top ? key : key.substr(section.prefix.size() + 1)) + ": " + to_yaml(*value_of(key));
      if (with_comments) {
        std::string comment = option.text.unit;
        if (!is_set(key)) comment += comment.empty() ? "default" : ", default";
        if (!comment.empty()) out += "  # " + comment;
      }
      out += "\n";
    }
  }
  return out;
}

Digest Recipe::digest_of(std::span<const std::string> prefixes) const {
  std::vector<std::string> chosen;
  for (const std::string& prefix : prefixes) {
    const std::size_t before = chosen.size();
    for (const Option& option : schema_->options()) {
      if (option.key == prefix || option.key.starts_with(prefix + ".")) chosen.push_back(option.key);
    }
    RETORT_CHECK(chosen.size() > before);
  }
  std::ranges::sort(chosen);
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  Sha256 running;
  for (const std::string& key : chosen) running.update(key + ": " + to_yaml(*value_of(key)) + "\n");
  return running.finish();
}

Digest Recipe::digest() const { return digest_of(schema_->keys()); }

}  // namespace retort::recipe
