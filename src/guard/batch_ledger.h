// Batches that were made, and what each was billed once that is known: each is billed once, whoever sees it first.
//
// Kept in SQLite beside the callers, so that of several guards with one folder each learns what another saw. Any
// thread; it locks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer.h"
#include "base/error.h"
#include "policy/price.h"

namespace retort::guard {

struct BatchMade {
  std::string id;        // the provider's
  std::string exchange;  // that made it
  std::string account;
  policy::TokenPrices prices;
};

struct BatchBill {
  std::int64_t number = 0;  // bills are counted from 1
  BatchMade batch;
  policy::NanoUsd cost = 0;
  api::Usage usage;
};

class BatchLedger {
 public:
  // The database that BatchFiles has its table in.
  static Result<std::unique_ptr<BatchLedger>> open(const std::filesystem::path& database);
  ~BatchLedger();

  Result<void> made(const BatchMade& batch, std::int64_t now_unix_ms);
  // Where the batch's answers are. One that isn't known, or billed, is passed over.
  Result<void> answers_in(std::string_view id, std::string_view output_file);
  // The batch that isn't billed yet and has its answers in this file, or has this id itself.
  Result<std::optional<std::string>> awaiting(std::string_view file_or_id) const;
  // What its answers used. False: it isn't known, or was billed before.
  Result<bool> bill(std::string_view id, const api::Usage& usage);
  Result<std::vector<BatchBill>> bills_after(std::int64_t number) const;

 private:
  struct State;
  explicit BatchLedger(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace retort::guard
