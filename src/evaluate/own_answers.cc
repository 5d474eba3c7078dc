#include "evaluate/own_answers.h"

#include "evaluate/compare.h"

namespace retort::evaluate {

Result<OwnAnswers> judge_answers(Scorer& teacher, Scorer* model, std::span<const std::vector<TokenId>> prompts,
                                 std::span<const TokenCompletion> answers, const BootstrapOptions& bootstrap,
                                 Progress& progress, std::stop_token stop) {
  RETORT_CHECK(answers.size() <= prompts.size());
  std::vector<HeldOutExample> examples;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    HeldOutExample example{prompts[i], std::vector<std::uint8_t>(prompts[i].size(), 0)};
    example.ids.insert(example.ids.end(), answers[i].ids.begin(), answers[i].ids.end());
    example.scored.resize(example.ids.size(), 1);
    examples.push_back(std::move(example));
  }
  std::vector<ComparedModel> models;
  if (model != nullptr) models.push_back({"the student", model});
  RETORT_ASSIGN(const Comparison comparison,
                compare(teacher, models, examples, {.threads = 0, .end_ids = {}}, progress, std::move(stop)));
  const ModelComparison& own = model == nullptr ? comparison.teacher : comparison.models[0];
  std::vector<double> tokens, teacher_nats, model_nats, kl_nats;
  for (std::size_t i = 0; i < own.exchanges.size(); ++i) {
    tokens.push_back(static_cast<double>(own.exchanges[i].tokens));
    teacher_nats.push_back(comparison.teacher.exchanges[i].negative_log_probability);
    model_nats.push_back(own.exchanges[i].negative_log_probability);
    kl_nats.push_back(own.exchanges[i].kl_nats);
  }
  return OwnAnswers{comparison.tokens, bootstrap_ratio(teacher_nats, tokens, bootstrap),
                    bootstrap_ratio(model_nats, tokens, bootstrap), bootstrap_ratio(kl_nats, tokens, bootstrap)};
}

}  // namespace retort::evaluate
