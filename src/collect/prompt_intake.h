// Prompts as a collection takes them from a file: read, cleared of personal data, given the recipe's system message.
//
// This is the one way from collect.prompts to what a teacher is asked; the raw text of a row never leaves it while
// collect.personal_data is mask or drop. A stream: one row in memory at a time. Pure reading; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "collect/collect_options.h"
#include "collect/personal_data.h"
#include "collect/prompts.h"

namespace retort::collect {

// What was found in the file: part of a collection's summary.
struct PromptIntake {
  PromptFileReport file;             // rows: those that were taken
  PersonalDataCounts personal_data;  // found, in answers too
  std::int64_t rows_with_personal_data = 0;
  std::int64_t rows_dropped = 0;  // because of it
  // SHA-256 over all that makes what was taken differ from a plain reading of the file's bytes: rows skipped, masked or
  // dropped, a column, a format that isn't the one the file looks like. Absent: nothing does. With the file's digest it
  // says which prompts a collection answers.
  std::optional<Digest> altered;
};

// Visits the prompts that options.prompts and options.personal_data leave, in the file's order: row i of a SlotPlan is
// the i-th visited. Precondition: a file, not self_generated. Errors as of for_each_prompt(); kCaller too when nothing
// is left.
Result<PromptIntake> for_each_taken_prompt(const CollectOptions& options, const PromptVisitor& visit);

struct TakenPrompts {
  std::vector<PromptRow> rows;
  PromptIntake intake;
};
Result<TakenPrompts> take_prompts(const CollectOptions& options);

}  // namespace retort::collect
