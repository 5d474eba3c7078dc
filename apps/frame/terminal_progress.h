// Progress for people: a bar with rate and time left on a terminal, sparse lines in a pipe.
//
// Writes to standard error only. One thread at a time. On a terminal the bar is redrawn at most ten times a second; in
// a pipe a line comes at the start, then when another tenth is done and ten seconds have passed, and at the end.
#pragma once

#include <cstdio>
#include <string>

#include "base/clock.h"
#include "base/progress.h"

namespace retort::app {

class TerminalProgress final : public Progress {
 public:
  // `stream` must outlive the object; `terminal`: it can be redrawn (isatty).
  TerminalProgress(std::FILE* stream, bool terminal, const Clock& clock);
  ~TerminalProgress() override;

  void begin(std::string_view title, double total, std::string_view unit) override;
  void advance(double done, std::string_view detail) override;
  void end(std::string_view summary) override;
  void note(std::string_view sentence) override;

 private:
  void draw();
  void clear_line();
  std::string line(int width) const;

  std::FILE* stream_;
  bool terminal_;
  const Clock& clock_;
  bool active_ = false;
  bool drawn_ = false;
  std::string title_, unit_, detail_;
  double total_ = 0;
  double done_ = 0;
  double first_done_ = 0;  // what was already done when the work was taken up again doesn't count for the rate
  bool has_first_ = false;
  double started_s_ = 0;
  double drawn_s_ = 0;
  double drawn_share_ = 0;
};

}  // namespace retort::app
