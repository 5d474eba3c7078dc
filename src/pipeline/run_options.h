// The recipe's keys that belong to the run itself, and the schema of a whole recipe.
//
// Plain values and pure functions; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "recipe/choices.h"
#include "recipe/option_set.h"
#include "recipe/schema.h"

namespace retort::pipeline {

// Top-level keys.
struct RunOptions {
  std::string name;     // of the run's folder: runs/NAME
  std::string teacher;  // a GGUF file, or a name of the catalogue
};
const recipe::OptionSet<RunOptions>& run_option_set();

// `student.…`: what the student is cut from the teacher as.
struct StudentOptions {
  recipe::CountOrList layers;              // how many, or exactly which
  std::string layer_method = "greedy_kl";  // how the most important are found
  std::int64_t measured_tokens = 2048;     // of training exchanges, for that measurement
};
const recipe::OptionSet<StudentOptions>& student_option_set();

// Every key of every module, and the rules that span modules.
std::shared_ptr<const recipe::Schema> recipe_schema();

}  // namespace retort::pipeline
