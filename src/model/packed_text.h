// Token sequences that a model is measured on, packed into one row without padding.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/error.h"
#include "exchange/exchange.h"
#include "model/decoder.h"

namespace retort::model {

// A token sequence that is typical for the purpose.
struct MeasuredSequence {
  std::vector<TokenId> ids;
  // judged[i] != 0: the distribution after token i counts in the KL. Empty: all do; so they do where none is in reach.
  std::vector<std::uint8_t> judged;
};

struct PackedText {
  TokenBatch batch;                  // one row; a document is a sequence
  std::vector<std::int64_t> judged;  // places in it
};

// Sequences cut to `max_tokens` in all and `max_length` each; those of one token are left out. Error (kCaller): nothing
// is left; a token outside the vocabulary.
Result<PackedText> pack_text(std::span<const MeasuredSequence> sequences, const DecoderConfig& config,
                             std::int64_t max_tokens,
                             std::int64_t max_length = std::numeric_limits<std::int64_t>::max());

}  // namespace retort::model
