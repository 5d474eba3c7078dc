#include "dataset/signal_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace retort::dataset {
namespace {

std::filesystem::path part_of(const std::filesystem::path& path) { return path.string() + ".part"; }

}  // namespace

SignalWriter::SignalWriter(SignalWriter&& other) noexcept
    : path_(std::move(other.path_)),
      header_(std::move(other.header_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      rows_(other.rows_),
      block_(std::move(other.block_)) {}

SignalWriter::~SignalWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Failure SignalWriter::disk_error(const std::string& what) const {
  return world_error("The teacher's signal '" + part_of(path_).string() + "' could not be " + what + ": " +
                     std::strerror(errno) + ". Make room or check the folder's permissions; the same command goes on.");
}

Result<SignalWriter> SignalWriter::open(const std::filesystem::path& path, const SignalHeader& header) {
  SignalWriter writer(path, header);
  writer.descriptor_ = ::open(part_of(path).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (writer.descriptor_ < 0) return writer.disk_error("opened");
  RETORT_TRY(writer.resume());
  return writer;
}

// Counts the whole blocks that are there, and cuts off what follows them.
Result<void> SignalWriter::resume() {
  const auto row_bytes = static_cast<std::size_t>(header_.row_bytes());
  std::string bytes(kSignalHeaderBytes, '\0');
  const auto read_at = [&](std::string& to, std::size_t offset) {
    return ::pread(descriptor_, to.data(), to.size(), static_cast<off_t>(offset)) == static_cast<ssize_t>(to.size());
  };
  std::size_t end = 0;
  if (read_at(bytes, 0) && bytes == header_bytes(header_)) {
    end = kSignalHeaderBytes;
    std::string block(static_cast<std::size_t>(kSignalBlockRows) * row_bytes + 8, '\0');
    while (rows_ + kSignalBlockRows <= header_.rows && read_at(block, end)) {
      const auto rows = std::as_bytes(std::span(block)).first(block.size() - 8);
      std::uint64_t checksum = 0;
      for (std::size_t i = 0; i < 8; ++i) {
        checksum |= static_cast<std::uint64_t>(static_cast<unsigned char>(block[block.size() - 8 + i])) << (8 * i);
      }
      if (checksum != block_checksum(rows, rows_ / kSignalBlockRows)) break;
      end += block.size();
      rows_ += kSignalBlockRows;
    }
  }
  if (::ftruncate(descriptor_, static_cast<off_t>(end)) != 0 ||
      ::lseek(descriptor_, static_cast<off_t>(end), SEEK_SET) < 0) {
    return disk_error("cut to its whole blocks");
  }
  if (end == 0) RETORT_TRY(write(header_bytes(header_)));
  return {};
}

Result<void> SignalWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return disk_error("written");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> SignalWriter::end_block() {
  const std::uint64_t checksum = block_checksum(std::as_bytes(std::span(block_)), (rows_ - 1) / kSignalBlockRows);
  for (std::size_t i = 0; i < 8; ++i) block_.push_back(static_cast<char>((checksum >> (8 * i)) & 0xFFU));
  RETORT_TRY(write(block_));
  block_.clear();
  return {};
}

Result<void> SignalWriter::append(const SignalRow& row) {
  RETORT_CHECK(rows_ < header_.rows);
  append_row(block_, header_, row);
  ++rows_;
  if (rows_ % kSignalBlockRows == 0 || rows_ == header_.rows) return end_block();
  return {};
}

Result<void> SignalWriter::commit() {
  RETORT_CHECK(rows_ == header_.rows && block_.empty());
  if (::fsync(descriptor_) != 0) return disk_error("written");
  std::error_code error;
  std::filesystem::rename(part_of(path_), path_, error);
  if (error) return world_error("'" + path_.string() + "' can't be put in its place: " + error.message() + ".");
  return {};
}

}  // namespace retort::dataset
