// The steps of response in force, kept in SQLite: set and taken back by people, expiring by themselves.
//
// A row is never removed or rewritten but for being taken back, which names who did it. The command line and a running
// guard may use one file at the same time: in_force() gives what was read last, refresh() reads again when the file
// changed. set(), undo(), all() and refresh() lock; in_force() may be called by any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "policy/steps.h"

namespace retort::guard {

struct KeptStep {
  std::int64_t id = 0;
  policy::Step step;
  std::string undone_by;  // empty: it wasn't taken back
  std::int64_t undone_unix_ms = 0;
};

// {"id","account","step","by","reason","since","until"}, and "undone_by","undone" when it was taken back.
Json to_json(const KeptStep& kept);

class StepBook {
 public:
  using InForce = std::map<std::string, std::vector<policy::Step>, std::less<>>;  // by account

  static Result<std::unique_ptr<StepBook>> open(const std::filesystem::path& database);
  ~StepBook();

  // Error (kCaller): nobody is named (`by`), no reason, an end that isn't after the beginning.
  Result<std::int64_t> set(const policy::Step& step);
  // Error (kCaller): there is no such step, or it was taken back before.
  Result<void> undo(std::int64_t id, const std::string& by, std::int64_t unix_ms);
  Result<std::vector<KeptStep>> all() const;  // newest first

  // Steps that weren't taken back, those that have expired among them: whoever reads knows the time.
  std::shared_ptr<const InForce> in_force() const;
  Result<bool> refresh();

 private:
  struct State;
  explicit StepBook(std::unique_ptr<State> state);
  Result<void> read();
  std::unique_ptr<State> state_;
};

}  // namespace retort::guard
