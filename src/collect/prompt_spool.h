// The prompts a collection takes from a file, read and cleared of personal data once, then laid aside on disk.
//
// Held in memory: sixteen bytes a row, never its text. Whoever asks gets a row by number, as for_each_taken_prompt()
// gave it; what becomes of the user's file meanwhile doesn't matter. A spool is a file of its own that only this
// program reads (no format is promised), named by what it was made of: a kept one that is damaged, or was made of
// anything else, is made again.
//
// One thread per object. Owns its file's descriptor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "collect/prompt_intake.h"
#include "collect/prompt_rows.h"

namespace retort::collect {

class PromptSpool final : public PromptRows {
 public:
  // A look at each row while it is read; an error of it ends the reading.
  using See = std::function<Result<void>(const PromptRow& row)>;
  // Reads the file of options.prompts into a nameless file in `folder`, which is gone with the object. Errors as of
  // for_each_taken_prompt(), and kWorld when the disk is full.
  static Result<PromptSpool> make(const CollectOptions& options, const std::filesystem::path& folder,
                                  const See& see = {});
  // Takes up `file` when it was made of the same prompts by the same options, else makes it. Errors as above.
  static Result<PromptSpool> keep(const CollectOptions& options, const std::filesystem::path& file);

  PromptSpool(PromptSpool&& other) noexcept;
  PromptSpool& operator=(PromptSpool&& other) noexcept;
  ~PromptSpool() override;

  std::int64_t size() const override { return static_cast<std::int64_t>(entries_.size()); }
  bool answered(std::int64_t row) const override { return entry(row).answered != 0; }
  std::int64_t prompt_bytes(std::int64_t row) const override { return entry(row).prompt_bytes; }
  Result<PromptRow> at(std::int64_t row) const override;

  const PromptIntake& intake() const { return intake_; }
  // Of the user's file.
  const Digest& file_digest() const { return file_digest_; }
  // Of what the rows are: the file's, and what makes them differ from it.
  std::string rows_digest() const;
  bool was_read() const { return was_read_; }  // the user's file, rather than a kept spool

 private:
  struct Entry {
    std::uint64_t offset = 0;  // of its record
    std::uint32_t prompt_bytes : 31 = 0;
    std::uint32_t answered : 1 = 0;
    std::uint32_t size = 0;  // of its record
  };
  static_assert(sizeof(Entry) == 16);

  PromptSpool() = default;
  const Entry& entry(std::int64_t row) const { return entries_[static_cast<std::size_t>(row)]; }
  static Result<PromptSpool> read(const CollectOptions& options, const std::filesystem::path& part, const See& see);
  Result<void> finish(const Digest& key);
  bool load(const std::filesystem::path& file, const Digest& key);

  int descriptor_ = -1;
  std::vector<Entry> entries_;
  std::uint64_t end_ = 0;  // of the records
  PromptIntake intake_;
  Digest file_digest_;
  bool was_read_ = false;
};

}  // namespace retort::collect
