// What the teacher says of each supervised token, kept on disk: a few tokens of its distribution with their weights.
//
// docs/formats/teacher-signal.md has the bytes. Rows stand in the order of the examples, and within one in the order of
// its targets, cut as packing cuts it (dataset/example.h, target_count). The file says for whom it was made; check_fits
// refuses another teacher, tokenizer, data or temperature.
//
// SignalFile is immutable; any thread. Draws are pure but for the Random passed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json_fwd.h"
#include "base/random.h"
#include "dataset/example.h"

namespace retort::dataset {

enum class SignalKind : std::uint8_t {
  kSampled,  // drawn tokens: the expectation of the weights is the teacher's distribution
  kTopK,     // the likeliest tokens with their probabilities; what is left is the tail's, as one bucket
  // What a service told: the likeliest tokens with their probabilities, and the answer's own token with weight 1 where
  // it isn't among them, for it was drawn in place of all others. The expectation of the weights is the teacher's
  // distribution, where answers are drawn from it as it is. Of a place of which nothing was told, the token alone.
  kLogprobs,
};
std::string_view name_of(SignalKind kind);  // "sampled", "top_k", "logprobs"
// Whether what the weights lack of 1 is the probability of all other tokens together.
constexpr bool has_bucket(SignalKind kind) { return kind == SignalKind::kTopK; }

struct SignalHeader {
  SignalKind kind = SignalKind::kSampled;
  std::int64_t slots = 0;  // tokens a row: draws, or k
  std::int64_t vocabulary = 0;
  std::int64_t rows = 0;
  double temperature = 1;  // the logits were divided by it
  std::uint64_t seed = 0;  // of the draws
  Digest tokenizer;        // fingerprint
  Digest teacher;          // of its file; of a service, what decides its answers
  Digest examples;         // ids, supervised places and where they are cut: examples_digest()
  std::string compute;     // type the teacher computed in

  std::int64_t id_bytes() const { return vocabulary <= 65'536 ? 2 : 3; }
  std::int64_t row_bytes() const { return 8 + slots * (id_bytes() + 2); }
  bool operator==(const SignalHeader&) const = default;
};

// One token of a row. Weights are kept in 65,535ths.
struct SignalSlot {
  TokenId id = 0;
  float weight = 0;
};

struct SignalRow {
  // Log of the sum of exp(logit / temperature): a kept token's logit is T (log p + log_z). 0 with kLogprobs: not told.
  float log_z = 0;
  float entropy = 0;  // of the teacher's whole distribution, nats; with kLogprobs an estimate without bias
  std::vector<SignalSlot> slots;
};

inline constexpr std::int64_t kSignalBlockRows = 1024;  // rows under one checksum
inline constexpr std::size_t kSignalHeaderBytes = 4096;

Digest examples_digest(std::span<const Example> examples, std::int64_t max_length);

// `wanted` against what a file says of itself. Error (kCaller): what differs, in a sentence that names `path`.
Result<void> check_fits(const SignalHeader& found, const SignalHeader& wanted, const std::filesystem::path& path);

class SignalFile {
 public:
  // Maps the file and checks every block. Error (kCaller): not such a file, of a newer version, damaged or unfinished.
  static Result<SignalFile> open(const std::filesystem::path& path);

  const SignalHeader& header() const { return header_; }
  // Row `index` of header().rows.
  SignalRow row(std::int64_t index) const;

 private:
  SignalFile(MappedFile file, SignalHeader header) : file_(std::move(file)), header_(std::move(header)) {}
  MappedFile file_;
  SignalHeader header_;
};

// Exactly `slots` tokens of a distribution, weighted so that the expectation of each token's weight is its probability:
// tokens above a threshold t are taken with their own probability, the others drawn systematically with chance p / t
// and given the weight t, where t makes it `slots` together (Horvitz and Thompson, JASA 47, 1952; systematic sampling
// with probability proportional to size: Madow, Ann. Math. Stat. 20, 1949). Each token at most once, and the weights
// sum to 1. Less noise than independent draws (Anshumann et al., arXiv 2503.16870), and as unbiased. Weights are
// rounded to 65,535ths by chance, so that rounding has no bias either. `probabilities` sum to 1 up to rounding.
std::vector<SignalSlot> draw_slots(std::span<const float> probabilities, std::size_t slots, Random& random);

// The parts of it, for a distribution that lies elsewhere (train/signal_tensors.h). First those of the `slots`
// likeliest tokens (largest first; all of them are given) that are taken for themselves, a beginning of them; `sum` is
// of all probabilities. Then random.uniform() is the comb's shift, and each token that a tooth hits becomes a
// drawn_slot().
std::vector<SignalSlot> take_likeliest(std::span<const TokenId> likeliest, std::span<const float> probabilities,
                                       double sum, Random& random);
SignalSlot drawn_slot(TokenId id, double threshold, Random& random);

// The likeliest tokens, likeliest first, with their probabilities rounded down.
std::vector<SignalSlot> top_slots(std::span<const float> probabilities, std::size_t slots);
SignalSlot top_slot(TokenId id, float probability);

// ---- bytes; for SignalFile and SignalWriter ----
std::string header_bytes(const SignalHeader& header);  // kSignalHeaderBytes
Result<SignalHeader> parse_header(std::span<const std::byte> bytes, const std::filesystem::path& path);
void append_row(std::string& to, const SignalHeader& header, const SignalRow& row);
std::uint64_t block_checksum(std::span<const std::byte> rows, std::int64_t block);

}  // namespace retort::dataset
