// All options of a program: what a recipe may say. Assembled once by the pipeline from each module's OptionSet.
//
// Order of add() is the order of the reference page and of the effective recipe. Immutable once built; any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "recipe/option_set.h"

namespace retort::recipe {

class Recipe;
class RecipeReader;

class Schema {
 public:
  using ValueOf = std::function<const Node*(const std::string&)>;
  struct Section {
    std::string prefix;  // "" for top-level keys
    std::string help;
    std::vector<std::string> keys;
  };

  // The set is copied. Two sets may share a prefix (their keys then stand in one section), never a key.
  template <class T>
  Schema& add(const OptionSet<T>& set) {
    add_options(set.prefix(), set.help(), set.options());
    SetCheck check;
    for (const Option& option : set.options()) check.keys.push_back(option.key);
    check.rule = [set](const ValueOf& value_of, Problems& problems) { set.run_checks(set.build(value_of), problems); };
    checks_.push_back(std::move(check));
    return *this;
  }
  // A rule over options of several sets ("impossible combinations"); reads them with recipe.get(set).
  Schema& check(std::function<void(const Recipe&, Problems&)> rule) {
    cross_checks_.push_back(std::move(rule));
    return *this;
  }

  // What errors call the text: "recipe", with an example of a line and where all keys are listed.
  Schema& call_it(std::string noun, std::string example, std::string where_listed) {
    noun_ = std::move(noun);
    example_ = std::move(example);
    where_listed_ = std::move(where_listed);
    return *this;
  }
  const std::string& noun() const { return noun_; }
  const std::string& example() const { return example_; }
  const std::string& where_listed() const { return where_listed_; }

  const std::vector<Option>& options() const { return options_; }
  const std::vector<Section>& sections() const { return sections_; }
  // All full keys, in order.
  std::vector<std::string> keys() const;
  // nullptr when there is no such option.
  const Option* find(std::string_view key) const;
  // The known key a person most likely meant, or "".
  std::string nearest_key(std::string_view key) const;

  // Text for `retort help KEY`: of an option, or of a section with its keys. Error (kCaller): unknown, with the
  // nearest.
  Result<std::string> describe(std::string_view key) const;
  // Every option, in Markdown (docs/RECIPE.md). `introduction` begins the page: a heading and what the text is for. The
  // same schema gives the same bytes.
  std::string reference_page(std::string_view introduction) const;

 private:
  std::string describe_section(const Section& section) const;
  friend class RecipeReader;
  void add_options(const std::string& prefix, const std::string& help, const std::vector<Option>& options);

  std::string noun_ = "recipe";
  std::string example_ = "teacher: smollm2-135m-instruct";
  std::string where_listed_ = "`retort help recipe`";
  std::vector<Option> options_;
  std::vector<Section> sections_;
  struct SetCheck {
    std::vector<std::string> keys;
    std::function<void(const ValueOf&, Problems&)> rule;
  };
  std::vector<SetCheck> checks_;
  std::vector<std::function<void(const Recipe&, Problems&)>> cross_checks_;
};

// "from 1 to 8 tokens", "above 0", "one of: a, b"; "" when anything goes.
std::string describe_range(const OptionText& text);

}  // namespace retort::recipe
