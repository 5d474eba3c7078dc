// `retort score`: the log-probability of each token of standard input, by llama.cpp or by the decoder that training
// uses.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "evaluate/softmax.h"
#include "gguf/file.h"
#include "llama/engine.h"
#include "model/compute_probe.h"
#include "model/torch_scorer.h"
#include "retort/verb.h"
#include "tokens/tokenizer.h"

namespace retort::app {

namespace {

struct ScoreFlags {
  std::string model;
  std::string backend = "llama";
  std::string compute = "float32";
  EngineFlags engine;
};

struct TokenScore {
  TokenId id = 0;
  double logprob = 0;  // of this token, natural logarithm
  double entropy = 0;  // of the distribution that predicted it, nats
};

// The scorer that was asked for. llama.cpp here computes as exactly as it can: FP32 cache, no flash attention.
Result<std::unique_ptr<Scorer>> open_scorer(const std::filesystem::path& path, const ScoreFlags& flags,
                                            std::size_t tokens) {
  const auto wanted = std::max<std::size_t>(static_cast<std::size_t>(flags.engine.context_tokens), tokens);
  if (flags.backend == "torch") {
    RETORT_ASSIGN(const model::ComputeType compute, model::compute_type_from_name(flags.compute));
    RETORT_ASSIGN(const gguf::File file, gguf::File::open(path));
    RETORT_ASSIGN(
        model::Decoder decoder,
        model::Decoder::from_gguf(file, {.compute = compute, .backend = model::Backend::kKernels, .layers = {}}));
    model::set_compute_threads(static_cast<int>(flags.engine.threads));
    return std::make_unique<model::TorchScorer>(std::move(decoder));
  }
  llama::EngineOptions options;
  options.threads = static_cast<int>(flags.engine.threads);
  options.context_tokens = std::max<std::size_t>(wanted, 1);
  options.parallel = 1;
  options.kv = llama::KvType::kF32;
  options.flash_attention = false;
  RETORT_ASSIGN(std::unique_ptr<llama::Engine> engine, llama::Engine::open(path, options));
  return engine;
}

// One entry a token after the first, which nothing predicts.
Result<std::vector<TokenScore>> score_tokens(Scorer& scorer, const std::vector<TokenId>& ids) {
  std::vector<TokenScore> scores;
  RETORT_TRY(scorer.score(ids, 0, [&](const LogitRows& rows) -> Result<void> {
    for (std::size_t r = 0; r < rows.rows; ++r) {
      const std::size_t predicted = rows.first_position + r + 1;
      if (predicted >= ids.size()) break;
      const auto row = rows.row(r);
      const evaluate::RowSummary summary = evaluate::summarise_row(row);
      if (!summary.finite) return world_error("The model gave a logit that is not a number.");
      const auto id = static_cast<std::size_t>(ids[predicted]);
      scores.push_back({ids[predicted], evaluate::log_probability(row, summary, id), summary.entropy});
    }
    return {};
  }));
  return scores;
}

}  // namespace

void register_score(VerbSetup& verb) {
  const auto flags = std::make_shared<ScoreFlags>();
  add_model_option(verb.app, flags->model);
  verb.app
      .add_option("--backend", flags->backend,
                  "llama: llama.cpp on the file's own type; torch: the decoder of training")
      ->check(CLI::IsMember({"llama", "torch"}))
      ->capture_default_str();
  verb.app.add_option("--compute", flags->compute, "with --backend torch: float32 or bfloat16")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  add_engine_options(verb.app, flags->engine);
  verb.action = [flags](Context& context) -> Result<void> {
    RETORT_ASSIGN(const std::filesystem::path path, model_path(context, flags->model));
    RETORT_ASSIGN(const tokens::Tokenizer tokenizer, tokens::Tokenizer::load(path));
    RETORT_ASSIGN(const std::string text, context.read_input());
    RETORT_ASSIGN(const std::vector<TokenId> ids, tokenizer.encode(text, tokens::SpecialTokens::kAsText, true));
    std::vector<TokenScore> scores;
    if (ids.size() > 1) {
      RETORT_ASSIGN(const std::unique_ptr<Scorer> scorer, open_scorer(path, *flags, ids.size()));
      RETORT_ASSIGN(scores, score_tokens(*scorer, ids));
    }
    if (context.json) {
      Json list = Json::array();
      if (!ids.empty()) list.push_back({{"id", ids.front()}, {"logprob", nullptr}, {"entropy", nullptr}});
      for (const auto& score : scores) {
        list.push_back({{"id", score.id}, {"logprob", score.logprob}, {"entropy", score.entropy}});
      }
      context.emit({{"tokens", std::move(list)}});
      return {};
    }
    if (!ids.empty()) context.out << ids.front() << "\t-\t-\t" << tokenizer.piece(ids.front(), true) << '\n';
    double total = 0;
    for (const auto& score : scores) {
      context.out << score.id << '\t' << score.logprob << '\t' << score.entropy << '\t'
                  << tokenizer.piece(score.id, true) << '\n';
      total += score.logprob;
    }
    if (!scores.empty()) {
      context.out << "perplexity " << std::exp(-total / static_cast<double>(scores.size())) << " over " << scores.size()
                  << " tokens\n";
    }
    return {};
  };
}

}  // namespace retort::app
