#include "pipeline/run_options.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "collect/collect_options.h"
#include "dataset/curate_options.h"
#include "evaluate/evaluate_options.h"
#include "exporter/export_options.h"
#include "pipeline/teacher.h"
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

void check_student_is_said(const recipe::Recipe& recipe, recipe::Problems& problems) {
  if (says_student(recipe.get(student_option_set()))) return;
  problems.add("student.layers",
               "is absent, so the student would be the teacher itself; expected a number of layers, or one of "
               "student.from, student.intermediate, student.kv_heads and student.fresh");
}

void check_served_prompts(const recipe::Recipe& recipe, recipe::Problems& problems) {
  const collect::TeacherOptions teacher = recipe.get(run_option_set()).teacher;
  if (!teacher.served() || !recipe.get(collect::collect_option_set()).self_generated()) return;
  if (teacher.takes_messages()) return;  // it is asked for them
  const std::string or_file =
      ", or teacher.api openai (it is then asked for prompts in words), or a file of prompts: {file: prompts.jsonl}";
  if (!teacher.turn_texts.stated() && teacher.file.empty() && recipe.get(student_option_set()).from.empty()) {
    problems.add("collect.prompts",
                 "is self_generated, which needs the teacher's template; expected teacher.template {user, assistant, "
                 "end}, the teacher's GGUF file as teacher.file, or a student.from of its family" +
                     or_file);
  }
}

// What a recipe asks of a served teacher must be what it gives.
void check_served_teacher(const recipe::Recipe& recipe, recipe::Problems& problems) {
  const collect::TeacherOptions teacher = recipe.get(run_option_set()).teacher;
  if (!gives_text_alone(teacher)) return;
  const char* why =
      "the teacher of this recipe gives its text alone: it is behind an API, and teacher.file isn't given";
  const std::string or_file = ", or the teacher's own GGUF file as teacher.file";
  const auto student = recipe.get(student_option_set());
  if (student.from.empty()) {
    problems.add("student.from", std::string("is absent, and there is nothing to make a student of, because ") + why +
                                     "; expected the GGUF file, or a name of the catalogue, that it begins from" +
                                     or_file);
  }
  const auto train = recipe.get(train::train_option_set());
  const bool told = learns_from_logprobs(recipe);
  for (std::size_t i = 0; i < train::kTerms; ++i) {
    const auto term = static_cast<train::Term>(i);
    if (train.objective.of(term) == 0 || term == train::Term::kCe) continue;
    if (told && term == train::Term::kForwardKl) continue;
    problems.add(
        "train.objective",
        "is " + std::string(name_of(term)) + ", which needs the teacher's probabilities, but " + why +
            "; expected ce (the cross-entropy of its answers)" +
            (term == train::Term::kForwardKl ? ", or what the API tells of them (collect.logprobs, and train.signal: "
                                               "logprobs)"
                                             : "") +
            or_file);
    break;
  }
  const auto needs_probabilities = [&](const char* key, const std::string& value, const char* expected) {
    problems.add(key, value + " needs the teacher's probabilities, but " + why + "; expected " + expected + or_file);
  };
  if (train.signal == "sampled" || train.signal == "top_k") {
    needs_probabilities("train.signal", "is " + train.signal + ", which", "text");
  }
  if (train.hidden_state_weight > 0) needs_probabilities("train.hidden_state_weight", "is above 0, which", "0");
  if (train.on_policy_from < 1) {
    needs_probabilities("train.on_policy_from", "is below 1: judging the student's own answers", "1");
  }
}

void check_told_probabilities(const recipe::Recipe& recipe, recipe::Problems& problems) {
  if (recipe.get(train::train_option_set()).signal != "logprobs") return;
  if (!recipe.get(run_option_set()).teacher.served()) {
    problems.add("train.signal",
                 "is logprobs, which is what an API tells, but the teacher is a file on this machine; expected online, "
                 "sampled or top_k");
  } else if (!recipe.get(collect::collect_option_set()).logprobs) {
    problems.add("train.signal",
                 "is logprobs, but none are collected; expected collect.logprobs: how many of the likeliest tokens the "
                 "API tells at each place, 0 for the drawn one alone");
  }
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
  check_served_prompts(recipe, problems);
  check_served_teacher(recipe, problems);
  check_told_probabilities(recipe, problems);
  if (!recipe.get(student_option_set()).vocabulary.empty() && !gives_text_alone(recipe.get(run_option_set()).teacher)) {
    problems.add("student.vocabulary",
                 "names a tokenizer, but the student has that of the teacher's file; expected it to be left out");
  }
  const bool text_alone = gives_text_alone(recipe.get(run_option_set()).teacher);
  const auto student = recipe.get(student_option_set());
  if (train.hidden_state_weight > 0 && !text_alone && (student.fresh.any() || !student.from.empty())) {
    problems.add("train.hidden_state_weight",
                 "compares the student's layers with those of the teacher they were cut from, but this student isn't "
                 "cut from the teacher; expected 0");
  }
  if (train.lora_rank > 0 && student.fresh.any()) {
    problems.add("train.lora_rank",
                 "is " + std::to_string(train.lora_rank) +
                     ", but a fresh student's weights (student.fresh) say nothing yet, and would stay "
                     "as they are; expected 0");
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
               {.help = "The model to learn from: the path of a GGUF file of the Llama, Qwen2 or Qwen3 architecture, a "
                        "name of the catalogue such as smollm2-135m-instruct, or a model behind an API "
                        "(docs/COLLECTING.md), whose key stays in the environment or a file.",
                .required = true})
          .check([](const RunOptions& options, recipe::Problems& problems) {
            if (!is_folder_name(options.name)) {
              problems.add("name", "is '" + options.name +
                                       "'; expected 1 to 64 letters, digits, '-', '_' or '.', not starting with '.'");
            }
          });
  return set;
}

bool says_student(const StudentOptions& student) {
  const bool cut = student.layers.count() > 0 || student.intermediate > 0 || student.kv_heads > 0;
  return cut || student.fresh.any() || !student.from.empty();
}

const recipe::OptionSet<StudentOptions>& student_option_set() {
  static const auto set =
      recipe::OptionSet<StudentOptions>(
          "student",
          "What the student is before it is trained: the teacher with fewer layers, narrower, or both; "
          "another checkpoint; or fresh weights.")
          .add("layers", &StudentOptions::layers,
               {.unit = "layers",
                .help = "How many layers the student keeps of the teacher's (or of student.from's), those that matter "
                        "most by student.layer_method; or the list of exactly which, from 0. 0 keeps all.",
                .minimum = 0,
                .maximum = 1024})
          .add("from", &StudentOptions::from,
               {.help =
                    "A checkpoint that the student begins from instead of the teacher's own weights: the path of a "
                    "GGUF file or of a Hugging Face folder, of any supported family, with the teacher's "
                    "vocabulary. A folder needs its tokenizer.json, which is compared id by id. Of a teacher that "
                    "gives its "
                    "text alone (behind an API, without teacher.file): the GGUF file, name of the catalogue, or folder "
                    "(with student.vocabulary) that the student is cut from."})
          .add("vocabulary", &StudentOptions::vocabulary,
               {.help = "A GGUF file, or name of the catalogue, of the same family as the folder student.from, whose "
                        "tokenizer and chat template the student has. Only where the teacher gives its text alone: "
                        "else the teacher's file has them. It is compared with the folder's tokenizer.json id by id."})
          .add("intermediate", &StudentOptions::intermediate,
               {.unit = "channels",
                .help = "How many feed-forward channels of each layer the student keeps, those that are active most "
                        "(Minitron, arXiv 2407.14679). 0 keeps all.",
                .minimum = 0,
                .maximum = 1 << 20})
          .add("kv_heads", &StudentOptions::kv_heads,
               {.unit = "heads",
                .help = "How many key-value heads of each layer the student keeps, each with the query heads that "
                        "share it, those that give most (Minitron, arXiv 2407.14679). 0 keeps all.",
                .minimum = 0,
                .maximum = 65536})
          .add("fresh", &StudentOptions::fresh,
               {.help =
                    "A student of fresh weights in the teacher's family, of this shape; what isn't named is as the "
                    "teacher has it. Heads have hidden / heads values. Weights are drawn from seed (1 where it isn't "
                    "named), normal, with a deviation of 0.02. null: the student begins from a model."})
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
                .maximum = 65536})
          .add("fit_tokens", &StudentOptions::fit_tokens,
               {.unit = "tokens",
                .help =
                    "How much of the training exchanges a student that was cut or narrowed is fitted on before it is "
                    "trained: in one pass, by least squares, ffn_down of each layer is set so that the layer gives "
                    "what the model it was cut from gives there. Takes a fraction of what training on so many tokens "
                    "takes. 0: training begins with what was cut.",
                .minimum = 0,
                .maximum = 1 << 24})
          .check([](const StudentOptions& o, recipe::Problems& problems) {
            const bool cut = o.layers.count() > 0 || o.intermediate > 0 || o.kv_heads > 0;
            if (o.fresh.any() && (cut || !o.from.empty())) {
              problems.add("student.fresh",
                           "makes fresh weights, and another key of student takes them from a model; "
                           "expected one of both");
            }
          });
  return set;
}

namespace {

std::shared_ptr<recipe::Schema> all_keys() {
  auto made = std::make_shared<recipe::Schema>();
  made->add(run_option_set())
      .add(student_option_set())
      .add(collect::collect_option_set())
      .add(collect::terms_option_set())
      .add(dataset::curate_option_set())
      .add(train::train_option_set())
      .add(exporter::export_option_set())
      .add(evaluate::evaluate_option_set());
  return made;
}

}  // namespace

bool learns_from_logprobs(const recipe::Recipe& recipe) {
  const auto train = recipe.get(train::train_option_set());
  if (train.signal != "auto") return train.signal == "logprobs";
  return gives_text_alone(recipe.get(run_option_set()).teacher) && train.objective.of(train::Term::kForwardKl) > 0 &&
         recipe.get(collect::collect_option_set()).logprobs.has_value();
}

std::shared_ptr<const recipe::Schema> recipe_schema() {
  static const std::shared_ptr<const recipe::Schema> schema = [] {
    auto made = all_keys();
    made->check(check_student_is_said).check(check_across);
    return made;
  }();
  return schema;
}

std::shared_ptr<const recipe::Schema> collection_schema() {
  static const std::shared_ptr<const recipe::Schema> schema = [] {
    auto made = all_keys();
    made->check(check_served_prompts);
    return made;
  }();
  return schema;
}

}  // namespace retort::pipeline

namespace retort::recipe {

namespace {

using Fresh = pipeline::FreshOptions;
struct FreshMember {
  const char* name;
  std::int64_t Fresh::*value;
};
constexpr FreshMember kFreshMembers[] = {{"layers", &Fresh::layers},
                                         {"hidden", &Fresh::hidden},
                                         {"heads", &Fresh::heads},
                                         {"kv_heads", &Fresh::kv_heads},
                                         {"intermediate", &Fresh::intermediate},
                                         {"seed", &Fresh::seed}};

}  // namespace

std::string Codec<Fresh>::type_name(const OptionText&) {
  return "{layers, hidden, heads, kv_heads, intermediate, seed: whole numbers from 1}, or null";
}

Parsed<Fresh> Codec<Fresh>::parse(const Node& node, const OptionText& text) {
  Fresh value;
  if (node.kind == Node::Kind::kNull) return value;
  if (node.kind != Node::Kind::kMap || node.members.empty()) return Expected(type_name(text));
  for (const Node::Member& member : node.members) {
    const auto known = std::ranges::find_if(kFreshMembers, [&](const FreshMember& m) { return m.name == member.key; });
    if (known == std::end(kFreshMembers)) {
      return Expected(type_name(text) + "; there is no '" + member.key + "'");
    }
    const auto number = Codec<std::int64_t>::parse(member.value, {.minimum = 1, .maximum = 1 << 24});
    if (!number) return Expected("for " + member.key + " " + number.error());
    value.*(known->value) = *number;
  }
  if (!value.any()) return Expected(type_name(text) + ", with at least one size");
  return value;
}

Node Codec<Fresh>::write(const Fresh& value) {
  if (!value.any()) return Node::null();
  std::vector<Node::Member> members;
  for (const FreshMember& member : kFreshMembers) {
    if (value.*(member.value) > 0) members.push_back({member.name, Node::of(value.*(member.value)), 0});
  }
  return Node::map(std::move(members));
}

}  // namespace retort::recipe
