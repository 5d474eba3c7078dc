// Is the tokenizer beside a Hugging Face model that of a GGUF file? Compared id by id, so that a student which starts
// from such a folder may learn from ids that the teacher's file made.
//
// tokenizer.json holds the texts in its model's vocabulary and in added_tokens; GGUF files hold the same texts, and
// fill ids that no text has with [PAD…]. How texts are split before is not compared: two tokenizers that agree here
// give the same meaning to every id. Pure; any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/json.h"
#include "gguf/metadata.h"

namespace retort::tokens {

// Error (kCaller): the first id on which they differ, with both texts; a tokenizer.json of another form.
Result<void> check_same_vocabulary(const gguf::Metadata& metadata, const Json& tokenizer, const std::string& what);

}  // namespace retort::tokens
