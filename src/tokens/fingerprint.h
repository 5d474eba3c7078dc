// The identity of a vocabulary: what decides which ids a text gets. Pure; any thread.
#pragma once

#include "base/digest.h"
#include "gguf/metadata.h"

namespace retort::tokens {

// SHA-256 over the keys of tokenizer.ggml.* that decide tokenization, with their values. The chat template isn't in it.
Digest vocabulary_fingerprint(const gguf::Metadata& metadata);

}  // namespace retort::tokens
