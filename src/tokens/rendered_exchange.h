// The tokens of an exchange whose answer came as text, as over an API: what a model's own template and tokenizer make
// of it.
//
// They are worked out when the exchange is read and never stored, so that its id is that of what was collected, and one
// collection serves students of different tokenizers. Pure; any thread.
#pragma once

#include <cstddef>

#include "base/error.h"
#include "exchange/exchange.h"
#include "tokens/chat_format.h"

namespace retort::tokens {

// Fills exchange.tokens where it is empty; otherwise gives the exchange as it is. The answer's span includes the end of
// turn when the answer ended (or nobody knows whether it did), and no end is invented for one that was cut. Where the
// service told the answer's tokens and all of them are tokens here (tokens/answer_tokens.h), the answer's ids are
// those, and marked as sampled; else they are not the teacher's. What is beyond `context_tokens` is left off. Error
// (kCaller): the template can't write these messages; they hold calls of tools, which templates aren't given yet.
Result<Exchange> with_rendered_tokens(Exchange exchange, const ChatFormat& format, std::size_t context_tokens);

}  // namespace retort::tokens
