// `retort objective`: a training objective on given logits, by the kernel that trains and by an FP64 reference.
//
//   {"objective": "jsd", "beta": 0.3, "skew": 0.1, "temperature": 1, "temperature_squared": false,
//    "student_logits": [[…]], "teacher_logits": [[…]], "labels": […], "ignore_index": -100}
//
// The logits are [tokens, vocabulary]. Row i is supervised where labels[i] differs from ignore_index; nothing is
// shifted, `ce` predicts labels[i]. "objective" may also be {"NAME": WEIGHT, …}.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/text.h"
#include "retort/verb.h"
#include "train/kernels.h"
#include "train/objective_mix.h"
#include "train/objective_reference.h"
#include "train/objective_rows.h"

namespace retort::app {

namespace {

struct Case {
  train::ObjectiveMix mix;
  std::size_t vocabulary = 0;
  std::vector<double> student;  // [labels.size(), vocabulary]
  std::vector<double> teacher;
  std::vector<TokenId> labels;
  TokenId ignore_index = -100;
};

const std::vector<std::string>& known_keys() {
  static const std::vector<std::string> keys = {
      "objective",      "beta",           "skew",   "temperature", "temperature_squared",
      "student_logits", "teacher_logits", "labels", "ignore_index"};
  return keys;
}

// Keys of others are let be, but a misspelt one of ours isn't.
Result<void> check_keys(const Json& json, const std::string& what) {
  for (const auto& [key, value] : json.items()) {
    if (std::ranges::find(known_keys(), key) != known_keys().end()) continue;
    const std::string near = nearest(key, known_keys());
    if (near.empty()) continue;
    return caller_error(what + ": there is no member '" + key + "'. Did you mean '" + near + "'?");
  }
  return {};
}

Result<double> optional_number(const Json& json, const char* key, double otherwise, const std::string& what) {
  if (!json.contains(key) || json[key].is_null()) return otherwise;
  if (!json[key].is_number()) {
    return caller_error(what + ": the member '" + key + "' is no number (" + json[key].type_name() + ").");
  }
  return json[key].get<double>();
}

Result<train::ObjectiveMix> read_mix(const Json& json, const std::string& what) {
  train::ObjectiveMix mix;
  if (!json.contains("objective")) return caller_error(what + ": the member 'objective' is missing.");
  const Json& objective = json["objective"];
  if (objective.is_string()) {
    RETORT_ASSIGN(const train::Term term, train::term_from_name(objective.get<std::string>()));
    mix.weight(term) = 1;
  } else if (objective.is_object()) {
    for (const auto& [name, weight] : objective.items()) {
      RETORT_ASSIGN(const train::Term term, train::term_from_name(name));
      RETORT_ASSIGN(mix.weight(term), member<double>(objective, name, what + ", objective"));
    }
  } else {
    return caller_error(what + ": the member 'objective' has the wrong type (" + objective.type_name() +
                        "); expected a name, or names with weights.");
  }
  RETORT_ASSIGN(mix.beta, optional_number(json, "beta", mix.beta, what));
  RETORT_ASSIGN(mix.skew, optional_number(json, "skew", mix.skew, what));
  RETORT_ASSIGN(mix.temperature, optional_number(json, "temperature", mix.temperature, what));
  if (json.contains("temperature_squared")) {
    RETORT_ASSIGN(mix.temperature_squared, member<bool>(json, "temperature_squared", what));
  }
  const Result<void> fine = train::check(mix);
  if (!fine) return caller_error(what + ": " + fine.error().message);
  return mix;
}

Result<std::vector<double>> read_logits(const Json& json, const char* key, std::size_t rows, std::size_t& vocabulary,
                                        const std::string& what) {
  if (!json.contains(key)) return caller_error(what + ": the member '" + key + "' is missing.");
  const Json& list = json[key];
  if (!list.is_array() || list.size() != rows) {
    return caller_error(what + ": '" + key + "' is " +
                        (list.is_array() ? "a list of " + std::to_string(list.size()) + " rows"
                                         : "a value of type " + std::string(list.type_name())) +
                        "; expected a list of " + std::to_string(rows) + " rows, one for each label.");
  }
  std::vector<double> logits;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::string place = what + ": row " + std::to_string(row) + " of '" + key + "'";
    if (!list[row].is_array() || list[row].empty()) {
      return caller_error(place + " is not a list of numbers; expected a logit for each word of the vocabulary.");
    }
    if (vocabulary == 0) vocabulary = list[row].size();
    if (list[row].size() != vocabulary) {
      return caller_error(place + " has " + std::to_string(list[row].size()) + " logits; expected " +
                          std::to_string(vocabulary) + ", as in the first row of 'student_logits'.");
    }
    for (const Json& value : list[row]) {
      const double logit = value.is_number() ? value.get<double>() : std::nan("");
      if (!std::isfinite(static_cast<float>(logit))) {
        return caller_error(place + " holds " + value.dump() + "; expected finite numbers (of FP32).");
      }
      logits.push_back(logit);
    }
  }
  return logits;
}

Result<Case> read_case(const std::string& text, const std::string& what) {
  Result<Json> parsed = parse_json(text, what);
  if (!parsed) {
    for (const char* word : {"NaN", "Infinity"}) {
      if (text.find(word) == std::string::npos) continue;
      return caller_error(parsed.error().message + " It holds '" + word + "': logits must be finite numbers.");
    }
    return Failure(std::move(parsed.error()));
  }
  const Json& json = *parsed;
  if (!json.is_object()) return caller_error(what + " is no JSON object. Expected one with 'objective' and logits.");
  RETORT_TRY(check_keys(json, what));
  Case result;
  RETORT_ASSIGN(result.mix, read_mix(json, what));
  if (json.contains("ignore_index")) {
    RETORT_ASSIGN(result.ignore_index, member<TokenId>(json, "ignore_index", what));
  }
  if (!json.contains("labels") || !json["labels"].is_array()) {
    return caller_error(what + ": 'labels' is missing or no list; expected a token id for each row of logits.");
  }
  const std::size_t rows = json["labels"].size();
  RETORT_ASSIGN(result.student, read_logits(json, "student_logits", rows, result.vocabulary, what));
  RETORT_ASSIGN(result.teacher, read_logits(json, "teacher_logits", rows, result.vocabulary, what));
  for (std::size_t row = 0; row < rows; ++row) {
    const Json& label = json["labels"][row];
    const std::string place = what + ": label " + std::to_string(row) + " is " + label.dump();
    if (!label.is_number_integer()) return caller_error(place + "; expected a whole number.");
    const auto id = label.get<std::int64_t>();
    if (id != result.ignore_index && (id < 0 || id >= static_cast<std::int64_t>(result.vocabulary))) {
      return caller_error(place + ", outside the vocabulary; expected 0 to " + std::to_string(result.vocabulary - 1) +
                          ", or " + std::to_string(result.ignore_index) + " where nothing is supervised.");
    }
    result.labels.push_back(static_cast<TokenId>(id));
  }
  return result;
}

// By the kernel that trains: the supervised rows in FP32.
struct Production {
  double loss = 0;
  std::vector<double> gradient;  // of all rows
  std::int64_t tokens = 0;
};

Production production(const Case& given) {
  std::vector<float> student;
  std::vector<float> teacher;
  std::vector<TokenId> targets;
  const auto append = [&](std::vector<float>& rows, const std::vector<double>& all, std::size_t row) {
    const double* begin = all.data() + row * given.vocabulary;
    std::transform(begin, begin + given.vocabulary, std::back_inserter(rows),
                   [](double value) { return static_cast<float>(value); });
  };
  for (std::size_t row = 0; row < given.labels.size(); ++row) {
    if (given.labels[row] == given.ignore_index) continue;
    targets.push_back(given.labels[row]);
    append(student, given.student, row);
    append(teacher, given.teacher, row);
  }
  Production result;
  result.gradient.assign(given.student.size(), 0);
  result.tokens = static_cast<std::int64_t>(targets.size());
  if (targets.empty()) return result;
  train::ObjectiveRows rows(given.mix, static_cast<std::int64_t>(given.vocabulary));
  const train::LossSums sums = rows.run(student.data(), teacher.data(), targets, result.tokens);
  result.loss = sums.loss / static_cast<double>(sums.tokens);
  std::size_t supervised = 0;
  for (std::size_t row = 0; row < given.labels.size(); ++row) {
    if (given.labels[row] == given.ignore_index) continue;
    const float* from = student.data() + supervised++ * given.vocabulary;
    std::copy(from, from + given.vocabulary, result.gradient.data() + row * given.vocabulary);
  }
  return result;
}

Result<Json> judged(const Case& given) {
  const Production made = production(given);
  const train::ReferenceLoss reference = train::reference_loss(given.mix, given.student, given.teacher, given.labels,
                                                               given.vocabulary, given.ignore_index);
  if (!std::isfinite(made.loss)) {
    return caller_error("The loss of these logits is not a finite number in FP32; expected logits of a smaller range.");
  }
  double worst = 0;
  for (std::size_t i = 0; i < made.gradient.size(); ++i) {
    worst = std::max(worst, std::abs(made.gradient[i] - reference.gradient[i]));
  }
  Json gradient = Json::array();
  for (std::size_t row = 0; row < given.labels.size(); ++row) {
    const auto begin = made.gradient.begin() + static_cast<std::ptrdiff_t>(row * given.vocabulary);
    gradient.push_back(std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(given.vocabulary)));
  }
  Json json = {{"loss", made.loss},
               {"grad", std::move(gradient)},
               {"reference_loss", reference.loss},
               {"max_grad_error", worst},
               {"tokens", made.tokens},
               {"objective", train::describe(given.mix)},
               {"temperature_squared", given.mix.temperature_squared},
               {"kernel", train::kernels().name}};
  if (made.tokens == 0) {
    json["note"] = "No row is supervised (every label is " + std::to_string(given.ignore_index) +
                   "): the loss is 0 and nothing would be learnt.";
  }
  return json;
}

}  // namespace

void register_objective(VerbSetup& verb) {
  const auto file = std::make_shared<std::string>();
  verb.app.add_option("case", *file, "A JSON file with objective, logits and labels; - reads standard input")
      ->required();
  verb.action = [file](Context& context) -> Result<void> {
    const bool standard_input = *file == "-";
    RETORT_ASSIGN(const std::string text, standard_input ? context.read_input() : read_file(*file));
    RETORT_ASSIGN(const Case given, read_case(text, standard_input ? "standard input" : *file));
    RETORT_ASSIGN(const Json result, judged(given));
    if (result.contains("note")) context.progress.note(result["note"].get<std::string>());
    context.emit(result);  // for people too: the result is a matrix
    return {};
  };
}

}  // namespace retort::app
