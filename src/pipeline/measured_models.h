// Which files evaluation measures, as what, and on how much.
//
// Plain values. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "pipeline/stage.h"

namespace retort::pipeline {

// A file that export made (export/files.json).
struct ExportedFile {
  std::string role;  // "student" or "before"
  std::string type;  // "F16", "Q8_0", …
  std::string path;  // relative to the run folder
  bool shipped = false;
};
Result<std::vector<ExportedFile>> read_exported_files(const RunFolder& folder);

// Files other than the three of the scorecard are compared on this many exchanges: enough for an interval, and the
// run's time goes to what is shipped.
inline constexpr std::size_t kOtherExchanges = 48;
inline constexpr std::size_t kAnswersAtOnce = 16;  // of what a model writes itself

struct MeasuredModel {
  std::string name;  // as the scorecard says it
  std::filesystem::path path;
  std::string type;
  std::int64_t layers = 0;
};

struct MeasuredModels {
  // What everything is compared with: the teacher's weights in F16, which hold every 4- to 8-bit weight exactly enough
  // and spare it the quantised activations that llama.cpp computes quantised files with.
  // Absent, like every other file of the teacher, where it isn't at hand.
  std::optional<MeasuredModel> reference;
  std::optional<MeasuredModel> teacher;  // the file as given
  MeasuredModel before;                  // the untrained cut, in the shipped student's type
  MeasuredModel student;                 // as shipped
  // The other type of the student, the teacher in the student's types, and the teacher quantised to about the student's
  // size.
  std::vector<MeasuredModel> others;
};

// Converts the teacher where a type is missing (kept in the cache). `rival`: also the teacher quantised to about the
// student's size.
Result<MeasuredModels> measured_models(const StageContext& context, bool rival);

}  // namespace retort::pipeline
