// A signed head: who holds the public key knows that the chain up to a record was written by the holder of the private
// one, and that nothing before it was changed since.
//
// Values; pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/cryptography.h"
#include "base/digest.h"
#include "base/error.h"

namespace retort::evidence {

struct Head {
  std::uint64_t sequence = 0;  // of the last record it speaks of
  Digest chain;                // after that record
  std::string time;            // RFC 3339
  bool closed = false;         // the spool was closed in order: nothing but this head came after
  std::string key;             // the public key's id
};

// Canonical JSON with the signature: a head record's text.
std::string signed_head(const Head& head, const SigningKey& key);
// Error (kCaller): not a head, or not signed by this key.
Result<Head> read_head(std::string_view text, const PublicKey& key);

}  // namespace retort::evidence
