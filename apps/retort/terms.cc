// `retort terms`: may this teacher's output train a student, and what is asked for it?
#include "collect/teacher_terms.h"
#include "gguf/file.h"
#include "retort/terms_flags.h"
#include "retort/verb.h"

namespace retort::app {
namespace {

namespace fs = std::filesystem;

Result<void> ask(const std::string& model, const TermsFlags& flags, Context& context) {
  terms::Query query;
  query.model = model;
  RETORT_TRY(apply_terms_flags(flags, context.clock, query));
  std::error_code error;
  if (fs::is_regular_file(model, error)) {
    RETORT_ASSIGN(const gguf::File file, gguf::File::open(model));
    RETORT_ASSIGN(query.declared, collect::declared_by(file));
    query.model = query.declared->model_name.empty() ? fs::path(model).stem().string() : query.declared->model_name;
  } else if (model.ends_with(".gguf")) {
    return caller_error("There is no file '" + model +
                        "'; expected a GGUF file, an id of Hugging Face such as Qwen/Qwen3-8B, or an API's id such as "
                        "gpt-5.");
  }
  const terms::Decision decision = terms::decide(query);
  if (!context.json) {
    print_decision(context.out, decision);
    return {};
  }
  context.emit(terms::to_json(decision));
  return {};
}

}  // namespace

void register_terms(VerbSetup& verb) {
  struct Flags {
    std::string model;
    TermsFlags terms;
  };
  const auto flags = std::make_shared<Flags>();
  verb.app
      .add_option("model", flags->model, "An id of Hugging Face (Qwen/Qwen3-8B), an API's id (gpt-5), or a GGUF file")
      ->type_name("MODEL")
      ->required();
  add_terms_flags(verb.app, flags->terms);
  verb.action = [flags](Context& context) { return ask(flags->model, flags->terms, context); };
}

}  // namespace retort::app
