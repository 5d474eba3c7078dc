// A keyed sketch of a text: how alike two prompts were can be computed later from their sketches, without the prompts.
//
// Words are runs of letters, digits and other bytes that are no separator, with ASCII letters lowered; a character of
// Chinese, Japanese kana or Korean is a word by itself. A shingle is k words in a row (Broder, "On the resemblance and
// containment of documents", 1997), for k = 5 (alike) and k = 8 (the same template); a text of fewer words is one
// shingle.
//   - Each word is hashed by SipHash-1-3 under a secret key (Aumasson and Bernstein, 2012), a shingle by a polynomial
//   over
//     its words' hashes, mixed (MurmurHash3's finaliser): who lacks the key can test no guess.
//   - MinHash by one permutation (Li, Owen, Zhang, "One Permutation Hashing", 2012): a shingle's hash h falls into bin
//     h >> 58 of 64, where the least of its bits 57..26 is kept. resemblance() is their estimator, bins that agree over
//     bins that either has: unbiased for |A and B| / |A or B| over distinct shingles; its standard deviation is about
//     sqrt(J (1 - J) / 64), at most 0.063.
//   - The bins stay as they are, so the sketch of two texts together is the least of both (merge()). Where a table of
//   equal
//     bins is looked up, densified() fills empty bins from others chosen by a fixed hash (Shrivastava, "Optimal
//     Densification for Fast and Accurate Minwise Hashing", 2017).
//   - A SimHash of 64 bits over the words with their counts (Charikar, 2002): the share of equal bits is
//     1 - angle / pi.
// Sketches under different keys can't be compared.
//
// Values; a Sketcher may be used by several threads at once.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/cryptography.h"
#include "base/error.h"

namespace retort::evidence {

struct MinHash {
  static constexpr std::size_t kBins = 64;
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFF;
  std::array<std::uint32_t, kBins> bins;

  MinHash() { bins.fill(kEmpty); }
  bool operator==(const MinHash&) const = default;
  // The sketch of both sets together.
  void merge(const MinHash& other);
  // No bin is empty, unless all are. Not to be merged any more.
  MinHash densified() const;
};

// Of Jaccard similarity, 0..1; 0 when either is empty.
double resemblance(const MinHash& a, const MinHash& b);

struct Sketch {
  std::int64_t bytes = 0;
  std::int64_t words = 0;
  std::uint64_t simhash = 0;
  MinHash shingles5;
  MinHash shingles8;

  bool operator==(const Sketch&) const = default;
  // 536 bytes (docs/formats/evidence.md) as base64: 716 characters.
  std::string text() const;
  static Result<Sketch> from_text(std::string_view text);
};

class Sketcher {
 public:
  // The key is derived from `secret`; equal secrets give comparable sketches.
  explicit Sketcher(const SecretKey& secret);
  Sketch sketch(std::string_view text) const;

 private:
  std::array<std::uint64_t, 2> key_{};
  std::uint64_t multiplier_ = 0;
  std::uint64_t whitening_ = 0;
};

// Bytes and words alone: what is counted where no sketch is wanted.
std::int64_t count_words(std::string_view text);

}  // namespace retort::evidence
