#include "api/route.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "base/text.h"

namespace retort::api {
namespace {

using Segments = std::vector<std::string_view>;

// What stands between the slashes; nothing when the path could be read as another.
std::optional<Segments> segments_of(std::string_view path) {
  if (!path.starts_with('/')) return std::nullopt;
  Segments segments;
  std::size_t begin = 1;
  while (true) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    if (segment.empty() || segment == "." || segment == "..") return std::nullopt;
    segments.push_back(segment);
    if (end == path.size()) return segments;
    begin = end + 1;
  }
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

// A segment that is a word of the API, not an id: nothing in it that a server might decode, cut off or fold.
bool is_word(std::string_view segment) {
  return std::all_of(segment.begin(), segment.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

// An id, decoded once; nothing when decoding it again, or reading it as a path, would give something else.
std::optional<std::string> id_of(std::string_view encoded) {
  Result<std::string> id = net::percent_decode(encoded);
  if (!id || id->empty() || !is_valid_utf8(*id)) return std::nullopt;
  if (std::any_of(id->begin(), id->end(), [](char c) { return is_control(c) || c == '%' || c == '\\'; })) {
    return std::nullopt;
  }
  for (const std::string& part : split(*id, '/')) {
    if (part.empty() || part == "." || part == "..") return std::nullopt;
  }
  return *std::move(id);
}

struct Asked {
  Operation operation = Operation::kOther;
  bool anthropic = false;      // by its path
  bool shared = false;         // both APIs have this path
  std::size_t id_from = 0;     // the segment that is an id; 0: none is
  bool id_to_the_end = false;  // the id is all that follows, slashes too
};

Asked asked_of_chat(std::string_view method, const Segments& segments) {
  if (segments.size() < 3 || segments[2] != "completions") return {};
  if (segments.size() == 3) {
    if (method == "POST") return {.operation = Operation::kChat};
    return {.operation = method == "GET" ? Operation::kStored : Operation::kOther};
  }
  const bool listed = method == "GET" || (segments.size() == 4 && (method == "POST" || method == "DELETE"));
  const bool known = segments.size() == 4 || (segments.size() == 5 && segments[4] == "messages");
  return {.operation = listed && known ? Operation::kStored : Operation::kOther, .id_from = 3};
}

Asked asked_of_responses(std::string_view method, const Segments& segments) {
  if (segments.size() == 2) {
    if (method == "POST") return {.operation = Operation::kResponses};
    return {.operation = method == "GET" ? Operation::kStored : Operation::kOther};
  }
  if (segments.size() == 3 && method == "POST" && segments[2] == "input_tokens") {
    return {.operation = Operation::kCountTokens};
  }
  if (segments.size() == 3 && method == "POST" && segments[2] == "compact") return {};
  const bool known =
      segments.size() == 3 || (segments.size() == 4 && (segments[3] == "cancel" || segments[3] == "input_items"));
  const bool method_known = method == "GET" || method == "POST" || method == "DELETE";
  return {.operation = known && method_known ? Operation::kStored : Operation::kOther, .id_from = 2};
}

Asked asked_of_messages(std::string_view method, const Segments& segments) {
  Asked asked{.anthropic = true};
  if (segments.size() == 2 && method == "POST") asked.operation = Operation::kMessages;
  if (segments.size() == 3 && segments[2] == "count_tokens" && method == "POST") {
    asked.operation = Operation::kCountTokens;
  }
  if (segments.size() >= 3 && segments[2] == "batches") {
    asked.operation = Operation::kBatches;
    asked.id_from = segments.size() > 3 ? 3 : 0;
  }
  return asked;
}

Asked asked_of(std::string_view method, const Segments& segments) {
  if (segments.size() < 2) return {};
  const std::string_view first = segments[1];
  const std::size_t id_from = segments.size() > 2 ? 2 : 0;
  const bool alone = segments.size() == 2;
  if (first == "chat") return asked_of_chat(method, segments);
  if (first == "responses") return asked_of_responses(method, segments);
  if (first == "messages") return asked_of_messages(method, segments);
  if (first == "models") {
    return {.operation = method == "GET" ? Operation::kModels : Operation::kOther,
            .shared = true,
            .id_from = id_from,
            .id_to_the_end = true};
  }
  if (first == "files") return {.operation = Operation::kFiles, .shared = true, .id_from = id_from};
  if (first == "batches") return {.operation = Operation::kBatches, .id_from = id_from};
  if (first == "conversations") return {.operation = Operation::kStored, .id_from = id_from};
  if (alone && method == "POST") {
    if (first == "completions") return {.operation = Operation::kCompletions};
    if (first == "embeddings") return {.operation = Operation::kEmbeddings};
    if (first == "moderations") return {.operation = Operation::kModerations};
  }
  return {.shared = true};
}

// Whether a server that folds case would take an unknown path for a known one.
bool folds_to_known(std::string_view method, const Segments& segments) {
  std::vector<std::string> folded;
  bool changed = false;
  for (const std::string_view segment : segments) {
    folded.push_back(to_lower_ascii(segment));
    changed = changed || folded.back() != segment;
  }
  if (!changed) return false;
  const Asked asked = asked_of(method, Segments(folded.begin(), folded.end()));
  return asked.operation != Operation::kOther || asked.anthropic;
}

}  // namespace

std::string_view name_of(Operation operation) {
  switch (operation) {
    case Operation::kChat: return "chat";
    case Operation::kCompletions: return "completions";
    case Operation::kResponses: return "responses";
    case Operation::kMessages: return "messages";
    case Operation::kCountTokens: return "count_tokens";
    case Operation::kModels: return "models";
    case Operation::kEmbeddings: return "embeddings";
    case Operation::kModerations: return "moderations";
    case Operation::kFiles: return "files";
    case Operation::kBatches: return "batches";
    case Operation::kStored: return "stored";
    case Operation::kOther: return "other";
    case Operation::kNone: return "none";
  }
  return "none";
}

bool generates(Operation operation) {
  return operation == Operation::kChat || operation == Operation::kCompletions || operation == Operation::kResponses ||
         operation == Operation::kMessages;
}

std::string_view dialect_of(Operation operation) {
  switch (operation) {
    case Operation::kChat:
    case Operation::kCompletions: return "openai.chat";
    case Operation::kResponses: return "openai.responses";
    case Operation::kMessages: return "anthropic.messages";
    default: return "";
  }
}

std::optional<Operation> operation_of(std::string_view dialect) {
  for (const Operation operation : {Operation::kChat, Operation::kResponses, Operation::kMessages}) {
    if (dialect == dialect_of(operation)) return operation;
  }
  return std::nullopt;
}

Route route_of(const net::HttpRequest& request) {
  const bool says_anthropic = request.headers.find("anthropic-version").has_value();
  Route route;
  route.family = says_anthropic ? Family::kAnthropic : Family::kOpenAi;
  const std::optional<Segments> segments = segments_of(request.path);
  if (!segments || segments->size() < 2 || segments->front() != "v1") return route;
  // HEAD asks what GET would, without the body.
  const std::string_view method = request.method == "HEAD" ? std::string_view("GET") : request.method;
  const Asked asked = asked_of(method, *segments);
  for (std::size_t i = 1; i < segments->size(); ++i) {
    if (asked.id_from == 0 || i < asked.id_from || (i > asked.id_from && !asked.id_to_the_end)) {
      if (!is_word((*segments)[i])) return route;
    }
  }
  if (asked.operation == Operation::kOther && folds_to_known(method, *segments)) return route;
  if (asked.id_from > 0) {
    const std::string_view path = request.path;
    const auto from = static_cast<std::size_t>((*segments)[asked.id_from].data() - path.data());
    std::optional<std::string> id = id_of(asked.id_to_the_end ? path.substr(from) : (*segments)[asked.id_from]);
    if (!id) return route;
    route.id = *std::move(id);
  }
  route.operation = asked.operation;
  if (!asked.shared) route.family = asked.anthropic ? Family::kAnthropic : Family::kOpenAi;
  return route;
}

}  // namespace retort::api
