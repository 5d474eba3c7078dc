// Opaque reasoning in a conversation: where it is, and what comes before it.
//
// Anthropic messages: content blocks {"type":"thinking","thinking","signature"} (the signature is the blob) and
// {"type":"redacted_thinking","data"}. OpenAI responses: items {"type":"reasoning","encrypted_content"}, and those of
// type "compaction". Chat: the fields reasoning_details[].{data,signature} that some servers use. An empty string is no
// blob. A request to count tokens has the conversation that it counts. Pure; any thread, one `reader` a thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "api/json_reader.h"
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
// message that would be left empty is taken out too). Error (kCaller): the sentence of a refusal, or of what isn't
// JSON.
//
// The digest is of the turns up to the last one of the client's own (a user's turn, a tool's result) before the blob:
// so all blobs of one answer have the same, and it is that of the request which the answer came to. It leaves out what
// honest clients change from turn to turn: cache_control, ids and states of items, members that are null, the
// difference between a string and one block of text, opaque reasoning itself, and the system's turns, instructions and
// tools (many have a clock in them). `reader`: memory to use; null: its own.
Result<std::string> rewrite_blobs(Operation operation, std::string_view body,
                                  const std::function<BlobFate(std::string_view blob, const Digest& prefix)>& fate,
                                  JsonReader* reader = nullptr);

// The digest of a request's whole conversation: what blobs in its answer are bound to.
Result<Digest> conversation_digest(Operation operation, std::string_view body, JsonReader* reader = nullptr);

}  // namespace retort::api
