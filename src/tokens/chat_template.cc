#include "tokens/chat_template.h"

#include <jinja/lexer.h>
#include <jinja/parser.h>
#include <jinja/runtime.h>
#include <jinja/value.h>

#include <algorithm>
#include <ctime>
#include <iomanip>
#include <map>
#include <set>
#include <sstream>

#include "base/text.h"

namespace retort::tokens {
namespace {

// The largest templates of public models are below 20 KB.
constexpr std::size_t kMaxBytes = 256U << 10U;
constexpr std::size_t kMaxTokensOfTag = 2000;
constexpr std::size_t kMaxBrackets = 64;
constexpr std::size_t kMaxBlocks = 64;
constexpr int kMaxCalls = 32;
constexpr std::int64_t kMaxRange = 10000;
constexpr std::size_t kMaxRendered = 256U << 20U;
// 2024-07-26: the date that Llama 3's templates themselves fall back to.
constexpr std::time_t kTemplateTime = 1721995200;

Failure beyond(const std::string& what) {
  return caller_error("The chat template is refused: " + what + ", which no real template has.");
}

// The engine parses and runs by recursion, so depth is bounded before either.
Result<void> check_bounds(const std::vector<jinja::token>& tokens) {
  using Type = jinja::token::type;
  std::size_t brackets = 0;
  std::size_t blocks = 0;
  std::size_t of_tag = 0;
  static const std::set<std::string> kOpening = {"if", "for", "macro", "filter", "call", "block", "raw"};
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    switch (tokens[i].t) {
      case Type::open_statement:
      case Type::open_expression:
        of_tag = 0;
        brackets = 0;
        break;
      case Type::open_paren:
      case Type::open_square_bracket:
      case Type::open_curly_bracket:
        if (++brackets > kMaxBrackets) return beyond("its brackets nest deeper than " + std::to_string(kMaxBrackets));
        break;
      case Type::close_paren:
      case Type::close_square_bracket:
      case Type::close_curly_bracket:
        if (brackets > 0) --brackets;
        break;
      default: break;
    }
    if (++of_tag > kMaxTokensOfTag) return beyond("one of its tags has more than 2000 parts");
    if (tokens[i].t == Type::open_statement && i + 1 < tokens.size()) {
      const std::string& word = tokens[i + 1].value;
      // Calls of outermost macros are counted while rendering, so that a macro may call itself, but not for ever.
      if (word == "macro" && blocks != 0) return beyond("a macro is defined inside another block");
      if (kOpening.count(word) != 0 && ++blocks > kMaxBlocks) {
        return beyond("its blocks nest deeper than " + std::to_string(kMaxBlocks));
      }
      if (word.starts_with("end") && blocks > 0) --blocks;
    }
  }
  return {};
}

jinja::value text_value(const std::string& text) { return jinja::mk_val<jinja::value_string>(text); }

void add_functions(jinja::context& context) {
  const auto strftime_now = [](const jinja::func_args& args) -> jinja::value {
    const std::string format = args.get_pos(0)->as_string().str();
    std::tm time{};
    gmtime_r(&kTemplateTime, &time);
    std::ostringstream out;
    out << std::put_time(&time, format.c_str());
    return text_value(out.str());
  };
  const auto range = [](const jinja::func_args& args) -> jinja::value {
    std::int64_t widest = 0;
    for (const jinja::value& arg : args.get_args()) {
      const std::int64_t number = arg->as_int();
      widest = std::max(widest, number < 0 ? -(number + 1) : number);
    }
    if (widest > kMaxRange) throw std::runtime_error("range() is limited to " + std::to_string(kMaxRange) + " here");
    return jinja::global_builtins().at("range")(args);
  };
  context.set_val("strftime_now", jinja::mk_val<jinja::value_func>("strftime_now", strftime_now));
  context.set_val("range", jinja::mk_val<jinja::value_func>("range", range));
}

// Replaces the macro that was just defined by one that counts how deep its calls nest.
void count_calls(jinja::context& context, const std::string& name, const std::shared_ptr<int>& depth) {
  const jinja::value macro = context.get_val(name);
  const auto counted = [macro, depth](const jinja::func_args& args) -> jinja::value {
    if (*depth >= kMaxCalls) throw std::runtime_error("its macros call each other too deeply");
    ++*depth;
    try {
      jinja::value result = macro->invoke(args);
      --*depth;
      return result;
    } catch (...) {
      --*depth;
      throw;
    }
  };
  context.set_val(name, jinja::mk_val<jinja::value_func>(name, counted));
}

}  // namespace

struct ChatTemplate::State {
  std::string text;
  std::string source;  // as the lexer normalised it
  std::string bos_token;
  std::string eos_token;
  jinja::program program;

  // `marked`: the message whose content is followed through the template.
  Result<jinja::value_string> run(std::span<const Message> messages, bool add_generation_prompt,
                                  std::optional<std::size_t> marked) const {
    try {
      jinja::context context(source);
      context.current_time = kTemplateTime;
      auto list = jinja::mk_val<jinja::value_array>();
      for (std::size_t i = 0; i < messages.size(); ++i) {
        auto object = jinja::mk_val<jinja::value_object>();
        object->insert("role", text_value(std::string(name_of(messages[i].role))));
        auto content = jinja::mk_val<jinja::value_string>(messages[i].content);
        if (marked == i) content->mark_input();
        object->insert("content", content);
        list->push_back(object);
      }
      context.set_val("messages", list);
      context.set_val("bos_token", text_value(bos_token));
      context.set_val("eos_token", text_value(eos_token));
      context.set_val("add_generation_prompt", jinja::mk_val<jinja::value_bool>(add_generation_prompt));
      add_functions(context);
      auto result = jinja::mk_val<jinja::value_array>();
      const auto depth = std::make_shared<int>(0);
      for (const jinja::statement_ptr& statement : program.body) {
        result->push_back(statement->execute(context));
        if (const auto* macro = dynamic_cast<const jinja::macro_statement*>(statement.get()); macro != nullptr) {
          count_calls(context, dynamic_cast<const jinja::identifier&>(*macro->name).val, depth);
        }
      }
      return jinja::runtime::gather_string_parts(result);
    } catch (const std::exception& error) {
      return caller_error(std::string("The model's chat template can't write this conversation: ") + error.what());
    }
  }
};

ChatTemplate::ChatTemplate(std::shared_ptr<const State> state) : state_(std::move(state)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

const std::string& ChatTemplate::text() const { return state_->text; }

Result<ChatTemplate> ChatTemplate::parse(std::string text, std::string bos_token, std::string eos_token) {
  if (text.size() > kMaxBytes) return beyond("it has " + human_bytes(text.size()));
  if (!is_valid_utf8(text)) return caller_error("The model's chat template isn't UTF-8 text; the file is damaged.");
  auto state = std::make_shared<State>();
  try {
    jinja::lexer lexer;
    const jinja::lexer_result tokens = lexer.tokenize(text);
    RETORT_TRY(check_bounds(tokens.tokens));
    state->source = tokens.source;
    state->program = jinja::parse_from_tokens(tokens);
  } catch (const std::exception& error) {
    return caller_error(std::string("The model's chat template isn't valid Jinja: ") + error.what());
  }
  state->text = std::move(text);
  state->bos_token = std::move(bos_token);
  state->eos_token = std::move(eos_token);
  return ChatTemplate(std::move(state));
}

Result<std::string> ChatTemplate::render_text(std::span<const Message> messages, bool add_generation_prompt) const {
  RETORT_ASSIGN(const auto parts, state_->run(messages, add_generation_prompt, std::nullopt));
  return parts->as_string().str();
}

Result<RenderedText> ChatTemplate::render(std::span<const Message> messages, bool add_generation_prompt) const {
  RenderedText rendered;
  RETORT_ASSIGN(rendered.text, render_text(messages, add_generation_prompt));
  if (rendered.text.size() > kMaxRendered) return caller_error("The chat template wrote more than 256 MiB.");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    RETORT_ASSIGN(const auto parts, state_->run(messages, add_generation_prompt, i));
    const std::string role(name_of(messages[i].role));
    std::optional<InputRange> range;
    std::size_t place = 0;
    std::string whole;
    for (const jinja::string_part& part : parts->val_str.parts) {
      if (part.is_input) {
        if (range && range->end != place && !part.val.empty()) {
          return caller_error("The model's chat template writes the " + role + "'s message " + std::to_string(i + 1) +
                              " in several places, so its tokens can't be told from the template's.");
        }
        if (!range || range->begin == range->end) range = InputRange{place, place, i};
        range->end = place + part.val.size();
      }
      place += part.val.size();
      whole += part.val;
    }
    if (whole != rendered.text) {
      return caller_error("The model's chat template doesn't give the same text twice, so it can't be used.");
    }
    if (!range || (range->begin == range->end && !trim(messages[i].content).empty())) {
      return caller_error("The model's chat template drops or rewrites the text of message " + std::to_string(i + 1) +
                          " (" + role + "), so its tokens can't be told from the template's.");
    }
    if (!rendered.inputs.empty() && rendered.inputs.back().end > range->begin) {
      return caller_error("The model's chat template changes the order of the messages, so it can't be used.");
    }
    rendered.inputs.push_back(*range);
  }
  return rendered;
}

}  // namespace retort::tokens
