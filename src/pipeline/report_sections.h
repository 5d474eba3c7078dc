// The sections of a run's report, each from the facts it needs; private to report_document(). A section whose facts
// are missing has no blocks and is left out. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "exchange/scorecard.h"
#include "pipeline/run_facts.h"

namespace retort::pipeline {

std::string subtitle(const RunFacts& facts);
Json header_facts(const RunFacts& facts);

// report_sections_quality.cc
Json verdict_section(const RunFacts& facts);
Json learning_section(const RunFacts& facts);
Json before_after_section(const RunFacts& facts);
Json size_speed_section(const RunFacts& facts);
// report_sections_health.cc
Json health_section(const RunFacts& facts);
Json checks_section(const RunFacts& facts);
// report_sections_training.cc
Json while_training_section(const RunFacts& facts);
// report_sections_run.cc
Json disagreement_section(const RunFacts& facts);
Json answers_section(const RunFacts& facts);
Json funnel_section(const RunFacts& facts);
Json stages_section(const RunFacts& facts);
Json layers_section(const RunFacts& facts);
Json provenance_section(const RunFacts& facts);
Json repeat_section(const RunFacts& facts);

// Teacher and student in one file type: what "at equal type" compares.
struct EqualType {
  std::string type;
  const ModelScore* teacher = nullptr;
  const ModelScore* student = nullptr;
};
// The shipped student's type first. Borrowed from the scorecard.
std::vector<EqualType> equal_types(const Scorecard& scorecard);
// Of the teacher's other files the one nearest in size to the shipped student, if it is within a third of it: what
// merely quantising the teacher gives. The teacher as given when that is nearest.
const ModelScore* rival(const Scorecard& scorecard);

// "0.65", "64.3 %", "0.62 to 0.67".
std::string fixed_text(double value, int decimals);
std::string percent_text(double fraction, int decimals = 1);
std::string interval_text(const Estimate& estimate, double factor, int decimals);
// "1.36×".
std::string times_text(double ratio);
std::string decimal_bytes(double bytes);

}  // namespace retort::pipeline
