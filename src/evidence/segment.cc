#include "evidence/segment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <utility>

namespace retort::evidence {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kExtension = ".evidence";
constexpr std::size_t kPieceBytes = 1U << 20U;

// The number in a segment's name; 0: it is another file.
std::uint64_t number_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.ends_with(kExtension) || name.size() < 8 + kExtension.size()) return 0;
  std::uint64_t number = 0;
  const char* end = name.data() + name.size() - kExtension.size();
  const auto [stop, failed] = std::from_chars(name.data(), end, number);
  return failed == std::errc() && stop == end ? number : 0;
}

Failure unreadable(const fs::path& path, int error) {
  return world_error("'" + path.string() + "' cannot be read: " + std::strerror(error) + ".");
}

}  // namespace

fs::path segment_path(const fs::path& folder, std::uint64_t number) {
  std::string digits = std::to_string(number);
  digits.insert(0, 8 - std::min<std::size_t>(8, digits.size()), '0');
  return folder / (digits + std::string(kExtension));
}

Result<std::vector<fs::path>> list_segments(const fs::path& folder) {
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) {
    return caller_error("'" + folder.string() + "' is no folder; expected the folder of an evidence spool.");
  }
  std::vector<std::pair<std::uint64_t, fs::path>> found;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end; entry.increment(failed)) {
    if (const std::uint64_t number = number_of(entry->path()); number > 0) found.emplace_back(number, entry->path());
  }
  if (failed) return world_error("'" + folder.string() + "' cannot be read: " + failed.message() + ".");
  std::sort(found.begin(), found.end());
  std::vector<fs::path> paths;
  for (auto& [number, path] : found) paths.push_back(std::move(path));
  return paths;
}

Result<std::vector<fs::path>> existing_segments(const fs::path& folder) {
  RETORT_ASSIGN(std::vector<fs::path> paths, list_segments(folder));
  if (paths.empty()) {
    return caller_error("'" + folder.string() + "' holds no evidence; expected files such as 00000001.evidence.");
  }
  return paths;
}

Result<SegmentReader> SegmentReader::open(const fs::path& path) {
  SegmentReader reader;
  reader.path_ = path;
  reader.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (reader.descriptor_ < 0) return unreadable(path, errno);
  struct stat facts {};
  if (::fstat(reader.descriptor_, &facts) != 0) return unreadable(path, errno);
  reader.file_bytes_ = static_cast<std::uint64_t>(facts.st_size);
  RETORT_TRY(reader.fill(kSegmentHeaderBytes));
  const auto header = read_segment_header(reader.buffer_);
  if (!header) return caller_error("'" + path.string() + "': " + header.error().message + ".");
  reader.header_ = *header;
  reader.position_ = kSegmentHeaderBytes;
  reader.offset_ = kSegmentHeaderBytes;
  return reader;
}

SegmentReader::~SegmentReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

SegmentReader::SegmentReader(SegmentReader&& other) noexcept { *this = std::move(other); }

SegmentReader& SegmentReader::operator=(SegmentReader&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  std::swap(header_, other.header_);
  std::swap(buffer_, other.buffer_);
  std::swap(position_, other.position_);
  std::swap(read_bytes_, other.read_bytes_);
  std::swap(file_bytes_, other.file_bytes_);
  std::swap(offset_, other.offset_);
  return *this;
}

// Brings `wanted` bytes behind position_, or as many as the file has.
Result<void> SegmentReader::fill(std::size_t wanted) {
  const std::uint64_t left = file_bytes_ - read_bytes_;
  if (buffer_.size() - position_ >= wanted || left == 0) return {};
  buffer_.erase(0, position_);
  position_ = 0;
  const std::size_t kept = buffer_.size();
  const auto more = static_cast<std::size_t>(std::min<std::uint64_t>(left, std::max(wanted - kept, kPieceBytes)));
  buffer_.resize(kept + more);
  std::size_t got = 0;
  while (got < more) {
    const ssize_t size =
        ::pread(descriptor_, buffer_.data() + kept + got, more - got, static_cast<off_t>(read_bytes_ + got));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return unreadable(path_, errno);
    if (size == 0) {  // made shorter meanwhile
      file_bytes_ = read_bytes_ + got;
      break;
    }
    got += static_cast<std::size_t>(size);
  }
  buffer_.resize(kept + got);
  read_bytes_ += got;
  return {};
}

Result<std::optional<ReadRecord>> SegmentReader::next(ChainHasher& hasher, const Digest& before,
                                                      std::uint64_t sequence) {
  RETORT_TRY(fill(kFrameBytes));
  offset_ = read_bytes_ - (buffer_.size() - position_);
  if (position_ == buffer_.size()) return std::nullopt;
  ReadRecord read = read_record(hasher, std::string_view(buffer_).substr(position_), before, sequence);
  if (read.state == ReadState::kCut && offset_ + read.size <= file_bytes_) {
    RETORT_TRY(fill(read.size));
    read = read_record(hasher, std::string_view(buffer_).substr(position_), before, sequence);
  }
  if (read.state == ReadState::kWhole) position_ += read.size;
  return read;
}

namespace {

Break break_at(const SegmentReader& reader, const fs::path& path, std::uint64_t sequence, const ReadRecord& read,
               bool last_segment) {
  Break broken;
  broken.segment = path;
  broken.offset = reader.offset();
  broken.sequence = sequence;
  const std::string place =
      "'" + path.string() + "', byte " + std::to_string(broken.offset) + ", record " + std::to_string(sequence) + ": ";
  const std::uint64_t there = reader.file_bytes() - reader.offset();
  if (read.state == ReadState::kCut) {
    broken.unfinished = last_segment;
    broken.sentence =
        place + "the record is cut off: " + std::to_string(there) + " of at least " + std::to_string(read.size) +
        " bytes are there" +
        (last_segment ? ". A crash may leave this; a guard that starts again cuts it and notes it." : ".");
  } else {
    broken.sentence = place + read.why + ".";
  }
  return broken;
}

}  // namespace

Result<Walked> walk(const fs::path& folder, const std::function<Result<void>(const RecordView&)>& visit) {
  RETORT_ASSIGN(const std::vector<fs::path> paths, existing_segments(folder));
  Walked walked;
  ChainHasher hasher;
  std::uint64_t sequence = 0;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    auto reader = SegmentReader::open(paths[i]);
    if (!reader && reader.error().fault != Fault::kCaller) return Failure(reader.error());
    const auto broken = [&](std::uint64_t at, std::string sentence, bool unfinished = false) {
      walked.broken = Break{paths[i], 0, at, unfinished, std::move(sentence)};
    };
    if (!reader) {
      std::error_code ignored;
      const bool unfinished = i + 1 == paths.size() && i > 0 && fs::file_size(paths[i], ignored) < kSegmentHeaderBytes;
      broken(sequence, reader.error().message, unfinished);
      return walked;
    }
    const SegmentHeader& header = reader->header();
    if (header.number != number_of(paths[i])) {
      broken(sequence, "'" + paths[i].string() + "' is segment " + std::to_string(header.number) +
                           " under another's name: segments were renamed or repeated.");
      return walked;
    }
    if (i == 0) {
      sequence = header.first_sequence;
      walked.chain = header.chain;
    } else if (header.first_sequence != sequence || header.chain != walked.chain) {
      const std::string before = paths[i - 1].filename().string();
      broken(sequence,
             "'" + paths[i].string() + "' begins with record " + std::to_string(header.first_sequence) + " and '" +
                 before + "' ends before record " + std::to_string(sequence) +
                 (header.first_sequence == sequence ? ", but with other bytes: records were changed."
                                                    : ": records or whole segments are missing or repeated."));
      return walked;
    }
    ++walked.segments;
    walked.bytes += reader->file_bytes();
    while (true) {
      RETORT_ASSIGN(const std::optional<ReadRecord> read, reader->next(hasher, walked.chain, sequence));
      if (!read) break;
      if (read->state != ReadState::kWhole) {
        walked.broken = break_at(*reader, paths[i], sequence, *read, i + 1 == paths.size());
        return walked;
      }
      if (visit) RETORT_TRY(visit(read->record));
      if (walked.records == 0) walked.first_sequence = sequence;
      walked.last_sequence = sequence;
      walked.chain = read->record.chain;
      ++walked.records;
      ++sequence;
    }
  }
  return walked;
}

}  // namespace retort::evidence
