// `retort tokenize`: the exact bytes of standard input as token ids. The example to follow for a new verb.
#include "retort/verb.h"
#include "tokens/tokenizer.h"

namespace retort::app {

void register_tokenize(VerbSetup& verb) {
  struct Flags {
    std::string model;
  };
  const auto flags = std::make_shared<Flags>();
  add_model_option(verb.app, flags->model);
  verb.action = [flags](Context& context) -> Result<void> {
    RETORT_ASSIGN(const std::filesystem::path path, model_path(context, flags->model));
    RETORT_ASSIGN(const tokens::Tokenizer tokenizer, tokens::Tokenizer::load(path));
    RETORT_ASSIGN(const std::string text, context.read_input());
    RETORT_ASSIGN(const std::vector<TokenId> ids, tokenizer.encode(text, tokens::SpecialTokens::kAsText, true));
    if (context.json) {
      context.emit({{"ids", ids}});
      return {};
    }
    for (const TokenId id : ids) context.out << id << '\t' << tokenizer.piece(id) << '\n';
    return {};
  };
}

}  // namespace retort::app
