#include "api/batch.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "api/json_dom.h"
#include "api/json_spans.h"
#include "base/text.h"

namespace retort::api {
namespace {

constexpr std::size_t kMostMembers = 64;

std::string line_of(std::size_t number) { return "Line " + std::to_string(number) + " of the batch"; }
std::string entry_of(std::size_t number) { return "Request " + std::to_string(number) + " of the batch"; }

// An object's members, none of them twice.
struct Members {
  std::vector<std::pair<std::string, Span>> all;
  Span find(std::string_view key) const {
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.first == key; });
    return found == all.end() ? Span{} : found->second;
  }
};

Result<Members> members_of(const JsonSpans& spans, Span object, const std::string& what) {
  Members members;
  for (const MemberSpan& member : spans.members(object)) {
    std::string key = decoded_string(spans.text(member.key));
    if (members.all.size() == kMostMembers) return caller_error(what + " has more members than any batch needs.");
    const bool twice =
        std::any_of(members.all.begin(), members.all.end(), [&](const auto& one) { return one.first == key; });
    if (twice) return caller_error(what + " has '" + key + "' twice; expected each member once.");
    members.all.emplace_back(std::move(key), member.value);
  }
  return members;
}

std::string text_in(const JsonSpans& spans, Span value) {
  const std::string_view text = spans.text(value);
  return text.starts_with('"') ? decoded_string(text) : std::string();
}

bool is_object_text(const JsonSpans& spans, Span value) { return spans.text(value).starts_with('{'); }

// Refuses what isn't one JSON object.
Result<void> check_object(JsonReader& reader, std::string_view text, const std::string& what) {
  Element root;
  if (reader.inside().read(text, root) != simdjson::SUCCESS || !root.is_object()) {
    return caller_error(what + " is not one JSON object in UTF-8.");
  }
  return {};
}

bool can_be_batched(Operation operation) { return generates(operation) || operation == Operation::kEmbeddings; }

// One line; what of it is to be changed.
Result<std::optional<std::string>> read_line(std::string_view line, std::size_t number, JsonReader& reader,
                                             const BatchVisitor& visit, std::string& path) {
  const std::string what = line_of(number);
  RETORT_TRY(check_object(reader, line, what));
  const JsonSpans spans(line);
  RETORT_ASSIGN(const Members members, members_of(spans, spans.root(), what));
  net::HttpRequest asked;
  asked.method = text_in(spans, members.find("method"));
  asked.path = text_in(spans, members.find("url"));
  const Operation operation = asked.method == "POST" ? route_of(asked).operation : Operation::kNone;
  if (!can_be_batched(operation)) {
    return caller_error(what +
                        " asks for something else than a batch may have; expected \"method\": \"POST\" and a \"url\" "
                        "such as \"/v1/chat/completions\".");
  }
  if (path.empty()) path = asked.path;
  if (asked.path != path) {
    return caller_error(what + " asks for another path than the first one; expected " + path + " in all of them.");
  }
  const Span body = members.find("body");
  if (!is_object_text(spans, body)) return caller_error(what + " has no \"body\", an object.");
  RETORT_ASSIGN(auto changed, visit({number, operation, spans.text(body)}));
  if (!changed) return std::optional<std::string>();
  return std::optional(patched(line, {{body, std::move(*changed)}}));
}

}  // namespace

std::string name_of(const BatchRequest& request, Family family) {
  return family == Family::kAnthropic ? entry_of(request.number) : line_of(request.number);
}

Result<BatchFile> read_batch_file(std::string_view lines, const BatchVisitor& visit, JsonReader* reader) {
  JsonReader own;
  JsonReader& used = reader == nullptr ? own : *reader;
  BatchFile file;
  std::size_t unchanged_from = 0;  // what is not yet in file.changed begins here
  std::size_t number = 0;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    const std::string_view line = lines.substr(at, end - at);
    ++number;
    if (!trim(line).empty()) {
      ++file.requests;
      RETORT_ASSIGN(const auto changed, read_line(line, number, used, visit, file.path));
      if (changed) {
        file.changed += lines.substr(unchanged_from, at - unchanged_from);
        file.changed += *changed;
        unchanged_from = end;
      }
    }
    at = end + 1;
  }
  if (file.requests == 0) return caller_error("The batch is empty; expected a JSON object a line.");
  if (unchanged_from > 0) file.changed += lines.substr(unchanged_from);
  return file;
}

Result<BatchList> read_batch_list(std::string_view body, const BatchVisitor& visit, JsonReader* reader) {
  JsonReader own;
  JsonReader& used = reader == nullptr ? own : *reader;
  RETORT_TRY(check_object(used, body, "The body"));
  const JsonSpans spans(body);
  RETORT_ASSIGN(const Members top, members_of(spans, spans.root(), "The body"));
  BatchList list;
  std::vector<Patch> patches;
  for (const Span entry : spans.elements(top.find("requests"))) {
    const std::string what = entry_of(++list.requests);
    if (!is_object_text(spans, entry)) return caller_error(what + " is not an object.");
    RETORT_ASSIGN(const Members members, members_of(spans, entry, what));
    const Span params = members.find("params");
    if (!is_object_text(spans, params)) return caller_error(what + " has no \"params\", an object.");
    RETORT_ASSIGN(auto changed, visit({list.requests, Operation::kMessages, spans.text(params)}));
    if (changed) patches.push_back({params, std::move(*changed)});
  }
  if (list.requests == 0) return caller_error("The batch is empty; expected \"requests\", a list of objects.");
  if (!patches.empty()) list.changed = patched(body, std::move(patches));
  return list;
}

Result<BatchOrder> read_batch_order(std::string_view body, JsonReader* reader) {
  JsonReader own;
  RETORT_TRY(check_object(reader == nullptr ? own : *reader, body, "The body"));
  const JsonSpans spans(body);
  RETORT_ASSIGN(const Members members, members_of(spans, spans.root(), "The body"));
  BatchOrder order{text_in(spans, members.find("input_file_id")), text_in(spans, members.find("endpoint"))};
  if (order.file.empty() || order.path.empty()) {
    return caller_error("A batch needs \"input_file_id\" and \"endpoint\", both texts.");
  }
  return order;
}

std::string edited_result(std::string_view line, const AnswerEdits& edits, const std::shared_ptr<JsonReader>& reader) {
  Element root;
  if (reader->inside().read(line, root) != simdjson::SUCCESS || !root.is_object()) {
    return std::string(line);
  }
  const JsonSpans spans(line);
  // {"response":{"body":{…}}} of OpenAI, {"result":{"message":{…}}} of Anthropic. Of a key twice a reader may take
  // either.
  std::vector<Patch> patches;
  const auto edit = [&](std::string_view outer, std::string_view inner) {
    for (const MemberSpan& member : spans.members(spans.root())) {
      if (decoded_string(spans.text(member.key)) != outer) continue;
      for (const MemberSpan& part : spans.members(member.value)) {
        if (decoded_string(spans.text(part.key)) != inner || !is_object_text(spans, part.value)) continue;
        AnswerStream answer(inner == "message" ? Operation::kMessages : Operation::kStored, 0, edits, reader);
        const std::string_view before = spans.text(part.value);
        std::string after = answer.whole(before);
        if (after != before) patches.push_back({part.value, std::move(after)});
      }
    }
  };
  edit("response", "body");
  edit("result", "message");
  return patches.empty() ? std::string(line) : patched(line, std::move(patches));
}

}  // namespace retort::api
