#include "api/json_edit.h"

#include "api/json_spans.h"

namespace retort::api {

JsonEdit::JsonEdit(std::string_view object) : object_(object) {
  const JsonSpans spans(object);
  for (const MemberSpan& member : spans.members(spans.root())) {
    members_.push_back({.key = decoded_string(spans.text(member.key)),
                        .begin = member.key.begin,
                        .end = member.value.end,
                        .value_begin = member.value.begin,
                        .removed = false,
                        .replacement = {}});
  }
}

JsonEdit::Member* JsonEdit::find(std::string_view key) {
  for (Member& member : members_) {
    if (!member.removed && member.key == key) return &member;
  }
  return nullptr;
}

const JsonEdit::Member* JsonEdit::find(std::string_view key) const {
  for (const Member& member : members_) {
    if (!member.removed && member.key == key) return &member;
  }
  return nullptr;
}

bool JsonEdit::has(std::string_view key) const { return !value(key).empty(); }

std::string_view JsonEdit::value(std::string_view key) const {
  if (const Member* member = find(key)) {
    if (!member->replacement.empty()) return member->replacement;
    return object_.substr(member->value_begin, member->end - member->value_begin);
  }
  for (const auto& [name, json] : added_) {
    if (name == key) return json;
  }
  return {};
}

JsonEdit& JsonEdit::remove(std::string_view key) {
  while (Member* member = find(key)) member->removed = true;
  std::erase_if(added_, [&](const auto& added) { return added.first == key; });
  return *this;
}

JsonEdit& JsonEdit::set(std::string_view key, std::string json) {
  if (Member* member = find(key)) {
    member->replacement = std::move(json);
    return *this;
  }
  for (auto& [name, value] : added_) {
    if (name == key) {
      value = std::move(json);
      return *this;
    }
  }
  added_.emplace_back(key, std::move(json));
  return *this;
}

std::string JsonEdit::apply() const {
  std::vector<Span> parts;
  std::vector<bool> removed;
  std::vector<Patch> patches;
  std::size_t last = object_.find('{') + 1;  // past the last member that stays, or the brace
  bool comma = false;
  for (const Member& member : members_) {
    parts.push_back({member.begin, member.end});
    removed.push_back(member.removed);
    if (member.removed) continue;
    last = member.end;
    comma = true;
  }
  std::string addition;
  for (const auto& [key, json] : added_) {
    if (comma) addition += ',';
    addition += quoted_string(key) + ':' + json;
    comma = true;
  }
  // Before the removals, of which one may begin where this stands.
  if (!addition.empty()) patches.push_back({{last, last}, std::move(addition)});
  for (const Member& member : members_) {
    if (member.removed || member.replacement.empty()) continue;
    patches.push_back({{member.value_begin, member.end}, member.replacement});
  }
  remove_parts(parts, removed, patches);
  return patched(object_, std::move(patches));
}

}  // namespace retort::api
