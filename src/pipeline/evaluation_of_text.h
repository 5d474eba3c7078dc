// Evaluation where the teacher gave its text alone: what can be said of a student without the teacher's probabilities,
// and nothing else.
//
// Perplexity of untrained cut and student on the teacher's held-out answers, their own answers beside the teacher's,
// and, where the service told the log-probabilities of what it drew, an estimate of the KL from those. One thread.
#pragma once

#include "pipeline/evaluation.h"
#include "pipeline/stage.h"

namespace retort::pipeline {

// Writes the scorecard and the details, in which what isn't known is absent.
Result<StageResult> evaluate_on_text(Evaluation& evaluation);

}  // namespace retort::pipeline
