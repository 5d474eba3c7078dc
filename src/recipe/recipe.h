// A recipe: what a run is to do, checked whole before anything starts.
//
// parse() reads YAML, applies `--set` overrides, and reports ALL problems in one error, each with its line, key, what
// was found and what was expected; an unknown key names the nearest known one. A Recipe therefore holds only accepted
// values. It is a value (copies are cheap) and any thread may read it.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "recipe/option_set.h"
#include "recipe/schema.h"

namespace retort::recipe {

class Recipe {
 public:
  // `what` names the text in errors ("recipes/quickstart.yaml"). An override is "train.epochs=2", its right side read
  // as YAML and typed as strictly as the file; the last one for a key wins. Error: kCaller.
  static Result<Recipe> parse(std::string_view yaml, std::string_view what, std::shared_ptr<const Schema> schema,
                              std::span<const std::string> overrides = {});
  // parse() of a file's text.
  static Result<Recipe> load(const std::filesystem::path& path, std::shared_ptr<const Schema> schema,
                             std::span<const std::string> overrides = {});

  // The options of one module. The set must be part of the schema.
  template <class T>
  T get(const OptionSet<T>& set) const {
    return set.build([this](const std::string& key) { return value_of(key); });
  }
  // The canonical value of a key; nullptr for a key the schema doesn't have.
  const Node* value_of(const std::string& key) const;
  // Whether the recipe or an override said it (else it is the default).
  bool is_set(const std::string& key) const;

  // Every option with its value, in the schema's order, as YAML that parses to an equal recipe. With comments: unit,
  // and which values are defaults.
  std::string effective_yaml(bool with_comments = false) const;
  // Identity of the options under these prefixes: "train" is every key of the section, "train.epochs" one key. Depends
  // on keys and values only. An unknown prefix is a broken invariant (RETORT_CHECK).
  Digest digest_of(std::span<const std::string> prefixes) const;
  // Of every option.
  Digest digest() const;

  const Schema& schema() const { return *schema_; }

 private:
  explicit Recipe(std::shared_ptr<const Schema> schema) : schema_(std::move(schema)) {}

  std::shared_ptr<const Schema> schema_;
  std::map<std::string, Node> values_;  // by full key: those that were said
  friend class RecipeReader;
};

}  // namespace retort::recipe
