#include "train/objective_mix.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/text.h"

namespace retort::train {
namespace {

// The shortest text that reads back as the same number.
std::string number(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

bool within_zero_and_one(double value) { return value >= 0 && value <= 1; }

}  // namespace

const std::vector<std::string>& term_names() {
  static const std::vector<std::string> names = {"forward_kl", "reverse_kl", "jsd", "skew_kl", "skew_rkl", "tvd", "ce"};
  return names;
}

std::string_view name_of(Term term) { return term_names()[static_cast<std::size_t>(term)]; }

Result<Term> term_from_name(std::string_view name) {
  const std::vector<std::string>& names = term_names();
  const auto found = std::ranges::find(names, name);
  if (found != names.end()) return static_cast<Term>(found - names.begin());
  std::string all;
  for (const std::string& known : names) all += (all.empty() ? "" : ", ") + known;
  const std::string near = nearest(name, names);
  return caller_error("There is no objective '" + std::string(name) + "'; expected one of: " + all + "." +
                      (near.empty() ? "" : " Did you mean '" + near + "'?"));
}

Result<void> check(const ObjectiveMix& mix) {
  double sum = 0;
  for (std::size_t i = 0; i < kTerms; ++i) {
    if (!(mix.weights[i] >= 0) || !std::isfinite(mix.weights[i])) {
      return caller_error("objective: the weight of " + term_names()[i] + " is " + number(mix.weights[i]) +
                          "; expected a number of at least 0.");
    }
    sum += mix.weights[i];
  }
  if (sum <= 0) return caller_error("objective: no weight is above 0; expected at least one.");
  if (!within_zero_and_one(mix.beta)) {
    return caller_error("beta is " + number(mix.beta) + "; expected a number from 0 to 1.");
  }
  if (!within_zero_and_one(mix.skew)) {
    return caller_error("skew is " + number(mix.skew) + "; expected a number from 0 to 1.");
  }
  if (!(mix.temperature > 0) || !std::isfinite(mix.temperature)) {
    return caller_error("temperature is " + number(mix.temperature) + "; expected a number above 0.");
  }
  return {};
}

ObjectiveMix resolved(const ObjectiveMix& mix) {
  ObjectiveMix result = mix;
  const auto move = [&](Term from, Term to) {
    result.weight(to) += result.weight(from);
    result.weight(from) = 0;
  };
  if (mix.beta == 0) move(Term::kJsd, Term::kForwardKl);
  if (mix.beta == 1) move(Term::kJsd, Term::kReverseKl);
  if (mix.skew == 0) {
    move(Term::kSkewKl, Term::kForwardKl);
    move(Term::kSkewRkl, Term::kReverseKl);
  }
  if (mix.skew == 1) result.weight(Term::kSkewKl) = result.weight(Term::kSkewRkl) = 0;
  return result;
}

std::string describe(const ObjectiveMix& mix) {
  std::string text;
  for (std::size_t i = 0; i < kTerms; ++i) {
    if (mix.weights[i] == 0) continue;
    const auto term = static_cast<Term>(i);
    text += text.empty() ? "" : " + ";
    if (mix.weights[i] != 1) text += number(mix.weights[i]) + " ";
    text += name_of(term);
    if (term == Term::kJsd) text += " (beta " + number(mix.beta) + ")";
    if (term == Term::kSkewKl || term == Term::kSkewRkl) text += " (skew " + number(mix.skew) + ")";
  }
  if (mix.temperature != 1) {
    text += ", temperature " + number(mix.temperature) + (mix.temperature_squared ? ", times its square" : "");
  }
  return text;
}

}  // namespace retort::train
