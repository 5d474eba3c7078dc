// Writes a teacher's signal so that a kill loses at most a block.
//
// Rows are appended to PATH.part, a block at a time with its checksum; commit() renames it to PATH. Opened again with
// the same header it goes on after the last whole block; with another header it starts anew. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "dataset/teacher_signal.h"

namespace retort::dataset {

class SignalWriter {
 public:
  // Errors: kWorld for the disk.
  static Result<SignalWriter> open(const std::filesystem::path& path, const SignalHeader& header);
  ~SignalWriter();
  SignalWriter(SignalWriter&& other) noexcept;
  SignalWriter& operator=(SignalWriter&&) = delete;

  // Rows that are there, and needn't be made again.
  std::int64_t rows() const { return rows_; }
  Result<void> append(const SignalRow& row);
  // All rows must be there.
  Result<void> commit();

 private:
  SignalWriter(std::filesystem::path path, SignalHeader header) : path_(std::move(path)), header_(std::move(header)) {}
  Result<void> resume();
  Result<void> write(std::string_view bytes);
  Result<void> end_block();
  Failure disk_error(const std::string& what) const;

  std::filesystem::path path_;
  SignalHeader header_;
  int descriptor_ = -1;
  std::int64_t rows_ = 0;
  std::string block_;  // rows that aren't on disk yet
};

}  // namespace retort::dataset
