// The texts of a request's prompt, wherever its dialect has them. Not for other modules.
//
// Pure; any thread, as far as the reader's tree allows.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "api/json_dom.h"
#include "api/route.h"

namespace retort::api {

struct PromptVisitor {
  std::function<void(std::string_view text)> text;
  std::function<void(std::int64_t count)> token_ids;  // a prompt given as ids
  std::function<void(Element block)> media;           // an image, sound or file
};

// System or instructions first, then the conversation in order.
void visit_prompt(Operation operation, Element root, const PromptVisitor& visitor);

// Of keys, strings and scalars (four each) in a value.
std::int64_t bytes_of(Element value);

// Whether opaque reasoning may be in the conversation (api/blobs.h).
bool may_hold_blobs(Operation operation, Element root);

}  // namespace retort::api
