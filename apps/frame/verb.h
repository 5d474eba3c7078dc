// What a verb of a program is, and everything it may use. Both programs (retort, retort-guard) are made of verbs.
//
// One verb, one file. To add `retort squeeze` (for retort-guard read apps/retort-guard):
//   1. apps/retort/squeeze.cc defines  void register_squeeze(VerbSetup& verb)  (apps/retort/tokenize.cc is a complete
//   example):
//      it declares flags on verb.app (a CLI::App), keeps their values in a shared struct, and sets verb.action;
//   2. apps/retort/verbs.cc gets one line: its name, its summary and whether it needs libtorch;
//   3. apps/retort/CMakeLists.txt gets its name in LIGHT_VERBS or TORCH_VERBS.
// `-h/--help` and `--json` are there for every verb. The action returns Result<void>; the frame prints the sentence of
// an error ("retort squeeze: …") and turns its Fault into the exit code (2, 1, 130). An action never exits, and prints
// only:
//   - to context.out: the result, for people or (context.json) exactly one JSON document through emit();
//   - through context.progress: everything else; it goes to standard error.
//
// Verbs of retort that need libtorch live in a second program, retort-torch, beside it, which it becomes by exec:
// loading libtorch takes a third of a second that `retort help` must not pay.
//
// Threads: actions run on the main thread. context.stop is requested from another thread on SIGINT or SIGTERM; a second
// signal ends the process at once.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <istream>
#include <memory>
#include <optional>
#include <ostream>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"

namespace retort::app {

// Lets Ctrl-C end one piece of the work, such as an answer of a chat, and not the program. A second Ctrl-C within the
// piece counts for the program.
class PieceStop {
 public:
  virtual ~PieceStop() = default;
  virtual std::stop_token begin_piece() = 0;
  virtual void end_piece() = 0;
};

struct Context {
  bool json = false;     // --json: the result on `out` is one JSON document
  std::istream& in;      // standard input, exact bytes
  std::ostream& out;     // standard output: the result and nothing else
  bool out_is_terminal;  // colours and streaming make sense there
  Progress& progress;    // bars and notes, on standard error
  Clock& clock;
  std::stop_token stop;                // SIGINT, SIGTERM
  PieceStop* pieces = nullptr;         // null: there are no signals (tests)
  std::filesystem::path cache_folder;  // the user's: $RETORT_CACHE, $XDG_CACHE_HOME/retort or ~/.cache/retort
  // A variable of the environment, for those who must be told by it (rank_environment.h). Empty: there is none (tests).
  std::function<std::optional<std::string>(const std::string& name)> environment = {};

  // One line of JSON on `out`. For --json.
  void emit(const Json& document) const;
  // The whole of `in`, exact bytes.
  Result<std::string> read_input() const;
};

using Action = std::function<Result<void>(Context&)>;

struct VerbSetup {
  CLI::App& app;  // declare flags here; keep what they write to alive by capturing it in `action`
  Action action;  // must be set
};

}  // namespace retort::app
