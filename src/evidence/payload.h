// The encrypted part of a record: nonce, ciphertext and tag under the organisation's data key of that day, bound to the
// record it belongs to, so that it opens beside no other.
//
// Internal to the module. Pure but for the random nonce; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/cryptography.h"
#include "evidence/data_keys.h"
#include "evidence/record.h"

namespace retort::evidence {

// Error: kWorld when the random generator fails.
Result<std::string> seal_payload(const Aead& aead, const DataKey& key, Kind kind, std::string_view exchange_id,
                                 std::string_view plaintext);
// Empty: changed, of another record, or another key.
std::optional<std::string> open_payload(const Aead& aead, const SecretKey& key, std::string_view key_id, Kind kind,
                                        std::string_view exchange_id, std::string_view payload);

}  // namespace retort::evidence
