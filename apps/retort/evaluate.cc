// `retort evaluate STUDENT --teacher T --prompts F`: what any two GGUF files of one tokenizer think of the teacher's
// answers, in FP64 and without libtorch. Rows without an answer are answered by the teacher first.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/digest.h"
#include "base/files.h"
#include "base/random.h"
#include "base/text.h"
#include "collect/prompts.h"
#include "evaluate/compare.h"
#include "evaluate/evaluate_options.h"
#include "evaluate/generation.h"
#include "evaluate/perplexity.h"
#include "exchange/scorecard.h"
#include "gguf/file.h"
#include "gguf/writer.h"
#include "llama/engine.h"
#include "llama/speed.h"
#include "retort/verb.h"
#include "tokens/chat_format.h"

namespace retort::app {

namespace {

struct Flags {
  std::string student;
  std::string teacher;
  std::string prompts;
  std::string format = "auto";
  std::string text;
  std::int64_t limit = 0;
  bool teacher_as_given = false;
  bool no_speed = false;
  SamplingOptions sampling;
  EngineFlags engine;
  evaluate::EvaluateOptions options;
};

struct Side {
  std::string name;
  std::filesystem::path path;  // as given
  std::filesystem::path run;   // what is run; differs for a quantised teacher
  std::size_t context = 0;     // tokens it was trained for
  ModelScore score;
};

Estimate exact(double value) { return {value, value, value}; }

Result<Side> open_side(Context& context, const char* name, const std::string& path_or_name) {
  Side side;
  side.name = name;
  RETORT_ASSIGN(side.path, model_path(context, path_or_name));
  side.run = side.path;
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(side.path));
  RETORT_ASSIGN(const std::string architecture, file.architecture());
  side.score.name = name;
  side.score.file = side.path.filename().string();
  side.score.type = file.file_type_name();
  RETORT_ASSIGN(side.score.layers, file.metadata().get_or<std::int64_t>(architecture + ".block_count", 0));
  RETORT_ASSIGN(side.context, file.metadata().get_or<std::size_t>(architecture + ".context_length", 0));
  side.score.size_bytes = exact(static_cast<double>(file.size_bytes()));
  return side;
}

// A quantised teacher is run as F16: the same weights, without the noise of quantised activations. The copy is the one
// that a run keeps in the cache.
Result<void> expand_teacher(Context& context, Side& teacher) {
  const std::string& type = teacher.score.type;
  if (type == "F32" || type == "F16" || type == "BF16") return {};
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(teacher.path));
  RETORT_ASSIGN(const Digest digest, sha256_file(teacher.path));
  const std::filesystem::path folder = context.cache_folder / "converted";
  teacher.run = folder / (digest.hex().substr(0, 32) + ".F16.gguf");
  if (std::error_code error; std::filesystem::is_regular_file(teacher.run, error)) return {};
  context.progress.note("Converting " + teacher.score.file + " to F16, once.");
  RETORT_TRY(make_folder(folder));
  return gguf::convert(file, gguf::TensorType::kF16, teacher.run);
}

Result<std::unique_ptr<llama::Engine>> open_engine(const Side& side, std::size_t context_tokens, std::size_t parallel,
                                                   const Flags& flags) {
  llama::EngineOptions options;
  options.threads = static_cast<int>(flags.engine.threads);
  options.context_tokens = std::max(context_tokens, static_cast<std::size_t>(flags.engine.context_tokens));
  options.parallel = parallel;
  auto engine = llama::Engine::open(side.run, options);
  if (!engine) return with_context(engine.error(), side.name);
  return engine;
}

// Held-out examples from the rows; those without an answer are answered by `teacher`.
struct Rows {
  std::vector<evaluate::HeldOutExample> examples;
  std::vector<std::vector<TokenId>> prompts;
  std::int64_t answered = 0;  // by the teacher, now
};

Result<Rows> read_rows(Context& context, const Flags& flags, const Side& teacher, const tokens::ChatFormat& format) {
  RETORT_ASSIGN(const collect::PromptFormat prompt_format, collect::prompt_format_from_name(flags.format));
  RETORT_ASSIGN(std::vector<collect::PromptRow> rows, collect::read_prompts(flags.prompts, prompt_format));
  if (flags.limit > 0 && rows.size() > static_cast<std::size_t>(flags.limit)) {
    rows.resize(static_cast<std::size_t>(flags.limit));
  }
  Rows result;
  std::vector<TokenizedConversation> conversations(rows.size());
  std::vector<TokenRequest> requests;
  std::vector<std::size_t> unanswered;  // the row of each request
  std::size_t longest = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string where = flags.prompts + ", line " + std::to_string(rows[i].line);
    if (!rows[i].prompt.tools.empty()) {  // refused with a sentence, not lost
      const auto refused = format.prompt_ids(rows[i].prompt);
      if (!refused) return with_context(refused.error(), where);
    }
    auto prompt = format.render(rows[i].prompt.messages, true);
    if (!prompt) return with_context(prompt.error(), where);
    result.prompts.push_back(prompt->ids);
    if (rows[i].answer) {
      std::vector<Message> messages = rows[i].prompt.messages;
      messages.push_back({Role::kAssistant, *rows[i].answer, rows[i].answer_tool_calls});
      auto whole = format.render(messages, false);
      if (!whole) return with_context(whole.error(), where);
      // Earlier turns of the assistant belong to the prompt here: only the last answer is scored.
      std::erase_if(whole->spans, [&](const TokenSpan& span) { return span.begin < prompt->ids.size(); });
      conversations[i] = std::move(*whole);
      continue;
    }
    conversations[i] = std::move(*prompt);
    TokenRequest request;
    unanswered.push_back(i);
    request.prompt_ids = conversations[i].ids;
    request.sampling = flags.sampling;
    request.sampling.seed = derive_seed(flags.sampling.seed, "evaluate", i);
    request.end_ids = format.end_ids();
    longest = std::max(longest, request.prompt_ids.size());
    requests.push_back(std::move(request));
  }
  if (!requests.empty()) {
    const std::size_t parallel = std::min<std::size_t>(requests.size(), 32);
    RETORT_ASSIGN(const auto engine,
                  open_engine(teacher, longest + static_cast<std::size_t>(flags.sampling.max_tokens), parallel, flags));
    result.answered = static_cast<std::int64_t>(requests.size());
    context.progress.begin("teacher answers", static_cast<double>(requests.size()), "answers");
    RETORT_ASSIGN(const std::vector<TokenCompletion> answers,
                  generate_all(*engine, std::move(requests), context.stop,
                               [&](std::size_t done) { context.progress.advance(static_cast<double>(done), ""); }));
    context.progress.end(std::to_string(result.answered) + " prompts answered by the teacher");
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const std::size_t row = unanswered[i];
      RETORT_ASSIGN(conversations[row], format.with_sampled_answer(std::move(conversations[row]), answers[i].ids));
      // The user's turns and earlier answers aren't what is measured.
      std::erase_if(conversations[row].spans,
                    [&](const TokenSpan& span) { return span.begin < result.prompts[row].size(); });
    }
  }
  for (TokenizedConversation& conversation : conversations) {
    Exchange exchange;
    exchange.tokens = std::move(conversation);
    result.examples.push_back(evaluate::held_out_example(exchange));
  }
  return result;
}

std::string cell(const std::optional<Estimate>& estimate, double factor, int decimals) {
  if (!estimate) return "-";
  char text[96];
  if (estimate->high > estimate->low) {
    std::snprintf(text, sizeof(text), "%.*f (%.*f to %.*f)", decimals, factor * estimate->value, decimals,
                  factor * estimate->low, decimals, factor * estimate->high);
  } else {
    std::snprintf(text, sizeof(text), "%.*f", decimals, factor * estimate->value);
  }
  return text;
}

void print_table(std::ostream& out, const ModelScore& teacher, const ModelScore& student) {
  struct Line {
    const char* label;
    std::optional<Estimate> ModelScore::*member;
    double factor;
    int decimals;
  };
  constexpr Line kLines[] = {{"KL to the teacher, nats/token", &ModelScore::kl_nats, 1, 4},
                             {"first choice agrees, %", &ModelScore::top1_agreement, 100, 1},
                             {"perplexity of the answers", &ModelScore::perplexity, 1, 2},
                             {"perplexity of --text", &ModelScore::text_perplexity, 1, 2},
                             {"own answers: tokens", &ModelScore::generated_tokens, 1, 0},
                             {"own answers: end by itself, %", &ModelScore::ended_by_itself, 100, 0},
                             {"own answers: loops, %", &ModelScore::repetition, 100, 0},
                             {"size, MB", &ModelScore::size_bytes, 1e-6, 1},
                             {"prefill, tokens/s", &ModelScore::prefill_tokens_per_s, 1, 0},
                             {"decode, tokens/s", &ModelScore::decode_tokens_per_s, 1, 0}};
  char text[256];
  const auto row = [&](const std::string& a, const std::string& b, const std::string& c) {
    std::snprintf(text, sizeof(text), "%-32s %-28s %s\n", a.c_str(), b.c_str(), c.c_str());
    out << text;
  };
  row("", "teacher " + teacher.type, "student " + student.type);
  for (const Line& line : kLines) {
    if (!(student.*line.member) && !(teacher.*line.member)) continue;
    row(line.label, cell(teacher.*line.member, line.factor, line.decimals),
        cell(student.*line.member, line.factor, line.decimals));
  }
}

Result<void> measure_text(Context& context, const Flags& flags, const tokens::Tokenizer& tokenizer, Side& teacher,
                          Side& student, const evaluate::BootstrapOptions& bootstrap) {
  if (flags.text.empty()) return {};
  RETORT_ASSIGN(const std::string text, read_file(flags.text));
  RETORT_ASSIGN(const std::vector<TokenId> ids, tokenizer.encode(text));
  evaluate::TextOptions options;
  if (tokenizer.adds_bos()) options.begin = tokenizer.bos();
  // The same windows for both, with room for the token before them.
  options.window = std::min(options.window, std::max<std::size_t>(std::min(teacher.context, student.context), 1) - 1);
  options.stride = options.window / 2;
  options.threads = static_cast<int>(flags.engine.threads);
  for (Side* side : {&teacher, &student}) {
    RETORT_ASSIGN(const auto engine, open_engine(*side, options.window + 1, 1, flags));
    context.progress.note("Scoring " + human_count(static_cast<std::int64_t>(ids.size())) + " tokens of " + flags.text +
                          " by the " + side->name + ".");
    RETORT_ASSIGN(const evaluate::TextScore score,
                  evaluate::score_text(*engine, ids, options, bootstrap, context.stop));
    side->score.text_perplexity = score.perplexity;
  }
  return {};
}

Result<void> measure_answers(Context& context, const Flags& flags, const Rows& rows, const tokens::ChatFormat& format,
                             Side& teacher, Side& student, const evaluate::BootstrapOptions& bootstrap) {
  const std::size_t count = std::min(rows.prompts.size(), static_cast<std::size_t>(flags.options.answers));
  if (count == 0) return {};
  const auto prompts = std::span(rows.prompts).first(count);
  std::size_t longest = 0;
  for (const auto& prompt : prompts) longest = std::max(longest, prompt.size());
  for (Side* side : {&teacher, &student}) {
    RETORT_ASSIGN(const auto engine, open_engine(*side, longest + static_cast<std::size_t>(flags.sampling.max_tokens),
                                                 std::min<std::size_t>(count, 32), flags));
    RETORT_ASSIGN(const evaluate::GenerationStatistics statistics,
                  evaluate::measure_generation(*engine, prompts, format.end_ids(), flags.sampling, bootstrap,
                                               context.progress, context.stop));
    evaluate::set_generation(side->score, statistics);
  }
  return {};
}

Result<void> measure_speeds(Context& context, const Flags& flags, Side& teacher, Side& student) {
  if (flags.no_speed) return {};
  llama::SpeedOptions options;
  options.threads = static_cast<int>(flags.engine.threads);
  options.repetitions = 2;
  for (Side* side : {&teacher, &student}) {
    context.progress.note("Measuring the speed of the " + side->name + ".");
    RETORT_ASSIGN(const llama::Speed speed, llama::measure_speed(side->path, options, context.clock, context.stop));
    side->score.prefill_tokens_per_s = exact(speed.prefill_tokens_per_s);
    side->score.decode_tokens_per_s = exact(speed.decode_tokens_per_s);
  }
  return {};
}

Result<void> run_evaluate(Context& context, const Flags& flags) {
  const double started_s = context.clock.monotonic_s();
  RETORT_ASSIGN(Side teacher, open_side(context, "teacher", flags.teacher));
  RETORT_ASSIGN(Side student, open_side(context, "student", flags.student));
  RETORT_ASSIGN(const tokens::ChatFormat format, tokens::ChatFormat::load(teacher.path));
  RETORT_ASSIGN(const tokens::Tokenizer students, tokens::Tokenizer::load(student.path));
  if (!(students.fingerprint() == format.tokenizer().fingerprint())) {
    return caller_error("The two files have different tokenizers (" + teacher.score.file + ", " + student.score.file +
                        "): what they expect can't be compared token by token. Give a student of this teacher.");
  }
  if (!flags.teacher_as_given) RETORT_TRY(expand_teacher(context, teacher));
  RETORT_ASSIGN(const Rows rows, read_rows(context, flags, teacher, format));
  std::size_t longest = 0;
  for (const evaluate::HeldOutExample& example : rows.examples) longest = std::max(longest, example.ids.size());

  evaluate::BootstrapOptions bootstrap;
  bootstrap.resamples = flags.options.resamples;
  Scorecard card;
  {
    RETORT_ASSIGN(const auto teacher_engine, open_engine(teacher, longest, 1, flags));
    RETORT_ASSIGN(const auto student_engine, open_engine(student, longest, 1, flags));
    const evaluate::ComparedModel compared[] = {{"The student", student_engine.get()}};
    RETORT_ASSIGN(const evaluate::Comparison comparison,
                  evaluate::compare(*teacher_engine, compared, rows.examples,
                                    {.threads = static_cast<int>(flags.engine.threads), .end_ids = {}},
                                    context.progress, context.stop));
    evaluate::set_quality(teacher.score, evaluate::estimate_quality(comparison.teacher.exchanges, bootstrap));
    evaluate::set_quality(student.score, evaluate::estimate_quality(comparison.models[0].exchanges, bootstrap));
    card.held_out.tokens = comparison.tokens;
  }
  RETORT_TRY(measure_text(context, flags, format.tokenizer(), teacher, student, bootstrap));
  RETORT_TRY(measure_answers(context, flags, rows, format, teacher, student, bootstrap));
  RETORT_TRY(measure_speeds(context, flags, teacher, student));

  card.teacher = teacher.score;
  card.student = student.score;
  card.held_out.exchanges = static_cast<std::int64_t>(rows.examples.size());
  if (rows.answered > 0) {
    card.held_out.temperature = flags.sampling.temperature;
    card.held_out.top_p = flags.sampling.top_p;
    card.held_out.max_tokens = flags.sampling.max_tokens;
  }
  card.wall_s = context.clock.monotonic_s() - started_s;
  const std::string reference =
      teacher.run == teacher.path ? "the teacher's file as given" : "the teacher's weights expanded to F16";
  if (context.json) {
    Json json = to_json(card);
    json["before"] = nullptr;  // there is no untrained cut here
    json["reference"] = reference;
    json["answered_by_teacher"] = rows.answered;
    context.emit(json);
    return {};
  }
  print_table(context.out, card.teacher, card.student);
  context.out << "\n"
              << human_count(card.held_out.tokens) << " tokens of " << human_count(card.held_out.exchanges)
              << " exchanges, compared with " << reference
              << "; in brackets: 95 % bootstrap intervals over exchanges.\n";
  return {};
}

}  // namespace

void register_evaluate(VerbSetup& verb) {
  const auto flags = std::make_shared<Flags>();
  flags->sampling.seed = 1;
  add_model_option(verb.app, flags->student)->description("The student: a GGUF file");
  verb.app.add_option("--teacher", flags->teacher, "The teacher: a GGUF file or a name of the catalogue")
      ->type_name("MODEL")
      ->required();
  verb.app
      .add_option("--prompts", flags->prompts,
                  "Held-out rows: JSON rows, CSV, TSV or plain lines (docs/formats/prompts.md)")
      ->type_name("FILE")
      ->required();
  verb.app.add_option("--format", flags->format, "Of --prompts: auto, jsonl, sharegpt, csv, tsv or lines")
      ->capture_default_str();
  verb.app.add_option("--limit", flags->limit, "Use the first N rows; 0: all")->check(CLI::NonNegativeNumber);
  verb.app.add_option("--text", flags->text, "Also the perplexity of this text")->type_name("FILE");
  verb.app
      .add_option("--answers", flags->options.answers, "Prompts that both answer for length, ends and loops; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.app.add_flag("--teacher-as-given", flags->teacher_as_given,
                    "Run a quantised teacher as it is, not its weights in F16");
  verb.app.add_flag("--no-speed", flags->no_speed, "Don't measure prefill and decode speed");
  add_sampling_options(verb.app, flags->sampling);
  add_engine_options(verb.app, flags->engine);
  verb.action = [flags](Context& context) { return run_evaluate(context, *flags); };
}

}  // namespace retort::app
