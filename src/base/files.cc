#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

namespace retort {

namespace {

std::string reason(int error) {
  if (error == ENOSPC || error == EDQUOT) return "the disk is full; free some space and run the same command again";
  if (error == EACCES || error == EPERM || error == EROFS) {
    return "there is no permission to write there; choose another folder or change its permissions";
  }
  return std::strerror(error);
}

Failure write_failure(const std::filesystem::path& path, int error) {
  return world_error("'" + path.string() + "' cannot be written: " + reason(error) + ".");
}

// Makes the rename of a file durable.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) return caller_error("'" + path.string() + "' does not exist.");
  if (std::filesystem::is_directory(status))
    return caller_error("'" + path.string() + "' is a folder; expected a file.");
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  if (in) bytes << in.rdbuf();
  if (!in) {
    if (in.eof() || bytes.str().empty()) {
      std::ifstream again(path, std::ios::binary);
      if (again && again.peek() == std::ifstream::traits_type::eof()) return std::string();
    }
    return world_error("'" + path.string() + "' cannot be read. Check its permissions.");
  }
  return std::move(bytes).str();
}

Result<void> write_file(const std::filesystem::path& path, std::string_view bytes) {
  RETORT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  RETORT_TRY(file.write(bytes));
  return file.commit();
}

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

Result<void> make_folder(const std::filesystem::path& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) {
    return world_error("The folder '" + path.string() + "' cannot be made: " + reason(code.value()) + ".");
  }
  return {};
}

Result<std::uint64_t> free_bytes(const std::filesystem::path& path) {
  std::error_code code;
  std::filesystem::path existing = std::filesystem::absolute(path, code);
  while (!existing.empty() && !std::filesystem::exists(existing, code) && existing != existing.parent_path()) {
    existing = existing.parent_path();
  }
  const auto space = std::filesystem::space(existing, code);
  if (code) return world_error("The free space under '" + path.string() + "' cannot be read: " + code.message() + ".");
  return space.available;
}

struct AtomicFile::State {
  std::filesystem::path target;
  std::filesystem::path temporary;
  int descriptor = -1;
  std::uint64_t size = 0;
  bool committed = false;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (descriptor >= 0) ::close(descriptor);
    if (!committed && !temporary.empty()) ::unlink(temporary.c_str());
  }
};

AtomicFile::AtomicFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
AtomicFile::~AtomicFile() = default;
AtomicFile::AtomicFile(AtomicFile&&) noexcept = default;
AtomicFile& AtomicFile::operator=(AtomicFile&&) noexcept = default;

Result<AtomicFile> AtomicFile::create(const std::filesystem::path& target) {
  if (target.has_parent_path()) RETORT_TRY(make_folder(target.parent_path()));
  auto state = std::make_unique<State>();
  state->target = target;
  std::string pattern = target.string() + ".part-XXXXXX";
  state->descriptor = ::mkostemp(pattern.data(), O_CLOEXEC);
  if (state->descriptor < 0) return write_failure(target, errno);
  state->temporary = pattern;
  ::fchmod(state->descriptor, 0644);
  return AtomicFile(std::move(state));
}

Result<void> AtomicFile::write(std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote = ::write(state_->descriptor, bytes.data() + done, bytes.size() - done);
    if (wrote < 0) {
      if (errno == EINTR) continue;
      return write_failure(state_->target, errno);
    }
    done += static_cast<std::size_t>(wrote);
  }
  state_->size += bytes.size();
  return {};
}

Result<void> AtomicFile::write(std::string_view text) { return write(std::as_bytes(std::span(text))); }

Result<void> AtomicFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  RETORT_CHECK(offset + bytes.size() <= state_->size);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote =
        ::pwrite(state_->descriptor, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (wrote < 0) {
      if (errno == EINTR) continue;
      return write_failure(state_->target, errno);
    }
    done += static_cast<std::size_t>(wrote);
  }
  return {};
}

std::uint64_t AtomicFile::size() const { return state_->size; }

Result<void> AtomicFile::commit() {
  if (::fsync(state_->descriptor) != 0) return write_failure(state_->target, errno);
  const int closed = ::close(std::exchange(state_->descriptor, -1));
  if (closed != 0) return write_failure(state_->target, errno);
  if (::rename(state_->temporary.c_str(), state_->target.c_str()) != 0) return write_failure(state_->target, errno);
  state_->committed = true;
  sync_folder(state_->target.parent_path());
  return {};
}

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) return caller_error("'" + path.string() + "' does not exist.");
  if (!std::filesystem::is_regular_file(status)) return caller_error("'" + path.string() + "' is not a regular file.");
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return world_error("'" + path.string() + "' cannot be opened: " + std::strerror(errno) + ".");
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) {
    const int error = errno;
    ::close(descriptor);
    return world_error("'" + path.string() + "' cannot be read: " + std::strerror(error) + ".");
  }
  MappedFile file;
  file.size_ = static_cast<std::size_t>(info.st_size);
  if (file.size_ > 0) {
    void* data = ::mmap(nullptr, file.size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) {
      const int error = errno;
      ::close(descriptor);
      return world_error("'" + path.string() + "' cannot be mapped into memory: " + std::strerror(error) + ".");
    }
    file.data_ = static_cast<const std::byte*>(data);
  }
  ::close(descriptor);
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::span<const std::byte> MappedFile::bytes() const { return {data_, size_}; }

Result<FileLock> FileLock::acquire(const std::filesystem::path& path) {
  if (path.has_parent_path()) RETORT_TRY(make_folder(path.parent_path()));
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return write_failure(path, errno);
  FileLock lock(descriptor);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return write_failure(path, errno);
    std::string holder(32, '\0');
    const ssize_t size = ::pread(descriptor, holder.data(), holder.size(), 0);
    holder.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return caller_error("Another process" + (holder.empty() ? std::string() : " (" + holder + ")") +
                        " is at work on '" + path.parent_path().string() +
                        "'. Wait until it ends, or stop it, and run the command again.");
  }
  const std::string self = std::to_string(::getpid());
  if (::ftruncate(descriptor, 0) != 0 ||
      ::pwrite(descriptor, self.data(), self.size(), 0) != static_cast<ssize_t>(self.size())) {
    return write_failure(path, errno);
  }
  return lock;
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

}  // namespace retort
