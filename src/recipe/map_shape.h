// Options that belong together, written as a map: `limits: {requests_per_minute: 60, tokens_per_minute: 90000}`.
//
//   const MapShape<Limits>& limits_shape() {
//     static const auto shape = MapShape<Limits>()
//         .add("requests_per_minute", &Limits::requests_per_minute, {.minimum = 1})
//         .add("tokens_per_minute", &Limits::tokens_per_minute, {.minimum = 1});
//     return shape;
//   }
//
// With its shape's codec a struct can be an option's value, a part of another map, or an item of a list:
//
//   template <> struct Codec<Limits> : MapCodec<Limits, &limits_shape> {};
//   template <> struct Codec<std::vector<Limits>> : MapListCodec<Limits, &limits_shape> {};
//   template <> struct Codec<std::map<std::string, Limits>> : NamedMapCodec<Limits, &limits_shape> {};
//
// What isn't written has T's own initialiser; `null` and an absent map are a fresh T. Immutable once built; any thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "recipe/codec.h"

namespace retort::recipe {

template <class T>
class MapShape {
 public:
  template <class M>
  MapShape& add(const std::string& name, M T::*member, OptionText text = {}) {
    Part part;
    part.type_name = Codec<M>::type_name(text);
    part.required = text.required;
    part.read = [member, text](T& target, const Node& node) -> std::string {
      auto value = Codec<M>::parse(node, text);
      if (!value) return std::move(value.error());
      target.*member = std::move(*value);
      return {};
    };
    part.write = [member](const T& from) { return Codec<M>::write(from.*member); };
    part.is_default = [member](const T& from) { return from.*member == T{}.*member; };
    part.name = name;
    parts_.push_back(std::move(part));
    return *this;
  }

  // "{url: text, key_env: text}"
  std::string type_name() const {
    std::string text;
    for (const Part& part : parts_) text += (text.empty() ? "" : ", ") + part.name + ": " + part.type_name;
    return "{" + text + "}";
  }

  Parsed<T> parse(const Node& node) const {
    T value;
    if (node.kind == Node::Kind::kNull) return value;
    if (node.kind != Node::Kind::kMap) return Expected(type_name());
    for (const Node::Member& member : node.members) {
      const Part* part = find(member.key);
      if (part == nullptr) {
        return Expected(type_name() + "; there is no '" + member.key + "'" + suggestion(member.key));
      }
      const std::string expected = part->read(value, member.value);
      if (!expected.empty()) {
        return Expected("for " + member.key + " " + expected + ", not " + describe(member.value));
      }
    }
    for (const Part& part : parts_) {
      if (part.required && node.find(part.name) == nullptr) {
        return Expected(type_name() + "; the part '" + part.name + "' is missing");
      }
    }
    return value;
  }

  // What differs from a fresh T, and the parts that must be there; null when nothing differs.
  Node write(const T& value) const {
    std::vector<Node::Member> members;
    bool differs = false;
    for (const Part& part : parts_) {
      const bool same = part.is_default(value);
      differs = differs || !same;
      if (!same || part.required) members.push_back({part.name, part.write(value), 0});
    }
    return differs ? Node::map(std::move(members)) : Node::null();
  }

 private:
  struct Part {
    std::string name;
    std::string type_name;
    bool required = false;
    std::function<std::string(T&, const Node&)> read;  // what was expected; empty: fine
    std::function<Node(const T&)> write;
    std::function<bool(const T&)> is_default;
  };
  const Part* find(const std::string& name) const {
    for (const Part& part : parts_) {
      if (part.name == name) return &part;
    }
    return nullptr;
  }
  std::string suggestion(const std::string& name) const {
    std::vector<std::string> names;
    for (const Part& part : parts_) names.push_back(part.name);
    const std::string near = nearest(name, names);
    return near.empty() ? "" : " (did you mean '" + near + "'?)";
  }

  std::vector<Part> parts_;
};

template <class T, const MapShape<T>& (*shape)()>
struct MapCodec {
  static std::string type_name(const OptionText&) { return shape().type_name(); }
  static Parsed<T> parse(const Node& node, const OptionText&) { return shape().parse(node); }
  static Node write(const T& value) { return shape().write(value); }
};

template <class T, const MapShape<T>& (*shape)()>
struct MapListCodec {
  static std::string type_name(const OptionText&) { return "list of " + shape().type_name(); }
  static Parsed<std::vector<T>> parse(const Node& node, const OptionText& text) {
    const auto refused = [&](const std::string& why) { return Expected("a " + type_name(text) + why); };
    std::vector<T> values;
    if (node.kind == Node::Kind::kNull) return values;
    if (node.kind != Node::Kind::kList) return refused("");
    for (const Node& item : node.items) {
      auto value = shape().parse(item);
      if (!value) return refused("; entry " + std::to_string(values.size() + 1) + ": " + value.error());
      values.push_back(std::move(*value));
    }
    return values;
  }
  static Node write(const std::vector<T>& values) {
    std::vector<Node> items;
    for (const T& value : values) items.push_back(shape().write(value));
    return items.empty() ? Node::null() : Node::list(std::move(items));
  }
};

// `verified: {…}, own: {…}`: maps of one shape by names that the user chooses.
template <class T, const MapShape<T>& (*shape)()>
struct NamedMapCodec {
  static std::string type_name(const OptionText&) { return "map of NAME: " + shape().type_name(); }
  static Parsed<std::map<std::string, T>> parse(const Node& node, const OptionText& text) {
    std::map<std::string, T> values;
    if (node.kind == Node::Kind::kNull) return values;
    if (node.kind != Node::Kind::kMap) return Expected("a " + type_name(text));
    for (const Node::Member& member : node.members) {
      auto value = shape().parse(member.value);
      if (!value) return Expected("for '" + member.key + "' " + value.error());
      values.emplace(member.key, std::move(*value));
    }
    return values;
  }
  static Node write(const std::map<std::string, T>& values) {
    std::vector<Node::Member> members;
    for (const auto& [name, value] : values) members.push_back({name, shape().write(value), 0});
    return members.empty() ? Node::null() : Node::map(std::move(members));
  }
};

}  // namespace retort::recipe
