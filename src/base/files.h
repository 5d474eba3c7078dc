// Files: whole reads, atomic writes, locks.
//
// A reader never sees a half-written file of ours: AtomicFile writes beside the target and renames on commit(), after
// fsync. What wasn't committed is removed. Errors name the path and what to do; a full disk is kWorld.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort {

// Error: kCaller when the path doesn't exist or is a folder, kWorld when it can't be read.
Result<std::string> read_file(const std::filesystem::path& path);

// Replaces `path` by `bytes`, atomically and durably.
Result<void> write_file(const std::filesystem::path& path, std::string_view bytes);

// Whether there is something at the path; false too where that can't be known.
bool is_there(const std::filesystem::path& path);

// Makes the folder and its parents. Error: kWorld, with the reason.
Result<void> make_folder(const std::filesystem::path& path);

// Bytes free for this user on the file system that holds `path` (or its nearest existing parent).
Result<std::uint64_t> free_bytes(const std::filesystem::path& path);

// A file that appears whole or not at all. Movable; one thread at a time.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::filesystem::path& target);
  ~AtomicFile();
  AtomicFile(AtomicFile&&) noexcept;
  AtomicFile& operator=(AtomicFile&&) noexcept;

  Result<void> write(std::span<const std::byte> bytes);
  Result<void> write(std::string_view text);
  // Overwrites bytes that were already written, for headers that are known last.
  Result<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  std::uint64_t size() const;
  // Flushes to disk and renames to the target. Without it the destructor removes what was written.
  Result<void> commit();

 private:
  struct State;
  explicit AtomicFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// A read-only memory map of a whole file. The bytes live as long as the object.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;
  std::span<const std::byte> bytes() const;

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// An exclusive lock held by this process until destroyed; the kernel releases it when the process dies.
class FileLock {
 public:
  // Error: kCaller when another process holds it (its process id is named), kWorld when the file can't be made.
  static Result<FileLock> acquire(const std::filesystem::path& path);
  ~FileLock();
  FileLock(FileLock&&) noexcept;
  FileLock& operator=(FileLock&&) noexcept;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace retort
