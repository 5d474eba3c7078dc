// The normal form of what people register and pay with, so that the same thing gives the same keyed hash.
//
// Pure; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort::callers {

// "card", "bank_account", "wallet" (of payment); "email", "domain", "phone", "device" (of registration).
std::span<const std::string_view> payment_kinds();
std::span<const std::string_view> registration_kinds();

// card, bank_account, wallet, device: the processor's or maker's own fingerprint, trimmed. A whole card number is
// refused: it must never reach this program. email and domain: lower case. phone: digits alone, at least 5.
// Error: an unknown kind, or a value that can't be one of its kind; the sentence doesn't repeat the value.
Result<std::string> normalised_trait(std::string_view kind, std::string_view value);

}  // namespace retort::callers
