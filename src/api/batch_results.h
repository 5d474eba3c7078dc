// What a batch came to: how it stands as the provider tells it, and what its answers used.
//
// Read only: nothing is changed on its way. Pure; one `reader` a thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer.h"
#include "api/json_reader.h"

namespace retort::api {

struct BatchState {
  std::string id;
  bool ended = false;          // nothing more will be answered: completed, failed, expired or cancelled
  std::string output_file;     // of OpenAI: where its answers are, once they are
  std::optional<Usage> usage;  // once it has ended: of all its answers, where that is told, or there are none
};

// Of a batch object of either API, or of a list of them; a body that is neither has none.
std::vector<BatchState> read_batch_states(std::string_view body, JsonReader& reader);

// Adds up what the answers in a file of results used. One object a download.
class ResultUsage {
 public:
  explicit ResultUsage(std::shared_ptr<JsonReader> reader) : reader_(std::move(reader)) {}
  void feed(std::string_view piece);
  // The end. Nothing: a line can't be read, or an answer doesn't say what it used.
  std::optional<Usage> total();

 private:
  void count(std::string_view line);

  std::shared_ptr<JsonReader> reader_;
  std::string line_;  // begun
  Usage sum_{};
  bool known_ = true;
};

}  // namespace retort::api
