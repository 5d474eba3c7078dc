// One block of the document as HTML; private to report. Every function expects a block that check_block() accepted.
#pragma once

#include <string>

#include "base/error.h"
#include "base/json.h"

namespace retort::report {

// Gives elements of one page ids of their own.
class Ids {
 public:
  std::string next(const char* stem) { return std::string(stem) + std::to_string(++count_); }

 private:
  int count_ = 0;
};

std::string render_block(const Json& block, Ids& ids);

// The kinds, by file. line_chart.cc:
std::string render_line_chart(const Json& block, Ids& ids);
// bars.cc: lengths that compare amounts.
std::string render_bar_chart(const Json& block, Ids& ids);
std::string render_funnel(const Json& block);
std::string render_timeline(const Json& block);
// words.cc: what the models wrote.
std::string render_token_diff(const Json& block);
std::string render_side_by_side(const Json& block);

// The class of a series or bar by its role ("teacher", "before", "student", "rival") or, without one, by its index.
std::string role_class(const Json& object, std::size_t index);

}  // namespace retort::report
