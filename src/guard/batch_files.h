// Files that were uploaded for batches and looked into: a batch may be made of no other.
//
// Kept in SQLite beside the callers, so that several guards with one folder know the same. Any thread; it locks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "policy/money.h"
#include "policy/price.h"

namespace retort::guard {

struct BatchFileFacts {
  std::string account;  // who uploaded it
  std::string path;     // what its lines ask for: "/v1/chat/completions"
  std::int64_t requests = 0;
  std::optional<policy::NanoUsd> worst;       // what all of them may cost; nothing: it has no bound
  std::optional<policy::TokenPrices> prices;  // by which its batches are billed; nothing: not known
};

class BatchFiles {
 public:
  static Result<std::unique_ptr<BatchFiles>> open(const std::filesystem::path& database);
  ~BatchFiles();

  // `id`: the provider's. One that is there already is replaced.
  Result<void> keep(const std::string& id, const BatchFileFacts& facts, std::int64_t now_unix_ms);
  // Nothing: there is none of this id.
  Result<std::optional<BatchFileFacts>> find(const std::string& id) const;

 private:
  struct State;
  explicit BatchFiles(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace retort::guard
