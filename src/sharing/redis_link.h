// A connection to Redis that never makes anybody wait for long: short timeouts, and after a failure a second without
// trying.
//
// One thread at a time; the process ignores SIGPIPE. Answers are whole numbers, or lists of them: what this program's
// commands give.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace retort::sharing {

struct RedisAddress {
  std::string host;
  std::uint16_t port = 6379;
  std::string path;  // of a Unix socket, instead
  int database = 0;
  std::string password;  // secret; empty: none

  // "redis://127.0.0.1:6379/0", "redis://[::1]", "unix:/run/redis.sock". Error (kCaller): anything else, and a URL with
  // a password (it belongs into a variable).
  static Result<RedisAddress> parse(const std::string& text);
};

class RedisLink {
 public:
  using Command = std::vector<std::string>;
  using Numbers = std::vector<std::int64_t>;

  // Connects at the first ask(). `clock` must outlive it.
  RedisLink(RedisAddress address, const Clock& clock);
  ~RedisLink();
  RedisLink(const RedisLink&) = delete;
  RedisLink& operator=(const RedisLink&) = delete;

  // All commands in one go; an answer each. Error (kWorld): Redis isn't there, is too slow, or refused one; what it did
  // of them is not known.
  Result<std::vector<Numbers>> ask(const std::vector<Command>& commands);

 private:
  struct Closer;
  Result<void> connect();
  Result<void> prepare(const Command& command);
  Error broken(const std::string& what);

  const RedisAddress address_;
  const Clock& clock_;
  struct Connection;
  std::unique_ptr<Connection> connection_;
  double not_before_s_ = 0;
};

}  // namespace retort::sharing
