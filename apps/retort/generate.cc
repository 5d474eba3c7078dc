// `retort generate`: one prompt, one answer.
#include <memory>
#include <string>

#include "base/text.h"
#include "exchange/sampling.h"
#include "retort/speaker.h"
#include "retort/verb.h"

namespace retort::app {
namespace {

constexpr std::size_t kContextTokens = 4096;

struct Flags {
  std::string model;
  std::string prompt;
  std::string system;
  bool raw = false;
  SamplingOptions sampling;
  EngineFlags engine;
};

Result<std::vector<TokenId>> prompt_ids(const Speaker& speaker, const Flags& flags, const std::string& text) {
  if (flags.raw || speaker.format() == nullptr) {
    if (!flags.system.empty()) {
      return caller_error("--system needs the model's chat template, which is not used with --raw, or absent.");
    }
    return speaker.tokenizer().encode(text, tokens::SpecialTokens::kAsText, true);
  }
  Prompt prompt;
  if (!flags.system.empty()) prompt.messages.push_back({Role::kSystem, flags.system});
  prompt.messages.push_back({Role::kUser, text});
  return speaker.format()->prompt_ids(prompt);
}

Result<void> generate(const Flags& flags, Context& context) {
  RETORT_TRY(check_sampling(flags.sampling));
  RETORT_ASSIGN(const std::filesystem::path path, model_path(context, flags.model));
  std::string text = flags.prompt;
  if (text.empty()) {
    RETORT_ASSIGN(text, context.read_input());
    if (text.ends_with('\n')) text.pop_back();
  }
  if (text.empty()) return caller_error("There is no prompt; give one with -p, or on standard input.");
  if (!is_valid_utf8(text)) return caller_error("The prompt is not UTF-8.");
  RETORT_ASSIGN(Speaker speaker, Speaker::open(path, flags.engine, kContextTokens));
  RETORT_ASSIGN(std::vector<TokenId> ids, prompt_ids(speaker, flags, text));
  const std::size_t prompt_tokens = ids.size();
  const bool templated = !flags.raw && speaker.format() != nullptr;
  const std::vector<TokenId> ends = templated ? speaker.format()->end_ids() : speaker.tokenizer().end_ids();

  std::function<void(std::string_view)> show;
  if (!context.json) show = [&](std::string_view piece) { context.out << piece << std::flush; };
  const double start = context.clock.monotonic_s();
  RETORT_ASSIGN(const Spoken spoken, speaker.speak(std::move(ids), flags.sampling, ends, show, context.stop));
  const double seconds = context.clock.monotonic_s() - start;
  if (context.json) {
    context.emit({{"text", spoken.text},
                  {"ids", spoken.ids},
                  {"finish_reason", spoken.interrupted ? "interrupted" : std::string(name_of(spoken.finish_reason))},
                  {"prompt_tokens", prompt_tokens},
                  {"completion_tokens", spoken.ids.size()},
                  {"seconds", seconds}});
  } else {
    context.out << '\n';
  }
  if (spoken.interrupted) return interrupted("Stopped on request.");
  return {};
}

}  // namespace

void register_generate(VerbSetup& verb) {
  const auto flags = std::make_shared<Flags>();
  flags->sampling.max_tokens = 256;
  add_model_option(verb.app, flags->model);
  add_prompt_option(verb.app, flags->prompt);
  verb.app.add_option("--system", flags->system, "System message")->type_name("TEXT");
  verb.app.add_flag("--raw", flags->raw, "Continue the text as it is, without the model's chat template");
  add_sampling_options(verb.app, flags->sampling);
  add_engine_options(verb.app, flags->engine);
  verb.action = [flags](Context& context) { return generate(*flags, context); };
}

}  // namespace retort::app
