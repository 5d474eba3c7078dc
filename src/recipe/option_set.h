// The options of one module, declared once: member, default, range, unit and help in one place. Parser, `--set`,
// `retort help KEY` and docs/RECIPE.md all come from it.
//
//   struct TrainOptions {
//     std::int64_t epochs = 2;         // the default is the member's own initialiser
//     double learning_rate = 6e-4;
//   };
//   const recipe::OptionSet<TrainOptions>& train_option_set() {
//     static const auto set = recipe::OptionSet<TrainOptions>("train", "How the student is trained.")
//         .add("epochs", &TrainOptions::epochs, {.help = "Passes over the data.", .minimum = 1, .maximum = 1000})
//         .add("learning_rate", &TrainOptions::learning_rate, {.help = "…", .minimum = 0, .above_minimum = true})
//         .check([](const TrainOptions& o, Problems& problems) {
//           if (o.warmup_steps > 100) problems.add("train.warmup_steps", "is …; expected …");
//         });
//     return set;
//   }
//
// An empty prefix declares top-level keys ("teacher"). A member's type needs a Codec (recipe/codec.h). Declaring a key
// twice or an unfit default is a broken invariant (RETORT_CHECK). Immutable once built; any thread.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "recipe/codec.h"
#include "recipe/node.h"

namespace retort::recipe {

// Everything that is wrong with a recipe, gathered so that it can be said at once.
class Problems {
 public:
  struct Problem {
    std::string key;       // "train.epochs"; empty: the recipe as a whole
    std::string sentence;  // follows the key: "is 0; expected at least 1"
  };
  // For check(): the key the user should change, and what is wrong with it in words that can follow the key.
  void add(std::string key, std::string sentence) { list_.push_back({std::move(key), std::move(sentence)}); }
  const std::vector<Problem>& list() const { return list_; }
  bool empty() const { return list_.empty(); }

 private:
  std::vector<Problem> list_;
};

// An option without the C++ type of its struct.
struct Option {
  std::string key;        // full: "train.epochs"
  std::string type_name;  // for people: "whole number"
  Node default_value;     // canonical
  OptionText text;
  // The canonical value, or what was expected.
  std::function<Parsed<Node>(const Node&)> canonical;
};

template <class T>
class OptionSet {
 public:
  // `prefix` is the section's name, "" for top-level keys; `help` says in a sentence what the section decides.
  explicit OptionSet(std::string prefix, std::string help = {}) : prefix_(std::move(prefix)), help_(std::move(help)) {}

  template <class M>
  OptionSet& add(const std::string& key, M T::*member, OptionText text) {
    return add_mapped<M>(
        key, [member](const T& from) { return from.*member; },
        [member](T& target, M value) { target.*member = std::move(value); }, std::move(text));
  }

  // For an option that isn't one member: how its value M is read from and put into the struct. The default is what
  // `read` gives of a fresh T.
  template <class M>
  OptionSet& add_mapped(const std::string& key, const std::function<M(const T&)>& read, std::function<void(T&, M)> put,
                        OptionText text) {
    Option option;
    option.key = prefix_.empty() ? key : prefix_ + "." + key;
    option.type_name = Codec<M>::type_name(text);
    option.default_value = Codec<M>::write(read(T{}));
    option.text = text;
    option.canonical = [text](const Node& node) -> Parsed<Node> {
      auto value = Codec<M>::parse(node, text);
      if (!value) return Expected(std::move(value.error()));
      return Codec<M>::write(*value);
    };
    for (const Option& other : options_) RETORT_CHECK(other.key != option.key);
    RETORT_CHECK(text.required || option.canonical(option.default_value).has_value());
    options_.push_back(std::move(option));
    assign_.push_back([put = std::move(put), text = std::move(text)](T& target, const Node& node) {
      auto value = Codec<M>::parse(node, text);
      RETORT_CHECK(value.has_value());  // a Recipe holds only values that were accepted
      put(target, std::move(*value));
    });
    return *this;
  }

  // A rule over several options of this set; runs when each of them is fine by itself.
  OptionSet& check(std::function<void(const T&, Problems&)> rule) {
    checks_.push_back(std::move(rule));
    return *this;
  }

  const std::string& prefix() const { return prefix_; }
  const std::string& help() const { return help_; }
  const std::vector<Option>& options() const { return options_; }

  // The struct with these values; `value_of(key)` gives the canonical node of a full key, or nullptr for the default.
  T build(const std::function<const Node*(const std::string&)>& value_of) const {
    T target;
    for (std::size_t i = 0; i < options_.size(); ++i) {
      if (const Node* node = value_of(options_[i].key)) assign_[i](target, *node);
    }
    return target;
  }
  void run_checks(const T& value, Problems& problems) const {
    for (const auto& rule : checks_) rule(value, problems);
  }

 private:
  std::string prefix_;
  std::string help_;
  std::vector<Option> options_;
  std::vector<std::function<void(T&, const Node&)>> assign_;
  std::vector<std::function<void(const T&, Problems&)>> checks_;
};

}  // namespace retort::recipe
