// HTTP messages as plain values: what server, client and gateway hand to each other.
//
// Nothing here reads or writes a socket. Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace retort::net {

// Fields in the order they came or shall go; names are compared without regard to case.
class Headers {
 public:
  struct Field {
    std::string name;
    std::string value;
  };
  void add(std::string name, std::string value) { fields_.push_back({std::move(name), std::move(value)}); }
  // The first field of this name.
  std::optional<std::string_view> find(std::string_view name) const;
  const std::vector<Field>& fields() const { return fields_; }

 private:
  std::vector<Field> fields_;
};

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // "/v1/models/a%2Fb": still percent-encoded, without the query
  std::string query;   // what follows '?', without it
  Headers headers;
  std::string body;
  std::string peer;  // the address at the other end of the connection; in tests it may be empty
};

struct HttpResponse {
  int status = 200;
  // Without those that the server writes itself: Content-Length, Transfer-Encoding, Connection.
  Headers headers;
  std::string body;
};

HttpResponse json_response(int status, std::string body);

// "Not Found"; "Unknown" for a status without a phrase.
std::string_view reason_phrase(int status);

// "a%2Fb" -> "a/b". Error (kCaller): a '%' without two hexadecimal digits after it.
Result<std::string> percent_decode(std::string_view text);

}  // namespace retort::net
