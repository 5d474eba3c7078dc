// Changes to the top level of a JSON object that leave every other byte as it was. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace retort::api {

class JsonEdit {
 public:
  // `object`: valid JSON (RequestReader took it), an object. It must outlive the edit.
  explicit JsonEdit(std::string_view object);

  bool has(std::string_view key) const;
  // The bytes of the member's value; "" when there is none.
  std::string_view value(std::string_view key) const;
  // Without the member, if there is one.
  JsonEdit& remove(std::string_view key);
  // `json`: the bytes of a value. Replaces the member's, or adds a member at the end.
  JsonEdit& set(std::string_view key, std::string json);
  // The object with the changes.
  std::string apply() const;

 private:
  struct Member {
    std::string key;                 // decoded
    std::size_t begin = 0, end = 0;  // of the member, from its key's quote to its value's end
    std::size_t value_begin = 0;
    bool removed = false;
    std::string replacement;  // of the value; "" when it stays
  };
  Member* find(std::string_view key);
  const Member* find(std::string_view key) const;
  std::string_view object_;
  std::vector<Member> members_;
  std::vector<std::pair<std::string, std::string>> added_;
};

}  // namespace retort::api
