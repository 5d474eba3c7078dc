#include "dataset/teacher_signal.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/json.h"

namespace retort::dataset {
namespace {

constexpr std::string_view kMagic = "RTSIGNAL";
constexpr std::int64_t kVersion = 1;
constexpr std::size_t kPrefix = 8 + 4 + 4 + 8;  // magic, version, length of the JSON, its checksum
constexpr float kUnits = 65'535;

void append_number(std::string& to, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) to.push_back(static_cast<char>((value >> (8 * i)) & 0xFFU));
}

std::uint64_t read_number(const std::byte* from, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
  return value;
}

void append_float(std::string& to, float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  append_number(to, bits, 4);
}

float read_float(const std::byte* from) {
  const auto bits = static_cast<std::uint32_t>(read_number(from, 4));
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

Failure damaged(const std::filesystem::path& path, const std::string& what) {
  return caller_error("The teacher's signal '" + path.string() + "' is damaged: " + what +
                      ". Remove it; `retort cache` writes it again.");
}

// Bytes of `rows` rows with the checksums of their blocks.
std::uint64_t body_bytes(const SignalHeader& header) {
  const std::int64_t blocks = (header.rows + kSignalBlockRows - 1) / kSignalBlockRows;
  return static_cast<std::uint64_t>(header.rows * header.row_bytes() + blocks * 8);
}

std::size_t block_offset(const SignalHeader& header, std::int64_t block) {
  return kSignalHeaderBytes + static_cast<std::size_t>(block * (kSignalBlockRows * header.row_bytes() + 8));
}

}  // namespace

std::string_view name_of(SignalKind kind) {
  switch (kind) {
    case SignalKind::kSampled: return "sampled";
    case SignalKind::kTopK: return "top_k";
    case SignalKind::kLogprobs: return "logprobs";
  }
  return "";
}

Digest examples_digest(std::span<const Example> examples, std::int64_t max_length) {
  Sha256 digest;
  digest.update(std::to_string(max_length) + "\n");
  for (const Example& example : examples) {
    digest.update(std::to_string(example.ids.size()) + "\n");
    digest.update(std::as_bytes(std::span(example.ids)));
    digest.update(std::as_bytes(std::span(example.supervised)));
  }
  return digest.finish();
}

Result<void> check_fits(const SignalHeader& found, const SignalHeader& wanted, const std::filesystem::path& path) {
  const auto refused = [&](const std::string& what) {
    return caller_error("The teacher's signal '" + path.string() + "' " + what +
                        ". `retort cache RECIPE` writes the one this recipe asks for in its place.");
  };
  if (found.tokenizer != wanted.tokenizer || found.vocabulary != wanted.vocabulary) {
    return refused("was made with another tokenizer (" + found.tokenizer.short_hex() + ", " +
                   std::to_string(found.vocabulary) + " tokens) than the student has (" + wanted.tokenizer.short_hex() +
                   ", " + std::to_string(wanted.vocabulary) + " tokens)");
  }
  if (found.teacher != wanted.teacher) {
    return refused("is of another teacher (digest " + found.teacher.short_hex() + "; expected " +
                   wanted.teacher.short_hex() + ")");
  }
  if (found.examples != wanted.examples || found.rows != wanted.rows) {
    return refused("is of other examples (" + std::to_string(found.rows) + " supervised tokens; expected " +
                   std::to_string(wanted.rows) + " of the training exchanges as they are now)");
  }
  if (found.kind != wanted.kind || found.slots != wanted.slots) {
    return refused("holds " + std::to_string(found.slots) + " tokens a place of kind " +
                   std::string(name_of(found.kind)) + "; the recipe asks for " + std::to_string(wanted.slots) +
                   " of kind " + std::string(name_of(wanted.kind)));
  }
  if (found.temperature != wanted.temperature) {
    return refused("was made at temperature " + Json(found.temperature).dump() + "; train.temperature is " +
                   Json(wanted.temperature).dump());
  }
  return {};
}

std::string header_bytes(const SignalHeader& header) {
  const std::string json = canonical_json({{"kind", name_of(header.kind)},
                                           {"slots", header.slots},
                                           {"tail", has_bucket(header.kind) ? "bucket" : "drawn"},
                                           {"id_bytes", header.id_bytes()},
                                           {"block_rows", kSignalBlockRows},
                                           {"vocabulary", header.vocabulary},
                                           {"rows", header.rows},
                                           {"temperature", header.temperature},
                                           {"seed", header.seed},
                                           {"tokenizer", header.tokenizer.hex()},
                                           {"teacher", header.teacher.hex()},
                                           {"examples", header.examples.hex()},
                                           {"compute", header.compute}});
  std::string bytes(kMagic);
  append_number(bytes, static_cast<std::uint64_t>(kVersion), 4);
  append_number(bytes, json.size(), 4);
  append_number(bytes, checksum64(std::as_bytes(std::span(json))), 8);
  bytes += json;
  RETORT_CHECK(bytes.size() <= kSignalHeaderBytes);
  bytes.resize(kSignalHeaderBytes, '\0');
  return bytes;
}

Result<SignalHeader> parse_header(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  if (bytes.size() < kPrefix || std::string_view(text, kMagic.size()) != kMagic) {
    return caller_error("'" + path.string() +
                        "' is not a teacher's signal. Expected a file that `retort cache` wrote.");
  }
  const auto version = static_cast<std::int64_t>(read_number(bytes.data() + 8, 4));
  if (version > kVersion) {
    return caller_error("The teacher's signal '" + path.string() + "' is of version " + std::to_string(version) +
                        ", newer than this program's " + std::to_string(kVersion) + ". Use a newer retort.");
  }
  const std::uint64_t length = read_number(bytes.data() + 12, 4);
  if (bytes.size() < kSignalHeaderBytes || length > kSignalHeaderBytes - kPrefix) {
    return damaged(path, "its header is cut off");
  }
  const std::string_view json_text(text + kPrefix, length);
  if (checksum64(std::as_bytes(std::span(json_text))) != read_number(bytes.data() + 16, 8)) {
    return damaged(path, "the checksum of its header is wrong");
  }
  const std::string what = path.string();
  RETORT_ASSIGN(const Json json, parse_json(json_text, what));
  SignalHeader header;
  RETORT_ASSIGN(const std::string kind, member<std::string>(json, "kind", what));
  constexpr std::array kKinds = {SignalKind::kSampled, SignalKind::kTopK, SignalKind::kLogprobs};
  const auto named = std::ranges::find_if(kKinds, [&](SignalKind each) { return name_of(each) == kind; });
  if (named == kKinds.end()) return damaged(path, "there is no kind '" + kind + "'");
  header.kind = *named;
  RETORT_ASSIGN(header.slots, member<std::int64_t>(json, "slots", what));
  RETORT_ASSIGN(header.vocabulary, member<std::int64_t>(json, "vocabulary", what));
  RETORT_ASSIGN(header.rows, member<std::int64_t>(json, "rows", what));
  RETORT_ASSIGN(header.temperature, member<double>(json, "temperature", what));
  RETORT_ASSIGN(header.seed, member<std::uint64_t>(json, "seed", what));
  RETORT_ASSIGN(header.compute, member<std::string>(json, "compute", what));
  for (const auto& [key, digest] : {std::pair{"tokenizer", &header.tokenizer}, std::pair{"teacher", &header.teacher},
                                    std::pair{"examples", &header.examples}}) {
    RETORT_ASSIGN(const std::string hex, member<std::string>(json, key, what));
    RETORT_ASSIGN(*digest, Digest::from_hex(hex));
  }
  RETORT_ASSIGN(const std::int64_t block_rows, member<std::int64_t>(json, "block_rows", what));
  RETORT_ASSIGN(const std::int64_t id_bytes, member<std::int64_t>(json, "id_bytes", what));
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  if (header.slots < 1 || header.slots > 1024 || header.vocabulary < 1 || header.vocabulary > (1 << 24) ||
      header.rows < 0 || header.rows > kMost || block_rows != kSignalBlockRows || id_bytes != header.id_bytes()) {
    return damaged(path, "its header has impossible sizes");
  }
  return header;
}

void append_row(std::string& to, const SignalHeader& header, const SignalRow& row) {
  RETORT_CHECK(static_cast<std::int64_t>(row.slots.size()) == header.slots);
  append_float(to, row.log_z);
  append_float(to, row.entropy);
  for (const SignalSlot& slot : row.slots) {
    append_number(to, static_cast<std::uint64_t>(slot.id), static_cast<std::size_t>(header.id_bytes()));
    append_number(to, static_cast<std::uint64_t>(std::lround(slot.weight * kUnits)), 2);
  }
}

std::uint64_t block_checksum(std::span<const std::byte> rows, std::int64_t block) {
  return checksum64(rows) + static_cast<std::uint64_t>(block);  // so that blocks can't change places
}

Result<SignalFile> SignalFile::open(const std::filesystem::path& path) {
  RETORT_ASSIGN(MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  RETORT_ASSIGN(SignalHeader header, parse_header(bytes, path));
  if (bytes.size() != kSignalHeaderBytes + body_bytes(header)) {
    return damaged(path, "it has " + std::to_string(bytes.size()) + " bytes; expected " +
                             std::to_string(kSignalHeaderBytes + body_bytes(header)));
  }
  for (std::int64_t first = 0, block = 0; first < header.rows; first += kSignalBlockRows, ++block) {
    const auto size = static_cast<std::size_t>(std::min(kSignalBlockRows, header.rows - first) * header.row_bytes());
    const std::size_t begin = block_offset(header, block);
    if (block_checksum(bytes.subspan(begin, size), block) != read_number(bytes.data() + begin + size, 8)) {
      return damaged(path, "the checksum of block " + std::to_string(block) + " is wrong");
    }
  }
  SignalFile result(std::move(file), std::move(header));
  for (std::int64_t i = 0; i < result.header_.rows; ++i) {
    for (const SignalSlot& slot : result.row(i).slots) {
      if (slot.id >= result.header_.vocabulary) return damaged(path, "a token id lies outside the vocabulary");
    }
  }
  return result;
}

SignalRow SignalFile::row(std::int64_t index) const {
  RETORT_CHECK(index >= 0 && index < header_.rows);
  const std::byte* from = file_.bytes().data() + block_offset(header_, index / kSignalBlockRows) +
                          static_cast<std::size_t>(index % kSignalBlockRows * header_.row_bytes());
  SignalRow row;
  row.log_z = read_float(from);
  row.entropy = read_float(from + 4);
  from += 8;
  const auto id_bytes = static_cast<std::size_t>(header_.id_bytes());
  row.slots.resize(static_cast<std::size_t>(header_.slots));
  for (SignalSlot& slot : row.slots) {
    slot.id = static_cast<TokenId>(read_number(from, id_bytes));
    slot.weight = static_cast<float>(read_number(from + id_bytes, 2)) / kUnits;
    from += id_bytes + 2;
  }
  return row;
}

namespace {

// Indices of the `count` largest, largest first; of equal ones the lower index.
std::vector<std::size_t> largest_places(std::span<const float> values, std::size_t count) {
  std::vector<std::size_t> places;
  places.reserve(count + 1);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (places.size() == count && values[i] <= values[places.back()]) continue;
    auto at = places.end();
    while (at != places.begin() && values[*(at - 1)] < values[i]) --at;
    places.insert(at, i);
    if (places.size() > count) places.pop_back();
  }
  return places;
}

float rounded_by_chance(double weight, Random& random) {
  const double units = std::clamp(weight, 0.0, 1.0) * static_cast<double>(kUnits);
  const double whole = std::floor(units);
  const double kept = whole + (random.uniform() < units - whole ? 1 : 0);
  return static_cast<float>(kept) / kUnits;
}

}  // namespace

std::vector<SignalSlot> take_likeliest(std::span<const TokenId> likeliest, std::span<const float> probabilities,
                                       double sum, Random& random) {
  std::vector<SignalSlot> taken;
  const std::size_t slots = likeliest.size();
  // A token is taken for itself while its probability is at least its fair share of what is left.
  for (std::size_t i = 0; i < slots; ++i) {
    const auto p = static_cast<double>(probabilities[i]);
    if (p * static_cast<double>(slots - i) < sum) break;
    sum -= p;
    taken.push_back({likeliest[i], rounded_by_chance(p, random)});
  }
  return taken;
}

SignalSlot drawn_slot(TokenId id, double threshold, Random& random) {
  return {id, rounded_by_chance(threshold, random)};
}

std::vector<SignalSlot> draw_slots(std::span<const float> probabilities, std::size_t slots, Random& random) {
  RETORT_CHECK(slots > 0 && slots <= probabilities.size());
  std::vector<TokenId> likeliest;
  std::vector<float> theirs;
  for (const std::size_t place : largest_places(probabilities, slots)) {
    likeliest.push_back(static_cast<TokenId>(place));
    theirs.push_back(probabilities[place]);
  }
  double rest = 0;
  for (const float p : probabilities) rest += static_cast<double>(p);
  std::vector<SignalSlot> result = take_likeliest(likeliest, theirs, rest, random);
  std::vector<std::size_t> taken;
  for (const SignalSlot& slot : result) taken.push_back(static_cast<std::size_t>(slot.id));
  std::ranges::sort(taken);
  // What is left anew, without the cancellation of the difference.
  rest = 0;
  std::size_t next = 0;
  const auto is_taken = [&](std::size_t i) {
    const bool found = next < taken.size() && taken[next] == i;
    next += found ? 1 : 0;
    return found;
  };
  for (std::size_t i = 0; i < probabilities.size(); ++i)
    rest += is_taken(i) ? 0 : static_cast<double>(probabilities[i]);
  const double threshold = result.size() < slots ? rest / static_cast<double>(slots - result.size()) : 0;
  next = 0;
  double mark = random.uniform() * threshold;  // a comb of equal steps with one random shift
  double sum = 0;
  for (std::size_t i = 0; i < probabilities.size() && threshold > 0 && result.size() < slots; ++i) {
    if (is_taken(i)) continue;
    sum += static_cast<double>(probabilities[i]);
    if (sum <= mark) continue;
    mark += threshold;
    result.push_back(drawn_slot(static_cast<TokenId>(i), threshold, random));
  }
  result.resize(slots);  // a slot that rounding, or a distribution of fewer tokens, left over has weight 0
  return result;
}

SignalSlot top_slot(TokenId id, float probability) { return {id, std::floor(probability * kUnits) / kUnits}; }

std::vector<SignalSlot> top_slots(std::span<const float> probabilities, std::size_t slots) {
  RETORT_CHECK(slots > 0 && slots <= probabilities.size());
  std::vector<SignalSlot> result;
  for (const std::size_t place : largest_places(probabilities, slots)) {
    result.push_back(top_slot(static_cast<TokenId>(place), probabilities[place]));
  }
  return result;
}

}  // namespace retort::dataset
