// `retort chat`: a conversation, one line a turn. The model's text streams; Ctrl-C ends an answer, not the program.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/text.h"
#include "exchange/sampling.h"
#include "retort/speaker.h"
#include "retort/verb.h"

namespace retort::app {
namespace {

constexpr std::size_t kContextTokens = 4096;
constexpr const char* kHelp = "/clear forgets the conversation, /exit (or Ctrl-D) ends, Ctrl-C stops an answer";

struct Flags {
  std::string model;
  std::string prompt;  // the first turn
  std::string system;
  SamplingOptions sampling;
  EngineFlags engine;
};

// A line of input; false at its end, or when the program is to stop. A terminal is waited for in a way that a stop can
// end, since signals don't interrupt this thread.
bool read_line(Context& context, std::string& line) {
  if (&context.in == &std::cin && isatty(STDIN_FILENO) != 0) {
    while (context.in.rdbuf()->in_avail() <= 0) {
      if (context.stop.stop_requested()) return false;
      pollfd waiting{STDIN_FILENO, POLLIN, 0};
      if (poll(&waiting, 1, 100) > 0) break;
    }
  }
  return !context.stop.stop_requested() && static_cast<bool>(std::getline(context.in, line));
}

class Conversation {
 public:
  Conversation(const Flags& flags, Context& context, Speaker& speaker)
      : flags_(flags), context_(context), speaker_(speaker) {
    clear();
  }

  void clear() {
    messages_.clear();
    if (!flags_.system.empty()) messages_.push_back({Role::kSystem, flags_.system});
  }

  Result<void> turn(const std::string& text) {
    messages_.push_back({Role::kUser, text});
    RETORT_ASSIGN(std::vector<TokenId> ids, fitting_ids());
    SamplingOptions sampling = flags_.sampling;
    sampling.seed = derive_seed(flags_.sampling.seed, "chat", turns_++);
    std::function<void(std::string_view)> show;
    if (!context_.json) show = [this](std::string_view piece) { context_.out << piece << std::flush; };
    const std::stop_token stop = context_.pieces != nullptr ? context_.pieces->begin_piece() : context_.stop;
    Result<Spoken> spoken = speaker_.speak(std::move(ids), sampling, speaker_.format()->end_ids(), show, stop);
    if (context_.pieces != nullptr) context_.pieces->end_piece();
    if (!spoken) return Failure(spoken.error());
    if (!context_.json) context_.out << (spoken->interrupted ? " [stopped]\n" : "\n") << std::flush;
    answers_.push_back(
        {{"text", spoken->text},
         {"tokens", spoken->ids.size()},
         {"finish_reason", spoken->interrupted ? "interrupted" : std::string(name_of(spoken->finish_reason))}});
    messages_.push_back({Role::kAssistant, std::move(spoken->text)});
    return {};
  }

  Json document() const {
    Json list = Json::array();
    for (const Message& message : messages_) list.push_back(to_json(message));
    return {{"messages", list}, {"answers", answers_}};
  }

 private:
  // The conversation's ids; when they leave too little room for an answer, the oldest exchanges are forgotten, and said
  // to be.
  Result<std::vector<TokenId>> fitting_ids() {
    const std::size_t context_tokens = speaker_.context_tokens();
    const std::size_t room =
        std::min<std::size_t>(static_cast<std::size_t>(flags_.sampling.max_tokens), context_tokens / 4);
    while (true) {
      RETORT_ASSIGN(TokenizedConversation rendered, speaker_.format()->render(messages_, true));
      if (rendered.ids.size() + room <= context_tokens) return std::move(rendered.ids);
      const std::size_t first = messages_.front().role == Role::kSystem ? 1 : 0;
      if (messages_.size() < first + 3) {
        messages_.pop_back();
        return caller_error("That text is too long: with the template's own it has " +
                            std::to_string(rendered.ids.size()) + " tokens, and the context holds " +
                            std::to_string(context_tokens) + " with the answer; ask for more with -c.");
      }
      messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(first),
                      messages_.begin() + static_cast<std::ptrdiff_t>(first) + 2);
      context_.progress.note("The context is full; the oldest question and answer were forgotten.");
    }
  }

  const Flags& flags_;
  Context& context_;
  Speaker& speaker_;
  std::vector<Message> messages_;
  Json answers_ = Json::array();
  std::uint64_t turns_ = 0;
};

Result<void> chat(const Flags& flags, Context& context) {
  RETORT_TRY(check_sampling(flags.sampling));
  RETORT_ASSIGN(const std::filesystem::path path, model_path(context, flags.model));
  RETORT_ASSIGN(Speaker speaker, Speaker::open(path, flags.engine, kContextTokens));
  if (speaker.format() == nullptr) {
    return caller_error(path.string() +
                        " has no chat template, so there is no way to write a conversation for it; `retort generate "
                        "--raw` continues a text.");
  }
  Conversation conversation(flags, context, speaker);
  const bool asks = context.out_is_terminal && !context.json;
  if (asks) context.progress.note(kHelp);
  std::string line = flags.prompt;
  bool given = !line.empty();
  while (true) {
    if (!given) {
      if (asks) context.out << "> " << std::flush;
      if (!read_line(context, line)) break;
    } else if (asks) {
      context.out << "> " << line << '\n';
    }
    given = false;
    if (line.ends_with('\r')) line.pop_back();
    const std::string_view command = trim(line);
    if (command.empty()) continue;
    if (command == "/exit" || command == "/quit") break;
    if (command == "/help") {
      context.progress.note(kHelp);
      continue;
    }
    if (command == "/clear") {
      conversation.clear();
      continue;
    }
    const Result<void> done = is_valid_utf8(line) ? conversation.turn(line) : caller_error("That line is not UTF-8.");
    if (!done) {
      // On a terminal a line that was too long is no reason to end.
      if (!asks || done.error().fault != Fault::kCaller) return done;
      context.progress.note(done.error().message);
    }
  }
  if (asks) context.out << '\n';
  if (context.json) context.emit(conversation.document());
  return {};
}

}  // namespace

void register_chat(VerbSetup& verb) {
  const auto flags = std::make_shared<Flags>();
  flags->sampling.max_tokens = 512;
  add_model_option(verb.app, flags->model);
  add_prompt_option(verb.app, flags->prompt);
  verb.app.add_option("--system", flags->system, "System message")->type_name("TEXT");
  add_sampling_options(verb.app, flags->sampling);
  add_engine_options(verb.app, flags->engine);
  verb.app.footer(kHelp);
  verb.action = [flags](Context& context) { return chat(*flags, context); };
}

}  // namespace retort::app
