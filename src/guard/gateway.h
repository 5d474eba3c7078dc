// A running guard: its workers, its admin listener, and the thread that keeps its lists fresh.
//
// start() listens before it returns. stop() refuses new callers, lets answers under way end (for at most the given
// time), closes the evidence with a signed head, and returns. Any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "guard/guard_state.h"

namespace retort::guard {

class Gateway {
 public:
  static Result<std::unique_ptr<Gateway>> start(const std::filesystem::path& configuration, const Clock& clock,
                                                Environment environment, Log log);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  std::string url() const;
  std::string admin_url() const;  // "" when there is none
  std::string authz_url() const;  // likewise: where auth_request asks
  GuardState& state();

  Result<void> stop(std::chrono::seconds patience);

 private:
  struct Inside;
  explicit Gateway(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

}  // namespace retort::guard
