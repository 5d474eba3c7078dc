// The text of an API key: rg_<public id>_<secret and checksum>, base62 (docs/formats/callers.md).
//
//     rg_ 12 characters _ 32 characters + 6 of checksum
//
// The public id finds the key in one look-up and may be logged; the secret has 190 bits, is shown once and is kept
// nowhere but as a keyed hash. The checksum tells a key that was mistyped or cut from one that was never issued,
// without asking anything. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort::callers {

struct ApiKeyParts {
  std::string_view id;      // 12 characters
  std::string_view secret;  // 32 characters
};

enum class ApiKeyForm {
  kWell,
  kForeign,   // not of this form: a key of somebody else's
  kMistyped,  // of this form, and the checksum disagrees
};

// `parts` point into `text` and are set for kWell alone.
ApiKeyForm read_api_key(std::string_view text, ApiKeyParts& parts);

struct NewApiKey {
  std::string id;
  std::string secret;  // 32 characters, without the checksum
  std::string text;    // what the caller is given
};

// From the system's cryptographic generator.
Result<NewApiKey> make_api_key();

// Whether `text` has the form of a public id; for commands that name a key.
bool is_api_key_id(std::string_view text);

}  // namespace retort::callers
