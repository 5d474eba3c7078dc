// The recipe's keys that belong to the run itself, and the schema of a whole recipe.
//
// Plain values and pure functions; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "collect/teacher_options.h"
#include "recipe/choices.h"
#include "recipe/codec.h"
#include "recipe/option_set.h"
#include "recipe/schema.h"

namespace retort::pipeline {

// Top-level keys.
struct RunOptions {
  std::string name;  // of the run's folder: runs/NAME
  collect::TeacherOptions teacher;
};
const recipe::OptionSet<RunOptions>& run_option_set();

// `student.fresh.…`: 0 is the teacher's.
struct FreshOptions {
  std::int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, intermediate = 0;
  std::int64_t seed = 1;
  bool any() const { return layers + hidden + heads + kv_heads + intermediate > 0; }
};

// `student.…`: what the student is before it is trained.
struct StudentOptions {
  recipe::CountOrList layers;              // how many, or exactly which; 0: all
  std::string from;                        // a checkpoint to begin from instead of the teacher
  std::string vocabulary;                  // of such a folder, where there is no teacher's file: a GGUF file
  std::int64_t intermediate = 0;           // feed-forward channels to keep; 0: all
  std::int64_t kv_heads = 0;               // key-value heads to keep; 0: all
  FreshOptions fresh;                      // any given: fresh weights of this shape
  std::string layer_method = "greedy_kl";  // how the most important are found
  std::int64_t measured_tokens = 2048;     // of training exchanges, for that measurement
  std::int64_t fit_tokens = 32768;         // of training exchanges, that what is left is fitted on; 0: not
  bool narrower() const { return intermediate > 0 || kv_heads > 0; }
};
const recipe::OptionSet<StudentOptions>& student_option_set();
// Whether a student is said at all: without, the recipe is good for collecting alone.
bool says_student(const StudentOptions& student);

// Whether the student learns from the probabilities that an API tells (train.signal): the recipe says so, or it says
// auto and there is nothing better.
bool learns_from_logprobs(const recipe::Recipe& recipe);

// Every key of every module, and the rules that span modules.
std::shared_ptr<const recipe::Schema> recipe_schema();
// Every key, but only the rules that concern collecting: `name`, `teacher` and `collect` are enough.
std::shared_ptr<const recipe::Schema> collection_schema();

}  // namespace retort::pipeline

namespace retort::recipe {
template <>
struct Codec<pipeline::FreshOptions> {
  static std::string type_name(const OptionText& text);
  static Parsed<pipeline::FreshOptions> parse(const Node& node, const OptionText& text);
  static Node write(const pipeline::FreshOptions& value);
};
}  // namespace retort::recipe
