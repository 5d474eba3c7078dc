// Model files measured: opened, compared with the teacher token by token, made to answer, timed. What a run's evaluate
// stage and `retort evaluate` have in common; no libtorch in it.
//
// Quality is compared in one process, all files open at once (their weights are mapped). Speed is measured when nothing
// else computes. Files made for the measurement (the teacher in other types) go to `folder` and are found again there.
// The caller owns everything passed in; one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "evaluate/compare.h"
#include "evaluate/evaluate_options.h"
#include "evaluate/generation.h"
#include "exchange/exchange.h"
#include "exchange/scorecard.h"

namespace retort::pipeline {

struct FilesToEvaluate {
  std::filesystem::path teacher;  // as given: its name, type, size and speed are the teacher's in the scorecard
  // The same weights in the type that is run as the reference ("teacher" when empty). F16 of a quantised file computes
  // with its weights exactly enough, and without the noise of quantised activations (mean 0.05-0.1 in logprobs for
  // Q4_1).
  std::filesystem::path teacher_run;
  std::filesystem::path before;       // the untrained cut; empty: none
  std::filesystem::path student;      // as shipped
  std::filesystem::path student_f16;  // for speed at equal type; empty: made from `student`
};

struct EvaluationInput {
  std::vector<evaluate::HeldOutExample> examples;
  std::vector<std::vector<TokenId>> prompts;  // to be answered; options.answers of them are used
  std::vector<TokenId> end_ids;               // what ends an answer
  SamplingOptions sampling;                   // of the answers
  std::string text;                           // for perplexity; empty: none
  evaluate::EvaluateOptions options;
  int threads = 0;  // 0: all cores
};

// Answers to one prompt; ids without the end token's text left in.
struct AnswerIds {
  std::size_t prompt = 0;  // index into EvaluationInput::prompts
  TokenCompletion teacher, student;
  std::optional<TokenCompletion> before;  // the untrained cut answers the first 16 only
};

struct FileEvaluation {
  // Everything but wall_s and the sampling options of held_out.
  Scorecard scorecard;
  evaluate::ModelComparison student;           // token by token
  std::optional<Estimate> share_of_kl_closed;  // when there is an untrained cut
  std::vector<AnswerIds> answers;
  std::string teacher_reference;  // which file quality is compared with, in words
  std::int64_t scored_tokens = 0;
};

// Errors: those of the engines, of evaluate::compare() and of conversion. kInterrupted when stopped.
Result<FileEvaluation> evaluate_files(const FilesToEvaluate& files, const EvaluationInput& input,
                                      const std::filesystem::path& folder, const Clock& clock, Progress& progress,
                                      std::stop_token stop);

}  // namespace retort::pipeline
