#include "pipeline/run_options.h"

#include <algorithm>
#include <string_view>

#include "collect/collect_options.h"
#include "dataset/curate_options.h"
#include "evaluate/evaluate_options.h"
#include "exporter/export_options.h"
#include "recipe/recipe.h"
#include "train/train_options.h"

namespace retort::pipeline {
namespace {

bool is_folder_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !name.empty() && name.size() <= 64 && name.front() != '.' && std::all_of(name.begin(), name.end(), allowed);
}

void check_across(const recipe::Recipe& recipe, recipe::Problems& problems) {
  const auto collect = recipe.get(collect::collect_option_set());
  const auto evaluate = recipe.get(evaluate::evaluate_option_set());
  const auto train = recipe.get(train::train_option_set());
  if (collect.count > 0 && collect.count <= evaluate.held_out) {
    problems.add("evaluate.held_out",
                 "is " + std::to_string(evaluate.held_out) + ", but collect.count is only " +
                     std::to_string(collect.count) +
                     "; expected fewer held out than collected, so that some are left to train on");
  }
  if (train.tokens_per_step < train.max_length) {
    problems.add("train.tokens_per_step", "is " + std::to_string(train.tokens_per_step) +
                                              ", less than one row of train.max_length (" +
                                              std::to_string(train.max_length) + "); expected at least one row a step");
  }
}

}  // namespace

const recipe::OptionSet<RunOptions>& run_option_set() {
  static const auto set =
      recipe::OptionSet<RunOptions>("", "What the run is called and whom it learns from.")
          .add("name", &RunOptions::name,
               {.help = "Name of the run: its folder is runs/NAME. Letters, digits, '-', '_' and '.'.",
                .required = true})
          .add("teacher", &RunOptions::teacher,
               {.help = "The model to learn from: the path of a GGUF file of the Llama, Qwen2 or Qwen3 "
                        "architecture, or a name of the catalogue such as smollm2-135m-instruct.",
                .required = true,
                .not_empty = true})
          .check([](const RunOptions& options, recipe::Problems& problems) {
            if (!is_folder_name(options.name)) {
              problems.add("name", "is '" + options.name +
                                       "'; expected 1 to 64 letters, digits, '-', '_' or '.', not starting with '.'");
            }
          });
  return set;
}

const recipe::OptionSet<StudentOptions>& student_option_set() {
  static const auto set =
      recipe::OptionSet<StudentOptions>("student", "What the student is: the teacher with fewer layers.")
          .add("layers", &StudentOptions::layers,
               {.unit = "layers",
                .help = "How many of the teacher's layers the student keeps, those that matter most by "
                        "student.layer_method; or the list of exactly which, from 0.",
                .minimum = 1,
                .maximum = 1024,
                .required = true})
          .add(
              "layer_method", &StudentOptions::layer_method,
              {.help = "How importance is measured: block_influence (how much a layer changes what goes through it) or "
                       "greedy_kl (layers are taken out one by one, each time the one whose absence moves the "
                       "distribution least).",
               .choices = {"block_influence", "greedy_kl"}})
          .add("measured_tokens", &StudentOptions::measured_tokens,
               {.unit = "tokens",
                .help = "How much of the training exchanges the importance is measured on.",
                .minimum = 16,
                .maximum = 65536});
  return set;
}

std::shared_ptr<const recipe::Schema> recipe_schema() {
  static const std::shared_ptr<const recipe::Schema> schema = [] {
    auto made = std::make_shared<recipe::Schema>();
    made->add(run_option_set())
        .add(student_option_set())
        .add(collect::collect_option_set())
        .add(collect::terms_option_set())
        .add(dataset::curate_option_set())
        .add(train::train_option_set())
        .add(exporter::export_option_set())
        .add(evaluate::evaluate_option_set())
        .check(check_across);
    return made;
  }();
  return schema;
}

}  // namespace retort::pipeline
