#include "collect/prompt_spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/version.h"
#include "collect/prompt_row_bytes.h"
#include "provider/forecast.h"

namespace retort::collect {
namespace {

constexpr std::size_t kPiece = 1 << 20;
constexpr std::string_view kMagic = "retort-spool-1\n\n";
constexpr std::uint64_t kLongestPrompt = std::numeric_limits<std::int32_t>::max();

// What stands at the end of a kept spool.
struct Trailer {
  std::uint64_t records_end = 0;
  std::uint64_t rows = 0;
  std::uint64_t intake_bytes = 0;
  std::uint64_t checksum = 0;  // of index and intake
  Digest key;
  char magic[16] = {};
};

Failure cannot(const char* what, int error) {
  if (error == ENOSPC || error == EDQUOT) {
    return world_error(
        "The disk is full: the prompts can't be laid aside. Free some space and run the same command again.");
  }
  return world_error(std::string("The prompts laid aside can't be ") + what + " (" + std::strerror(error) + ").");
}

Result<void> write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(descriptor, bytes.data(), bytes.size());
    if (wrote < 0 && errno != EINTR) return cannot("written", errno);
    if (wrote > 0) bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

bool read_exactly(int descriptor, std::uint64_t offset, char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t got = ::pread(descriptor, bytes, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    offset += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

std::uint64_t checksum_of(std::string_view bytes) { return checksum64(std::as_bytes(std::span(bytes))); }

Json to_json(const PromptIntake& intake) {
  Json kinds = Json::array();
  for (const PersonalKind kind : kPersonalKinds) kinds.push_back(intake.personal_data.of(kind));
  Json skipped = Json::array();
  for (const BrokenRow& row : intake.file.first_skipped) skipped.push_back({row.line, row.why});
  return {{"rows", intake.file.rows},
          {"skipped", intake.file.skipped},
          {"format", static_cast<int>(intake.file.format)},
          {"as_guessed", intake.file.as_guessed},
          {"column", intake.file.column},
          {"first_skipped", std::move(skipped)},
          {"personal_data", std::move(kinds)},
          {"rows_with_personal_data", intake.rows_with_personal_data},
          {"rows_dropped", intake.rows_dropped},
          {"altered", intake.altered ? Json(intake.altered->hex()) : Json()}};
}

Result<PromptIntake> intake_from(const Json& json) {
  try {
    PromptIntake intake;
    intake.file.rows = json.at("rows");
    intake.file.skipped = json.at("skipped");
    intake.file.format = static_cast<PromptFormat>(json.at("format").get<int>());
    intake.file.as_guessed = json.at("as_guessed");
    intake.file.column = json.at("column");
    for (const Json& row : json.at("first_skipped")) intake.file.first_skipped.push_back({row.at(0), row.at(1)});
    for (std::size_t i = 0; i < kPersonalKinds.size(); ++i) {
      intake.personal_data.add(kPersonalKinds[i], json.at("personal_data").at(i));
    }
    intake.rows_with_personal_data = json.at("rows_with_personal_data");
    intake.rows_dropped = json.at("rows_dropped");
    if (!json.at("altered").is_null()) {
      RETORT_ASSIGN(intake.altered, Digest::from_hex(json.at("altered").get<std::string>()));
    }
    return intake;
  } catch (const nlohmann::json::exception&) {
    return world_error("not what was found in a prompt file");
  }
}

// Everything that decides what the rows are.
Digest key_of(const CollectOptions& options, const Digest& file) {
  return sha256(canonical_json({{"code", kVersion},
                                {"file", file.hex()},
                                {"name", options.prompts.file},
                                {"format", options.prompts.format},
                                {"column", options.prompts.column},
                                {"skip_broken", options.prompts.skip_broken},
                                {"personal_data", options.personal_data},
                                {"system", options.system}}));
}

}  // namespace

std::int64_t HeldRows::prompt_bytes(std::int64_t row) const { return provider::prompt_bytes(held(row).prompt); }

PromptSpool::PromptSpool(PromptSpool&& other) noexcept { *this = std::move(other); }

PromptSpool& PromptSpool::operator=(PromptSpool&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  entries_ = std::move(other.entries_);
  end_ = other.end_;
  intake_ = std::move(other.intake_);
  file_digest_ = other.file_digest_;
  was_read_ = other.was_read_;
  return *this;
}

PromptSpool::~PromptSpool() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<PromptRow> PromptSpool::at(std::int64_t row) const {
  const Entry& place = entry(row);
  std::string bytes(place.size, '\0');
  const auto damaged = [&] {
    return world_error("The prompts laid aside are damaged at row " + std::to_string(row + 1) +
                       ". Run the same command again.");
  };
  if (!read_exactly(descriptor_, place.offset, bytes.data(), bytes.size())) return damaged();
  std::uint64_t checksum = 0;
  std::memcpy(&checksum, bytes.data(), sizeof(checksum));
  const std::string_view record = std::string_view(bytes).substr(sizeof(checksum));
  if (checksum != checksum_of(record)) return damaged();
  auto found = row_from_bytes(record);
  if (!found) return damaged();
  return found;
}

std::string PromptSpool::rows_digest() const {
  return file_digest_.hex() + (intake_.altered ? " " + intake_.altered->hex() : "");
}

// Fills the open file `part` with the records.
Result<PromptSpool> PromptSpool::read(const CollectOptions& options, const std::filesystem::path& part,
                                      const See& see) {
  PromptSpool spool;
  spool.was_read_ = true;
  spool.descriptor_ = ::open(part.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (spool.descriptor_ < 0) return cannot("written", errno);
  std::string pending;
  RETORT_ASSIGN(spool.intake_, for_each_taken_prompt(options, [&](PromptRow row) -> Result<void> {
                  if (see) RETORT_TRY(see(row));
                  const std::size_t begin = pending.size();
                  pending.append(sizeof(std::uint64_t), '\0');
                  append_bytes(row, pending);
                  const std::string_view record = std::string_view(pending).substr(begin + sizeof(std::uint64_t));
                  const std::uint64_t checksum = checksum_of(record);
                  std::memcpy(pending.data() + begin, &checksum, sizeof(checksum));
                  Entry entry;
                  entry.offset = spool.end_;
                  entry.size = static_cast<std::uint32_t>(pending.size() - begin);
                  const auto bytes = static_cast<std::uint64_t>(provider::prompt_bytes(row.prompt));
                  entry.prompt_bytes = static_cast<std::uint32_t>(std::min(bytes, kLongestPrompt)) & 0x7fffffffU;
                  entry.answered = row.answer ? 1 : 0;
                  spool.end_ += entry.size;
                  spool.entries_.push_back(entry);
                  if (pending.size() < kPiece) return {};
                  RETORT_TRY(write_all(spool.descriptor_, pending));
                  pending.clear();
                  return {};
                }));
  RETORT_TRY(write_all(spool.descriptor_, pending));
  return spool;
}

// Index, intake and trailer.
Result<void> PromptSpool::finish(const Digest& key) {
  std::string tail(reinterpret_cast<const char*>(entries_.data()), entries_.size() * sizeof(Entry));
  const std::string intake = canonical_json(to_json(intake_));
  tail += intake;
  Trailer trailer{end_, entries_.size(), intake.size(), checksum_of(tail), key, {}};
  std::memcpy(trailer.magic, kMagic.data(), sizeof(trailer.magic));
  tail.append(reinterpret_cast<const char*>(&trailer), sizeof(trailer));
  return write_all(descriptor_, tail);
}

bool PromptSpool::load(const std::filesystem::path& file, const Digest& key) {
  descriptor_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) return false;
  Trailer trailer;
  const off_t size = ::lseek(descriptor_, 0, SEEK_END);
  if (size < static_cast<off_t>(sizeof(trailer))) return false;
  const std::uint64_t body = static_cast<std::uint64_t>(size) - sizeof(trailer);
  if (!read_exactly(descriptor_, body, reinterpret_cast<char*>(&trailer), sizeof(trailer))) return false;
  if (std::string_view(trailer.magic, sizeof(trailer.magic)) != kMagic || trailer.key != key) return false;
  if (trailer.records_end > body || trailer.rows > body / sizeof(Entry) || trailer.intake_bytes > body) return false;
  if (trailer.records_end + trailer.rows * sizeof(Entry) + trailer.intake_bytes != body) return false;
  std::string tail(body - trailer.records_end, '\0');
  if (!read_exactly(descriptor_, trailer.records_end, tail.data(), tail.size())) return false;
  if (checksum_of(tail) != trailer.checksum) return false;
  entries_.resize(trailer.rows);
  std::memcpy(entries_.data(), tail.data(), trailer.rows * sizeof(Entry));
  end_ = trailer.records_end;
  const Json json = Json::parse(tail.substr(trailer.rows * sizeof(Entry)), nullptr, false);
  auto intake = intake_from(json);
  if (!intake) return false;
  intake_ = std::move(*intake);
  return true;
}

Result<PromptSpool> PromptSpool::make(const CollectOptions& options, const std::filesystem::path& folder,
                                      const See& see) {
  RETORT_TRY(make_folder(folder));
  const std::filesystem::path part = folder / ("prompts." + std::to_string(::getpid()) + ".part");
  auto spool = read(options, part, see);
  ::unlink(part.c_str());  // lives on while it is open
  if (!spool) return spool;
  RETORT_ASSIGN(spool->file_digest_, sha256_file(options.prompts_file()));
  return spool;
}

Result<PromptSpool> PromptSpool::keep(const CollectOptions& options, const std::filesystem::path& file) {
  // An absent file is told by whoever reads it.
  const auto digest = sha256_file(options.prompts_file());
  if (digest) {
    PromptSpool kept;
    if (kept.load(file, key_of(options, *digest))) {
      kept.file_digest_ = *digest;
      return kept;
    }
  }
  const std::filesystem::path part = file.string() + ".part";
  auto spool = read(options, part, {});
  if (!spool || !digest) {
    ::unlink(part.c_str());
    return spool ? Result<PromptSpool>(Failure(digest.error())) : std::move(spool);
  }
  spool->file_digest_ = *digest;
  RETORT_TRY(spool->finish(key_of(options, *digest)));
  std::error_code error;
  std::filesystem::rename(part, file, error);
  if (error) return cannot("kept", error.value());
  return spool;
}

}  // namespace retort::collect
