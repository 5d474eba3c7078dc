// A file of a batch's results on its way through: line by line, each answer in it as the tier may have it.
//
// A file that isn't lines of JSON passes as it came. One object a download; one thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "api/answer.h"
#include "base/error.h"

namespace retort::guard {

class ResultLines {
 public:
  ResultLines(api::AnswerEdits edits, std::shared_ptr<api::JsonReader> reader)
      : edits_(std::move(edits)), reader_(std::move(reader)) {}

  // What to send on. Error (kWorld): a line of JSON too long to look into.
  Result<std::string> feed(std::string_view piece);
  // The end: what is left to send on.
  std::string end();

 private:
  api::AnswerEdits edits_;
  std::shared_ptr<api::JsonReader> reader_;
  std::string line_;      // begun, and to be looked into
  bool passing_ = false;  // within a line that is no JSON object
};

}  // namespace retort::guard
