// What the verbs of `retort` share beside the frame (frame/verb.h): models by path or name, and flags whose names
// llama.cpp's users know.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "exchange/exchange.h"
#include "frame/verb.h"

namespace retort::app {

// A path to an existing file, or a name of the catalogue ("smollm2-135m-instruct") whose file is in the cache.
// Error (kCaller): neither; says the nearest name and how to fetch it.
Result<std::filesystem::path> model_path(const Context& context, const std::string& path_or_name);

// Each flag binds to a variable that must outlive the parse.

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
