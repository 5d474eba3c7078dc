// Batches: the requests in an uploaded file (OpenAI, a JSON object a line) or in a request's list (Anthropic), and the
// answers in a file of results.
//
// Requests are handed over one by one, and may be changed; what isn't changed keeps its bytes. Refused is what two
// readers could read in two ways: a key twice where this looks, a line that is not one JSON object, a path that isn't
// plain. Pure, but for the visitor; one `reader` a thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/answer.h"
#include "api/json_reader.h"
#include "api/route.h"
#include "base/error.h"

namespace retort::api {

struct BatchRequest {
  std::size_t number = 0;  // of its line, or in the list: the first is 1
  Operation operation = Operation::kChat;
  std::string_view body;  // JSON; valid during the visit
};

// What the request becomes; nothing: it stays. An error ends the reading and is given back as it is.
using BatchVisitor = std::function<Result<std::optional<std::string>>(const BatchRequest&)>;

// "The batch's line 3": how a request is named to its caller.
std::string name_of(const BatchRequest& request, Family family);

struct BatchFile {
  std::string path;  // "/v1/chat/completions": what all its lines ask for
  std::size_t requests = 0;
  std::string changed;  // the file, where a request was changed; else ""
};

// Error (kCaller): a sentence with the line's number, or the visitor's error. `reader`: memory to use; null: its own.
Result<BatchFile> read_batch_file(std::string_view lines, const BatchVisitor& visit, JsonReader* reader = nullptr);

struct BatchList {
  std::size_t requests = 0;
  std::string changed;  // the request's body, where one of them was changed; else ""
};
// Of POST /v1/messages/batches.
Result<BatchList> read_batch_list(std::string_view body, const BatchVisitor& visit, JsonReader* reader = nullptr);

// What POST /v1/batches makes a batch of.
struct BatchOrder {
  std::string file;  // input_file_id
  std::string path;  // endpoint
};
Result<BatchOrder> read_batch_order(std::string_view body, JsonReader* reader = nullptr);

// A line of a file of results with the answer in it as `edits` have it. A line without one stays as it is.
std::string edited_result(std::string_view line, const AnswerEdits& edits, const std::shared_ptr<JsonReader>& reader);

}  // namespace retort::api
