// What evaluating against a teacher and evaluating on its text alone share: the held-out exchanges as the local model
// reads them, and what models do by themselves: their own answers, a text of the user's, their speed.
//
// Private to the stage evaluate. Borrows the context; one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "dataset/dataset.h"
#include "evaluate/compare.h"
#include "evaluate/evaluate_options.h"
#include "exchange/scorecard.h"
#include "llama/engine.h"
#include "pipeline/evaluation_details.h"
#include "pipeline/measured_models.h"
#include "pipeline/stage.h"

namespace retort::pipeline {

struct Evaluation {
  StageContext& context;
  evaluate::EvaluateOptions options;
  evaluate::BootstrapOptions bootstrap;
  dataset::Dataset dataset;
  std::vector<Exchange> exchanges;  // held out
  std::vector<evaluate::HeldOutExample> examples;
  std::size_t context_tokens = 0;  // that hold each of them
  MeasuredModels models;
};
Result<Evaluation> prepare_evaluation(StageContext& context);

Result<std::unique_ptr<llama::Engine>> open_engine(const MeasuredModel& model, std::size_t context_tokens,
                                                   std::size_t parallel);
// Up to the next multiple of 256, within the local model's reach.
std::size_t rounded_context(std::size_t tokens, const LocalModel& local);
// Name, file, type, layers and size.
ModelScore score_of(const MeasuredModel& model);
// How the held-out answers were drawn, where it is known of all.
void say_sampling(const Evaluation& evaluation, HeldOut& held_out);

// What each writes when nobody corrects it: the same prompts and seeds for all.
struct Answers {
  std::vector<std::vector<TokenId>> prompts;
  std::vector<TokenCompletion> teacher, before, student;
};
// `teacher` stays empty where it isn't at hand.
Result<Answers> measure_answers(Evaluation& evaluation, Scorecard& card);
// Of the user's text, where there is one.
Result<void> measure_text(Evaluation& evaluation, Scorecard& card);
// Of all models, in the order of card.others.
Result<void> measure_speeds(Evaluation& evaluation, Scorecard& card);
// Of the first few prompts, beside one another.
std::vector<AnswerFacts> shown_answers(const Evaluation& evaluation, const Answers& answers);

}  // namespace retort::pipeline
