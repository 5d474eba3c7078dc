#include "api/blobs.h"

#include <algorithm>
#include <array>
#include <vector>

#include "api/conversation.h"
#include "api/json_dom.h"
#include "api/json_spans.h"

namespace retort::api {
namespace {

using AskFate = std::function<BlobFate(std::string_view blob, const Digest& prefix)>;

// Goes over the turns of a body, asks what shall become of their blobs, and writes down the changes.
class Rewriting {
 public:
  Rewriting(Operation operation, std::string_view body, const AskFate& ask)
      : operation_(operation), spans_(body), ask_(ask), digest_(operation) {}

  Result<void> over(Element root) {
    const std::string_view key = turns_key(operation_);
    const auto turns = part(root, key);
    std::size_t index = 0;
    std::vector<bool> removed;
    Result<void> result;
    each(turns, [&](Element turn) {
      if (!result) return;
      bool remove = false;
      result = operation_ == Operation::kResponses ? take_item(turn, index, remove) : take_message(turn, index, remove);
      removed.push_back(remove);
      digest_.add(turn);
      ++index;
    });
    RETORT_TRY(result);
    if (std::find(removed.begin(), removed.end(), true) != removed.end()) remove_parts(places(), removed, patches_);
    return {};
  }

  std::string rewritten(std::string_view body) && {
    return patches_.empty() ? std::string(body) : patched(body, std::move(patches_));
  }

 private:
  // The turns in the body; looked for once there is something to change.
  const std::vector<Span>& places() {
    if (!looked_) places_ = spans_.elements(spans_.member(spans_.root(), turns_key(operation_)));
    looked_ = true;
    return places_;
  }

  // Asks for the blob under `key` of a block, if there is one. `place`: a function that finds the block.
  template <class Place>
  Result<void> take_blob(Element block, std::string_view key, const Place& place, bool& remove) {
    const std::string_view blob = text_at(block, key);
    if (blob.empty()) return {};
    BlobFate fate = ask_(blob, digest_.prefix());
    if (fate.kind == BlobFate::Kind::kRefuse) return caller_error(std::move(fate.sentence));
    if (fate.kind == BlobFate::Kind::kDrop) {
      remove = true;
    } else if (fate.blob != blob) {
      patches_.push_back({spans_.member(place(), key), quoted_string(fate.blob)});
    }
    return {};
  }

  Result<void> take_item(Element item, std::size_t index, bool& remove) {
    const std::string_view type = text_at(item, "type");
    if (type != "reasoning" && type != "compaction") return {};
    return take_blob(
        item, "encrypted_content", [&] { return places()[index]; }, remove);
  }

  Result<void> take_message(Element message, std::size_t index, bool& remove) {
    const bool chat = operation_ == Operation::kChat;
    const std::string_view list_key = chat ? "reasoning_details" : "content";
    std::optional<std::vector<Span>> found;
    const auto list = [&]() -> const std::vector<Span>& {
      if (!found) found = spans_.elements(spans_.member(places()[index], list_key));
      return *found;
    };
    std::vector<bool> gone;
    Result<void> result;
    each(part(message, list_key), [&](Element block) {
      if (!result) return;
      const auto place = [&] { return list()[gone.size()]; };
      const std::string_view type = text_at(block, "type");
      bool drop = false;
      if (chat || type == "thinking") result = take_blob(block, "signature", place, drop);
      if (result && (chat || type == "redacted_thinking")) result = take_blob(block, "data", place, drop);
      gone.push_back(drop);
    });
    RETORT_TRY(result);
    const auto dropped = std::count(gone.begin(), gone.end(), true);
    if (dropped == 0) return {};
    if (!chat && dropped == static_cast<std::ptrdiff_t>(gone.size())) {
      remove = true;
    } else {
      remove_parts(list(), gone, patches_);
    }
    return {};
  }

  Operation operation_;
  JsonSpans spans_;
  const AskFate& ask_;
  ConversationDigest digest_;
  bool looked_ = false;
  std::vector<Span> places_;
  std::vector<Patch> patches_;
};

Result<Element> root_of(JsonReader& reader, std::string_view body) {
  Element root;
  if (reader.inside().read(body, root) != simdjson::SUCCESS || !root.is_object()) {
    return caller_error("The request's body is not valid JSON; expected one JSON object and nothing after it.");
  }
  return root;
}

}  // namespace

Result<std::string> rewrite_blobs(Operation operation, std::string_view body, const AskFate& fate, JsonReader* reader) {
  std::optional<JsonReader> own;
  if (reader == nullptr) reader = &own.emplace();
  RETORT_ASSIGN(const Element root, root_of(*reader, body));
  const Operation conversation = conversation_of(operation, root);
  if (conversation == Operation::kNone) return std::string(body);
  Rewriting rewriting(conversation, body, fate);
  RETORT_TRY(rewriting.over(root));
  return std::move(rewriting).rewritten(body);
}

Result<Digest> conversation_digest(Operation operation, std::string_view body, JsonReader* reader) {
  std::optional<JsonReader> own;
  if (reader == nullptr) reader = &own.emplace();
  RETORT_ASSIGN(const Element root, root_of(*reader, body));
  const Operation conversation = conversation_of(operation, root);
  ConversationDigest digest(conversation);
  if (conversation != Operation::kNone) {
    const auto turns = part(root, turns_key(conversation));
    if (turns && turns->is_string()) digest.add_text(text_of(*turns));
    each(turns, [&](Element turn) { digest.add(turn); });
  }
  return digest.prefix();
}

}  // namespace retort::api
