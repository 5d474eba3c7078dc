// The report of a run as a document of docs/formats/report.md: verdict, curves, before and after, size and speed,
// disagreement token by token, answers side by side, funnel, stages, provenance and terms, the command to repeat it.
//
// Pure; any thread.
#pragma once

#include "base/json.h"
#include "pipeline/run_facts.h"

namespace retort::pipeline {

Json report_document(const RunFacts& facts);

}  // namespace retort::pipeline
