// Opaque reasoning in a conversation: where it is, and what comes before it.
//
// Anthropic messages: content blocks {"type":"thinking","thinking","signature"} (the signature is the blob) and
// {"type":"redacted_thinking","data"}. OpenAI responses: items {"type":"reasoning","encrypted_content"}. Chat: the
// fields reasoning_details[].{data,signature} that some servers use. Pure; any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "api/route.h"
#include "base/digest.h"
#include "base/error.h"

namespace retort::api {

// What to do with a blob of a request.
struct BlobFate {
  enum class Kind { kReplace, kDrop, kRefuse } kind = Kind::kReplace;
  std::string blob;      // kReplace: what upstream gets
  std::string sentence;  // kRefuse: for the client
};

// Calls `fate` for every blob of a request's body, in order, with the digest of the conversation before it, and returns
// the body with the changes (the same bytes where nothing changed). A dropped blob takes its block or item with it (a
// message that would be left empty is taken out too). Error (kCaller): the sentence of a refusal.
// The digest leaves out what honest clients change from turn to turn: cache_control, ids of items, the difference
// between a string and one block of text; and counts up to the last item of the client's own before the blob.
Result<std::string> rewrite_blobs(Operation operation, std::string_view body,
                                  const std::function<BlobFate(std::string_view blob, const Digest& prefix)>& fate);

// The digest of a request's whole conversation: what blobs in its answer are bound to.
Result<Digest> conversation_digest(Operation operation, std::string_view body);

}  // namespace retort::api
