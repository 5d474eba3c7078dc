#include "evidence/sketch.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace retort::evidence {

namespace {

std::uint64_t read_u64(const unsigned char* bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;  // little-endian machines only, as everything the project runs on
}

class SipState {
 public:
  explicit SipState(const std::array<std::uint64_t, 2>& key)
      : v_{key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL, key[0] ^ 0x6c7967656e657261ULL,
           key[1] ^ 0x7465646279746573ULL} {}
  void take(std::uint64_t word) {
    v_[3] ^= word;
    round();
    v_[0] ^= word;
  }
  std::uint64_t finish() {
    v_[2] ^= 0xff;
    for (int i = 0; i < 3; ++i) round();
    return v_[0] ^ v_[1] ^ v_[2] ^ v_[3];
  }

 private:
  void round() {
    v_[0] += v_[1];
    v_[1] = std::rotl(v_[1], 13) ^ v_[0];
    v_[0] = std::rotl(v_[0], 32);
    v_[2] += v_[3];
    v_[3] = std::rotl(v_[3], 16) ^ v_[2];
    v_[0] += v_[3];
    v_[3] = std::rotl(v_[3], 21) ^ v_[0];
    v_[2] += v_[1];
    v_[1] = std::rotl(v_[1], 17) ^ v_[2];
    v_[2] = std::rotl(v_[2], 32);
  }
  std::array<std::uint64_t, 4> v_;
};

// Eight bytes with ASCII letters lowered: a byte's high bit tells, after each addition, whether it reaches 'A' or is
// beyond 'Z'.
std::uint64_t lowered(std::uint64_t bytes) {
  constexpr std::uint64_t kEach = 0x0101010101010101ULL;
  const std::uint64_t low = bytes & (kEach * 0x7F);
  const std::uint64_t from_a = low + kEach * (0x80 - 'A');
  const std::uint64_t beyond_z = low + kEach * (0x7F - 'Z');
  const std::uint64_t upper = (from_a ^ beyond_z) & ~bytes & (kEach * 0x80);
  return bytes | (upper >> 2U);
}

// SipHash-1-3 of a word, ASCII letters lowered.
std::uint64_t hash_word(const std::array<std::uint64_t, 2>& key, std::string_view word) {
  SipState state(key);
  std::array<unsigned char, 8> piece{};
  std::size_t at = 0;
  for (; at + piece.size() <= word.size(); at += piece.size()) {
    std::memcpy(piece.data(), word.data() + at, piece.size());
    state.take(lowered(read_u64(piece.data())));
  }
  piece = {};
  for (std::size_t i = 0; at + i < word.size(); ++i) piece[i] = static_cast<unsigned char>(word[at + i]);
  state.take(lowered(read_u64(piece.data())) | (static_cast<std::uint64_t>(word.size() & 255U) << 56U));
  return state.finish();
}

std::uint64_t mix(std::uint64_t h) {
  h ^= h >> 33U;
  h *= 0xff51afd7ed558ccdULL;
  h ^= h >> 33U;
  h *= 0xc4ceb9fe1a85ec53ULL;
  return h ^ (h >> 33U);
}

constexpr bool is_ascii_word(unsigned char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '_';
}

constexpr std::array<bool, 128> kAsciiWord = [] {
  std::array<bool, 128> is_word{};
  for (std::size_t byte = 0; byte < is_word.size(); ++byte)
    is_word[byte] = is_ascii_word(static_cast<unsigned char>(byte));
  return is_word;
}();

// How many bytes a character takes that is a word by itself: U+2E80..U+D7FF and all beyond U+FFFF. 0: no such one.
std::size_t lone_character(std::string_view rest) {
  const auto lead = static_cast<unsigned char>(rest[0]);
  const auto second = rest.size() > 1 ? static_cast<unsigned char>(rest[1]) : 0U;
  if ((lead >= 0xE3 && lead <= 0xED) || (lead == 0xE2 && second >= 0xBA)) return std::min<std::size_t>(3, rest.size());
  if (lead >= 0xF0) return std::min<std::size_t>(4, rest.size());
  return 0;
}

// U+0080..U+00BF (signs of Latin-1) and U+2000..U+206F (dashes, quotation marks, spaces) separate words.
std::size_t separator(std::string_view rest) {
  const auto lead = static_cast<unsigned char>(rest[0]);
  const auto second = rest.size() > 1 ? static_cast<unsigned char>(rest[1]) : 0U;
  if (lead < 0x80) return is_ascii_word(lead) ? 0 : 1;
  if (lead == 0xC2) return std::min<std::size_t>(2, rest.size());
  if (lead == 0xE2 && (second == 0x80 || second == 0x81)) return std::min<std::size_t>(3, rest.size());
  return 0;
}

template <class Visit>
void for_each_word(std::string_view text, const Visit& visit) {
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    if (const std::size_t skipped = separator(rest); skipped > 0) {
      i += skipped;
    } else if (const std::size_t size = lone_character(rest); size > 0) {
      visit(rest.substr(0, size));
      i += size;
    } else {
      const std::size_t begin = i;
      while (i < text.size()) {
        // Most bytes are ASCII's, and told by a look at a table.
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte < 0x80 ? !kAsciiWord[byte] : separator(text.substr(i)) != 0 || lone_character(text.substr(i)) != 0) {
          break;
        }
        ++i;
      }
      visit(text.substr(begin, i - begin));
    }
  }
}

void keep_least(MinHash& minhash, std::uint64_t hash) {
  std::uint32_t& bin = minhash.bins[hash >> 58U];
  // One value is lost to the mark of an empty bin; it becomes its neighbour.
  const auto value = std::min(static_cast<std::uint32_t>(hash >> 26U), MinHash::kEmpty - 1);
  bin = std::min(bin, value);
}

std::uint64_t power(std::uint64_t base, int exponent) {
  std::uint64_t value = 1;
  for (int i = 0; i < exponent; ++i) value *= base;
  return value;
}

// Counts, for each of 64 bits, in how many words it was set: counters of 32 bits lie across planes, so that a word
// costs two operations on average, not 64.
class BitCounts {
 public:
  void add(std::uint64_t bits) {
    for (std::uint64_t& plane : planes_) {
      const std::uint64_t carry = plane & bits;
      plane ^= bits;
      bits = carry;
      if (bits == 0) return;
    }
  }
  // The bits that were set in more than `least` words: all 64 counters are compared at once, from their highest plane.
  std::uint64_t above(std::uint64_t least) const {
    std::uint64_t above = 0;
    std::uint64_t equal = ~0ULL;
    for (std::size_t i = planes_.size(); i-- > 0;) {
      const std::uint64_t wanted = (least >> i & 1U) != 0 ? ~0ULL : 0;
      above |= equal & planes_[i] & ~wanted;
      equal &= ~(planes_[i] ^ wanted);
    }
    return above;
  }

 private:
  std::array<std::uint64_t, 32> planes_{};
};

constexpr std::size_t kSketchBytes = 3 * 8 + 2 * MinHash::kBins * 4;

}  // namespace

void MinHash::merge(const MinHash& other) {
  for (std::size_t i = 0; i < kBins; ++i) bins[i] = std::min(bins[i], other.bins[i]);
}

MinHash MinHash::densified() const {
  if (std::all_of(bins.begin(), bins.end(), [](std::uint32_t bin) { return bin == kEmpty; })) return *this;
  MinHash filled = *this;
  for (std::size_t i = 0; i < kBins; ++i) {
    for (std::uint64_t attempt = 1; filled.bins[i] == kEmpty; ++attempt) {
      filled.bins[i] = bins[mix((static_cast<std::uint64_t>(i) << 32U) + attempt) >> 58U];
    }
  }
  return filled;
}

double resemblance(const MinHash& a, const MinHash& b) {
  int equal = 0;
  int either = 0;
  for (std::size_t i = 0; i < MinHash::kBins; ++i) {
    if (a.bins[i] == MinHash::kEmpty && b.bins[i] == MinHash::kEmpty) continue;
    ++either;
    if (a.bins[i] == b.bins[i]) ++equal;
  }
  return either == 0 ? 0 : static_cast<double>(equal) / either;
}

Sketcher::Sketcher(const SecretKey& secret) {
  const SecretKey derived = hkdf_sha256(bytes_of(secret), "", "retort sketch 1");
  key_ = {read_u64(derived.data()), read_u64(derived.data() + 8)};
  multiplier_ = read_u64(derived.data() + 16) | 1U;
  whitening_ = read_u64(derived.data() + 24);
}

Sketch Sketcher::sketch(std::string_view text) const {
  Sketch sketch;
  sketch.bytes = static_cast<std::int64_t>(text.size());
  const std::array<int, 2> sizes = {5, 8};
  const std::array<std::uint64_t, 2> leading = {power(multiplier_, sizes[0]), power(multiplier_, sizes[1])};
  const std::array<MinHash*, 2> kept = {&sketch.shingles5, &sketch.shingles8};
  std::array<std::uint64_t, 2> rolling{};
  std::array<std::uint64_t, 8> recent{};  // hashes of the last eight words, by number modulo 8
  BitCounts counts;
  for_each_word(text, [&](std::string_view word) {
    const std::uint64_t hash = hash_word(key_, word);
    const auto number = static_cast<std::uint64_t>(sketch.words);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const auto size = static_cast<std::uint64_t>(sizes[i]);
      rolling[i] = rolling[i] * multiplier_ + hash;
      if (number >= size) rolling[i] -= leading[i] * recent[(number - size) % recent.size()];
      if (number + 1 >= size) keep_least(*kept[i], mix(rolling[i] ^ whitening_));
    }
    recent[number % recent.size()] = hash;
    counts.add(hash);
    ++sketch.words;
  });
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sketch.words > 0 && sketch.words < sizes[i]) keep_least(*kept[i], mix(rolling[i] ^ whitening_));
  }
  sketch.simhash = counts.above(static_cast<std::uint64_t>(sketch.words) / 2);
  return sketch;
}

std::string Sketch::text() const {
  std::string raw(kSketchBytes, '\0');
  char* to = raw.data();
  const auto put = [&to](const void* from, std::size_t size) {
    std::memcpy(to, from, size);
    to += size;
  };
  put(&bytes, 8);
  put(&words, 8);
  put(&simhash, 8);
  put(shingles5.bins.data(), MinHash::kBins * 4);
  put(shingles8.bins.data(), MinHash::kBins * 4);
  return base64(raw);
}

Result<Sketch> Sketch::from_text(std::string_view text) {
  const auto raw = from_base64(text);
  if (!raw || raw->size() != kSketchBytes) return caller_error("This is no sketch; expected 716 characters of base64.");
  Sketch sketch;
  const char* from = raw->data();
  const auto get = [&from](void* to, std::size_t size) {
    std::memcpy(to, from, size);
    from += size;
  };
  get(&sketch.bytes, 8);
  get(&sketch.words, 8);
  get(&sketch.simhash, 8);
  get(sketch.shingles5.bins.data(), MinHash::kBins * 4);
  get(sketch.shingles8.bins.data(), MinHash::kBins * 4);
  return sketch;
}

std::int64_t count_words(std::string_view text) {
  std::int64_t words = 0;
  for_each_word(text, [&words](std::string_view) { ++words; });
  return words;
}

}  // namespace retort::evidence
