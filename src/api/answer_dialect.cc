#include "api/answer_dialect.h"

#include <algorithm>

namespace retort::api {

void AnswerState::add_text(std::string_view text, bool first_choice) {
  facts.text_bytes += static_cast<std::int64_t>(text.size());
  if (edits.keep_text && first_choice) facts.text += text;
}

void AnswerState::add_reasoning(std::string_view text, bool first_choice) {
  facts.reasoning_seen = facts.reasoning_seen || !text.empty();
  facts.reasoning_bytes += static_cast<std::int64_t>(text.size());
  if (edits.keep_text && first_choice) facts.reasoning += text;
}

std::string AnswerState::sealed(std::string_view blob) {
  const auto [at, fresh] = sealed_.try_emplace(std::string(blob));
  if (fresh) at->second = edits.seal(blob);
  return at->second;
}

void AnswerState::seal_value(const JsonSpans& spans, Span value, std::vector<Patch>& patches) {
  if (!edits.seal || value.empty() || spans.text(value).front() != '"') return;
  const std::string blob = decoded_string(spans.text(value));
  if (!blob.empty()) patches.push_back({value, quoted_string(sealed(blob))});
}

bool says(const std::optional<Element>& value) {
  if (!value || value->is_null()) return false;
  std::string_view text;
  if (value->get(text) == simdjson::SUCCESS) return !text.empty();
  simdjson::dom::array elements;
  if (value->get(elements) == simdjson::SUCCESS) return elements.begin() != elements.end();
  return true;
}

EditableEvent editable(const FramedEvent& event) {
  if (event.data_lines == 1) {
    return {std::string(event.raw), static_cast<std::size_t>(event.data.data() - event.raw.data())};
  }
  // Between the values of a JSON text a space says what the end of a line does.
  EditableEvent copy;
  std::string_view raw = event.raw;
  bool written = false;
  while (!raw.empty()) {
    const std::size_t end = std::min(raw.find_first_of("\r\n"), raw.size());
    const std::string_view line = raw.substr(0, end);
    raw.remove_prefix(std::min(raw.size(), end + (raw.substr(end).starts_with("\r\n") ? 2U : 1U)));
    const bool is_data = line.starts_with("data") && (line.size() == 4 || line[4] == ':');
    if (is_data && written) continue;
    if (is_data) {
      written = true;
      copy.raw += "data: ";
      copy.data_at = copy.raw.size();
      copy.raw += event.data;
      std::replace(copy.raw.begin() + static_cast<std::ptrdiff_t>(copy.data_at), copy.raw.end(), '\n', ' ');
    } else {
      copy.raw += line;
    }
    copy.raw += '\n';
  }
  return copy;
}

std::string with_patches(const FramedEvent& event, std::vector<Patch> patches) {
  const auto shift = [&](std::size_t by) {
    for (Patch& patch : patches) {
      patch.span.begin += by;
      patch.span.end += by;
    }
  };
  if (event.data_lines == 1) {
    shift(static_cast<std::size_t>(event.data.data() - event.raw.data()));
    return patched(event.raw, std::move(patches));
  }
  const EditableEvent copy = editable(event);
  shift(copy.data_at);
  return patched(copy.raw, std::move(patches));
}

}  // namespace retort::api
