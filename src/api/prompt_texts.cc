#include "api/prompt_texts.h"

#include <algorithm>
#include <array>

namespace retort::api {
namespace {

using simdjson::dom::element_type;

bool is_media(std::string_view type) {
  constexpr std::array<std::string_view, 11> kTypes = {
      "image", "image_url",  "input_image", "input_audio", "audio_url",       "audio",
      "file",  "input_file", "document",    "video_url",   "container_upload"};
  return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

void visit_content(Element content, const PromptVisitor& visitor);

void visit_block(Element block, const PromptVisitor& visitor) {
  if (block.type() == element_type::STRING) {
    visitor.text(text_of(block));
    return;
  }
  if (block.type() != element_type::OBJECT) return;
  const std::string_view type = text_at(block, "type");
  if (is_media(type)) {
    const auto source = part(block, "source");
    const std::string_view kind = source ? text_at(*source, "type") : std::string_view();
    // A document may be plain text, or blocks of it.
    if (kind == "text") {
      visitor.text(text_at(*source, "data"));
    } else if (kind == "content") {
      if (const auto content = part(*source, "content")) visit_content(*content, visitor);
    } else {
      visitor.media(block);
    }
    return;
  }
  for (const std::string_view key : {"text", "refusal"}) {
    if (const auto text = part(block, key)) visitor.text(text_of(*text));
  }
  for (const std::string_view key : {"content", "output"}) {
    if (const auto content = part(block, key)) visit_content(*content, visitor);
  }
}

void visit_content(Element content, const PromptVisitor& visitor) {
  if (content.type() == element_type::STRING) {
    visitor.text(text_of(content));
  } else {
    each(content, [&](Element block) { visit_block(block, visitor); });
  }
}

// "…", ["…"], [ids], [[ids]].
void visit_plain(Element prompt, const PromptVisitor& visitor) {
  std::int64_t ids = 0;
  each(prompt, [&](Element element) {
    if (element.type() == element_type::INT64 || element.type() == element_type::UINT64) {
      ++ids;
    } else if (element.type() == element_type::ARRAY) {
      visit_plain(element, visitor);
    } else {
      visit_block(element, visitor);
    }
  });
  if (ids > 0) visitor.token_ids(ids);
  if (prompt.type() == element_type::STRING) visitor.text(text_of(prompt));
}

void visit_items(Element input, const PromptVisitor& visitor) {
  if (input.type() == element_type::STRING) {
    visitor.text(text_of(input));
    return;
  }
  each(input, [&](Element item) {
    const std::string_view type = text_at(item, "type");
    if (type == "reasoning" || type == "function_call") return;
    visit_block(item, visitor);
  });
}

}  // namespace

void visit_prompt(Operation operation, Element root, const PromptVisitor& visitor) {
  const auto messages = [&] {
    each(part(root, "messages"), [&](Element message) {
      if (const auto content = part(message, "content")) visit_content(*content, visitor);
    });
  };
  const auto named = [&](std::string_view key, void (*visit)(Element, const PromptVisitor&)) {
    if (const auto value = part(root, key)) visit(*value, visitor);
  };
  switch (operation) {
    case Operation::kChat: messages(); break;
    case Operation::kMessages:
      named("system", visit_content);
      messages();
      break;
    case Operation::kCountTokens:
      named("system", visit_content);
      named("instructions", visit_content);
      messages();
      named("input", visit_items);
      break;
    case Operation::kResponses:
      named("instructions", visit_content);
      named("input", visit_items);
      break;
    case Operation::kCompletions: named("prompt", visit_plain); break;
    case Operation::kEmbeddings:
    case Operation::kModerations: named("input", visit_plain); break;
    default: break;
  }
}

std::int64_t bytes_of(Element value) {
  switch (value.type()) {
    case element_type::STRING: return static_cast<std::int64_t>(text_of(value).size());
    case element_type::ARRAY: {
      std::int64_t bytes = 0;
      each(value, [&](Element element) { bytes += bytes_of(element); });
      return bytes;
    }
    case element_type::OBJECT: {
      std::int64_t bytes = 0;
      each_member(value, [&](std::string_view key, Element member) {
        bytes += static_cast<std::int64_t>(key.size()) + bytes_of(member);
      });
      return bytes;
    }
    default: return 4;
  }
}

bool may_hold_blobs(Operation operation, Element root) {
  bool found = false;
  if (operation == Operation::kResponses || operation == Operation::kCountTokens) {
    each(part(root, "input"), [&](Element item) { found = found || part(item, "encrypted_content").has_value(); });
  }
  if (operation == Operation::kMessages || operation == Operation::kCountTokens) {
    each(part(root, "messages"), [&](Element message) {
      each(part(message, "content"), [&](Element block) {
        const std::string_view type = text_at(block, "type");
        found = found || type == "thinking" || type == "redacted_thinking";
      });
    });
  }
  if (operation == Operation::kChat) {
    each(part(root, "messages"),
         [&](Element message) { found = found || part(message, "reasoning_details").has_value(); });
  }
  return found;
}

}  // namespace retort::api
