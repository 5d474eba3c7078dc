// The prompts of a collection by number, wherever they lie: row i of a SlotPlan is at(i).
//
// What decides without reading a row (was it answered already, how long is its prompt) is told from what is held; the
// text comes only with at(). One thread per object.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/error.h"
#include "collect/prompts.h"

namespace retort::collect {

class PromptRows {
 public:
  virtual ~PromptRows() = default;
  virtual std::int64_t size() const = 0;
  // Whether the row came with its answer.
  virtual bool answered(std::int64_t row) const = 0;
  // Of its prompt, as provider::prompt_bytes() counts them; at most 2^31 - 1.
  virtual std::int64_t prompt_bytes(std::int64_t row) const = 0;
  // Error (kWorld): it can't be read any more.
  virtual Result<PromptRow> at(std::int64_t row) const = 0;
};

// Few rows, in memory.
class HeldRows final : public PromptRows {
 public:
  explicit HeldRows(std::vector<PromptRow> rows) : rows_(std::move(rows)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(rows_.size()); }
  bool answered(std::int64_t row) const override { return held(row).answer.has_value(); }
  std::int64_t prompt_bytes(std::int64_t row) const override;
  Result<PromptRow> at(std::int64_t row) const override { return held(row); }

 private:
  const PromptRow& held(std::int64_t row) const { return rows_[static_cast<std::size_t>(row)]; }
  std::vector<PromptRow> rows_;
};

}  // namespace retort::collect
