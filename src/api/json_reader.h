// A JSON parser with the memory it works in, kept from text to text.
//
// Its memory grows with the largest text it has read (about 15 bytes a byte), so one is shared by all requests and
// answers of a thread; after a large text the memory is given back. One thread at a time.
#pragma once

#include <memory>

namespace retort::api {

class JsonReader {
 public:
  JsonReader();
  ~JsonReader();
  JsonReader(JsonReader&&) noexcept;
  JsonReader& operator=(JsonReader&&) noexcept;

  struct Inside;  // api/json_dom.h, for this module
  Inside& inside() { return *inside_; }

 private:
  std::unique_ptr<Inside> inside_;
};

}  // namespace retort::api
