// What a verb of the program `retort` is, and everything it may use.
//
// One verb, one file. To add `retort squeeze`:
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
// Verbs that need libtorch live in a second program, retort-torch, beside `retort`, which becomes it by exec: loading
// libtorch takes a third of a second that `retort help` must not pay.
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
#include "exchange/exchange.h"

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
  // A path to an existing file, or a name of the catalogue ("smollm2-135m-instruct") whose file is in the cache.
  // Error (kCaller): neither; says the nearest name and how to fetch it.
  Result<std::filesystem::path> model(const std::string& path_or_name) const;
  // The whole of `in`, exact bytes.
  Result<std::string> read_input() const;
};

using Action = std::function<Result<void>(Context&)>;

struct VerbSetup {
  CLI::App& app;  // declare flags here; keep what they write to alive by capturing it in `action`
  Action action;  // must be set
};

// Flags whose names llama.cpp's users know. Each binds to a variable that must outlive the parse.

// -m, --model, or the first positional: a GGUF file or a name of the catalogue. Required unless told otherwise.
CLI::Option* add_model_option(CLI::App& app, std::string& model, bool required = true);
// -p, --prompt, or the next positional.
CLI::Option* add_prompt_option(CLI::App& app, std::string& prompt, bool required = false);
// -n/--predict, --temp, --top-k, --top-p, --min-p, -s/--seed; the defaults are those of `sampling`.
void add_sampling_options(CLI::App& app, SamplingOptions& sampling);
struct EngineFlags {
  std::int64_t context_tokens = 0;  // -c, --ctx-size; 0: the verb's own choice
  std::int64_t threads = 0;         // -t, --threads; 0: all cores
};
void add_engine_options(CLI::App& app, EngineFlags& flags);

}  // namespace retort::app
