// How far a long piece of work is: told by libraries, shown by programs.
//
// Implementations may be called from one thread at a time and must be cheap: callers report as often as they like.
#pragma once

#include <string>
#include <string_view>

namespace retort {

class Progress {
 public:
  virtual ~Progress() = default;
  // A piece of work starts: its name for people ("train"), how much there is and in what ("tokens"); total 0: unknown.
  virtual void begin(std::string_view title, double total, std::string_view unit) = 0;
  // `done` of total; `detail` is a short text beside the bar ("loss 1.234").
  virtual void advance(double done, std::string_view detail) = 0;
  // The piece ended; `summary` stays on the screen.
  virtual void end(std::string_view summary) = 0;
  // A sentence the user should see now, outside any bar.
  virtual void note(std::string_view sentence) = 0;
};

// Shows nothing: for tests and libraries.
class SilentProgress final : public Progress {
 public:
  void begin(std::string_view, double, std::string_view) override {}
  void advance(double, std::string_view) override {}
  void end(std::string_view) override {}
  void note(std::string_view) override {}
};

}  // namespace retort
