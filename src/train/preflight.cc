#include "train/preflight.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "base/utf8.h"
#include "evaluate/compare.h"
#include "model/torch_scorer.h"
#include "train/cached_signal.h"
#include "train/lora.h"
#include "train/memory.h"
#include "train/objective_reference.h"
#include "train/objective_rows.h"

namespace retort::train {
namespace {

[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...) {
  char buffer[256];
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(buffer, sizeof(buffer), format, values);
  va_end(values);
  return buffer;
}

// A loss below this (nats a token) is all rounding, and so is its gradient: the student already is the teacher.
constexpr double kNothing = 1e-3;

// How far rounding alone may take a figure from the exact one.
struct Tolerances {
  double loss;       // relative
  double gradient;   // relative length of the difference
  double in_parts;   // the same, of a gradient that was summed in parts
  double loss_nats;  // however small the loss is
};
Tolerances rounding(const model::Decoder& student) {
  if (student.compute_type() == model::ComputeType::kFloat32) return {1e-4, 1e-3, 1e-2, 1e-6};
  return {1e-2, 3e-2, 1e-1, 2e-3};  // 8 bits of mantissa
}

double relative_distance(const at::Tensor& a, const at::Tensor& b) {
  const double length = b.to(at::kDouble).norm().item<double>();
  return (a.cpu().to(at::kDouble) - b.cpu().to(at::kDouble)).norm().item<double>() / std::max(length, 1e-300);
}

// The gradients of the first and the last block, copied: all of them would double the memory of a large student.
std::vector<at::Tensor> some_gradients(StepRunner& runner) {
  const std::string last = "blk." + std::to_string(runner.student().config().layers - 1) + ".";
  std::vector<at::Tensor> all;
  for (const AdamWParameter& parameter : runner.optimiser().parameters()) {
    const bool chosen = parameter.name.starts_with("blk.0.") || parameter.name.starts_with(last);
    if (chosen && !parameter.frozen()) all.push_back(parameter.gradient.clone());
  }
  return all;
}

double relative_distance(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double difference = 0, length = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]).to(at::kDouble).square().sum().item<double>();
    length += b[i].to(at::kDouble).square().sum().item<double>();
  }
  return std::sqrt(difference / std::max(length, 1e-300));
}

// The rows twice: first with the targets of the last alone, then with those of the others. Of two micro-batches of
// these the sums are those of the rows, and a matrix product of as many rows rounds alike.
std::vector<dataset::PackedRow> in_two_parts(const std::vector<dataset::PackedRow>& rows) {
  std::vector<dataset::PackedRow> parts = rows;
  parts.insert(parts.end(), rows.begin(), rows.end());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool is_last = i % rows.size() + 1 == rows.size();
    if (is_last == (i < rows.size())) continue;
    std::fill(parts[i].labels.begin(), parts[i].labels.end(), dataset::kNoLabel);
    parts[i].targets = 0;
  }
  return parts;
}

double gradient_norm(const AdamW& optimiser) {
  double squares = 0;
  for (const AdamWParameter& parameter : optimiser.parameters()) {
    if (parameter.frozen()) continue;
    const double norm = parameter.gradient.norm().item<double>();
    squares += norm * norm;
  }
  return std::sqrt(squares);
}

// The student with weights moved by `factor` times their gradients, until this goes.
class MovedWeights {
 public:
  MovedWeights(const AdamW& optimiser, double factor) {
    const torch::NoGradGuard no_gradient;
    for (const AdamWParameter& parameter : optimiser.parameters()) {
      if (parameter.frozen()) continue;
      saved_.emplace_back(parameter.compute, parameter.compute.clone());
      const at::Tensor moved = saved_.back().second.to(at::kFloat, false, true).add_(parameter.gradient, factor);
      saved_.back().first.copy_(parameter.compute.scalar_type() == at::kBFloat16 ? rounded(moved) : moved);
    }
  }
  ~MovedWeights() {
    const torch::NoGradGuard no_gradient;
    for (auto& [weights, copy] : saved_) weights.copy_(copy);
  }
  MovedWeights(const MovedWeights&) = delete;
  MovedWeights& operator=(const MovedWeights&) = delete;

 private:
  // Up or down to BF16 by chance, right on average: rounded to the nearest, most weights would not move at all.
  at::Tensor rounded(const at::Tensor& values) {
    const at::Tensor chance = at::randint(0, 1 << 16, values.sizes(), generator_, at::kInt).to(values.device());
    return values.view(at::kInt).add(chance).bitwise_and_(~0xFFFF).view(at::kFloat);
  }
  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(1);
  std::vector<std::pair<at::Tensor, at::Tensor>> saved_;  // what is computed with, and as it was
};

// Leaves the hidden states out of the loss while it is there.
class ObjectiveAlone {
 public:
  explicit ObjectiveAlone(StepRunner& runner) : runner_(runner), weight_(runner.hidden_state_weight()) {
    runner_.set_hidden_state_weight(0);
  }
  ~ObjectiveAlone() { runner_.set_hidden_state_weight(weight_); }
  ObjectiveAlone(const ObjectiveAlone&) = delete;
  ObjectiveAlone& operator=(const ObjectiveAlone&) = delete;

 private:
  StepRunner& runner_;
  double weight_;
};

class Preflight {
 public:
  Preflight(StepRunner& runner, const TrainOptions& options, const PreflightInput& input, dataset::Packing packing,
            std::size_t max_length)
      : runner_(runner),
        options_(options),
        input_(input),
        packing_(std::move(packing)),
        max_length_(max_length),
        batch_(make_batch(packing_.rows)),
        tolerances_(rounding(runner.student())) {
    const torch::NoGradGuard no_gradient;
    student_ = runner.student_hidden(batch_);
    if (input.teacher == nullptr) {
      in_place_ = runner.measure_student(student_, batch_.targets);
      return;
    }
    teacher_ = runner.teacher_hidden(batch_);
    in_place_ = runner.measure(student_, teacher_, batch_.targets);
  }

  Result<std::vector<Check>> run() {
    checks_.push_back(supervision());
    checks_.push_back(numbers());
    if (!checks_.back().passed) return std::move(checks_);  // nothing else can be measured
    checks_.push_back(input_.teacher != nullptr ? alignment() : alignment_of_student());
    checks_.push_back(reference());
    checks_.push_back(splitting());
    checks_.push_back(downhill());
    if (input_.teacher != nullptr) {
      RETORT_ASSIGN(Check itself, teacher_with_itself());
      checks_.push_back(std::move(itself));
    }
    return std::move(checks_);
  }

 private:
  // Every target of the examples is a label of the packed rows, once, right before it.
  Check supervision() const {
    Check check{"supervision", "Is every target learnt from once, and nothing else?", true, "", ""};
    std::int64_t wanted = 0, found = 0;
    for (const dataset::Example& example : input_.examples) {
      const auto seen = std::min(example.ids.size(), max_length_);
      wanted += std::count(example.supervised.begin(), example.supervised.begin() + static_cast<std::ptrdiff_t>(seen),
                           std::uint8_t{1});
    }
    for (const dataset::PackedRow& row : packing_.rows) {
      for (std::size_t t = 0; t < row.labels.size(); ++t) {
        if (row.labels[t] == dataset::kNoLabel) continue;
        ++found;
        const bool next = t + 1 < row.ids.size() && row.ids[t + 1] == row.labels[t] &&
                          row.document[t] != dataset::kNoDocument && row.document[t + 1] == row.document[t];
        check.passed = check.passed && next;
      }
    }
    check.passed = check.passed && wanted == found && static_cast<std::size_t>(found) == batch_.targets.size();
    check.measured = text("%lld targets in %zu examples, %lld labels in the packed rows",
                          static_cast<long long>(wanted), input_.examples.size(), static_cast<long long>(found));
    check.advice = "Look at `retort inspect` of the dataset: it marks the supervised tokens.";
    if (input_.decode) check.measured += "; between brackets is learnt: " + one_line(input_.examples.front());
    return check;
  }

  // The example as text, its targets in brackets, short enough to be read at a glance.
  std::string one_line(const dataset::Example& example) const {
    constexpr std::size_t kLongest = 400;
    std::string shown;
    for (const char c : dataset::render_marked(example, input_.decode)) {
      if (c == '\n') {
        shown += "\\n";
      } else {
        shown += c;
      }
    }
    const bool cut = shown.size() > kLongest;
    if (cut) shown.resize(kLongest);
    // Ids may be cut inside a character, and a model may sample bytes that are none.
    if (!is_valid_utf8(shown)) shown.resize(shown.size() - unfinished_utf8_suffix(shown));
    shown = repaired_utf8(shown);
    return cut ? shown + "…" : shown;
  }

  // Both give numbers at all.
  Check numbers() {
    Check check{"numbers", "Are all logits finite numbers?", true, "", ""};
    const LossSums& sums = in_place_;
    check.passed = sums.bad_student_rows == 0 && sums.bad_teacher_rows == 0;
    check.measured = text("the student logits hold NaN or infinity at %lld of %zu places",
                          static_cast<long long>(sums.bad_student_rows), batch_.targets.size());
    if (input_.teacher != nullptr) {
      check.measured += text(", the teacher logits at %lld", static_cast<long long>(sums.bad_teacher_rows));
    }
    check.advice = sums.bad_teacher_rows > 0 ? "Check the teacher's file, or set train.compute to fp32."
                                             : "Check the file the student was made from.";
    return check;
  }

  static constexpr const char* kShifted =
      "The rows are shifted against one another: positions, labels or packing are wrong.";

  std::vector<TokenId> labels_before() const {
    std::vector<TokenId> labels = batch_.targets;
    std::rotate(labels.begin(), labels.begin() + 1, labels.end());
    return labels;
  }
  std::vector<TokenId> labels_after() const {
    std::vector<TokenId> labels = batch_.targets;
    std::rotate(labels.rbegin(), labels.rbegin() + 1, labels.rend());
    return labels;
  }
  // Nats a token of the labels shifted by one, to the better side.
  template <class Measure>
  double shifted_cost(const Measure& measure) const {
    const double nats = std::min(measure(labels_before()).cross_entropy, measure(labels_after()).cross_entropy);
    return nats / static_cast<double>(batch_.targets.size());
  }
  // Text that surprises a model says nothing about places: what costs it more than `share` of a guess.
  bool is_telling(double cost, double gain, double share = 0.7) const {
    constexpr double kTelling = 0.3;
    return cost < share * std::log(static_cast<double>(runner_.student().config().vocabulary)) &&
           std::abs(gain) > kTelling;
  }

  // Rows of teacher and student speak of the same place: shifted by one, the loss is much worse.
  Check alignment() {
    Check check{"alignment", "Do teacher, student and labels speak of the same token?", true, "", ""};
    check.advice = kShifted;
    const std::vector<TokenId> before = labels_before(), after = labels_after();
    // Teacher's rows and labels are shifted together: the KL knows nothing of labels, nor the student's surprise at
    // them of the teacher.
    const LossSums students[] = {in_place_, runner_.measure(student_, teacher_.roll(1, 0), before),
                                 runner_.measure(student_, teacher_.roll(-1, 0), after)};
    const LossSums teachers[] = {runner_.measure_teacher(teacher_, batch_.targets),
                                 runner_.measure_teacher(teacher_, before), runner_.measure_teacher(teacher_, after)};
    const auto tokens = static_cast<double>(batch_.targets.size());
    const double aligned = students[0].kl / tokens;
    const double shifted = std::min(students[1].kl, students[2].kl) / tokens;
    // How much worse the labels shifted by one are, for a model: what it knows of the places.
    const auto gain = [&](const LossSums(&sums)[3], double& in_place) {
      in_place = sums[0].cross_entropy / tokens;
      return std::min(sums[1].cross_entropy, sums[2].cross_entropy) / tokens - in_place;
    };
    double teacher_cost = 0, student_cost = 0;
    const double teacher_gain = gain(teachers, teacher_cost);
    const double student_gain = gain(students, student_cost);
    // Nor does a student say anything that knows nothing yet (an untrained one with a tied head rather repeats its
    // input, and so likes labels that come too late).
    constexpr double kTelling = 0.3;
    const bool teacher_tells = is_telling(teacher_cost, teacher_gain);
    const bool student_tells = teacher_tells && student_gain > kTelling;
    check.passed = (!teacher_tells || teacher_gain > 0) && (!student_tells || shifted > aligned);
    check.measured = text(
        "KL %.2f in place, %.2f shifted by one; the labels cost teacher and student %.2f and %.2f nats, "
        "shifted %.2f and %.2f",
        aligned, shifted, teacher_cost, student_cost, teacher_cost + teacher_gain, student_cost + student_gain);
    if (!teacher_tells) check.measured += " (this text tells the teacher too little to be sure)";
    if (!student_tells) check.measured += " (the student knows too little yet to tell)";
    return check;
  }

  // Without a teacher the student's own surprise must tell, where it knows the text well enough.
  Check alignment_of_student() {
    Check check{"alignment", "Do student and labels speak of the same token?", true, "", ""};
    check.advice = kShifted;
    const double cost = in_place_.cross_entropy / static_cast<double>(batch_.targets.size());
    const double shifted = shifted_cost([&](const auto& labels) { return runner_.measure_student(student_, labels); });
    const bool tells = is_telling(cost, shifted - cost, 0.5);  // an untrained one rather repeats its input
    check.passed = !tells || shifted > cost;
    check.measured = text("the labels cost the student %.2f nats, shifted by one %.2f", cost, shifted);
    if (!tells) check.measured += " (it knows too little yet to tell)";
    return check;
  }

  // The kernel that trains, on logits of these very models, against the formula in double precision.
  Check reference() {
    Check check{"reference", "Are loss and gradient those of the formula?", true, "", ""};
    check.advice = "The loss kernel is wrong on this processor: please report it with `retort doctor --json`.";
    const torch::NoGradGuard no_gradient;
    const std::int64_t rows = std::min<std::int64_t>(16, student_.size(0));
    const auto logits = [&](const at::Tensor& hidden, const at::Tensor& head) {
      return at::mm(hidden.narrow(0, 0, rows), head.t()).contiguous();
    };
    const at::Tensor student = logits(student_, runner_.student().head_weight());
    const auto targets = std::span(batch_.targets).first(static_cast<std::size_t>(rows));
    const std::int64_t vocabulary = student.size(1);
    const auto doubles = [](const at::Tensor& tensor) {
      const at::Tensor values = tensor.cpu().to(at::kDouble).contiguous();
      return std::vector<double>(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
    };
    const ObjectiveMix mix = objective_mix(options_);
    const auto size = static_cast<std::size_t>(vocabulary);
    at::Tensor gradient = student.clone();
    ReferenceLoss exact;
    LossSums sums;
    if (runner_.cached() != nullptr) {
      const SparseSignal kept = runner_.cached()->find(packing_.rows);
      exact = reference_loss(mix, doubles(student), kept, targets, size);
      sums = runner_.on_logits(gradient, kept, targets, rows);
    } else {
      const at::Tensor teacher = logits(teacher_, input_.teacher->head_weight());
      exact = reference_loss(mix, doubles(student), doubles(teacher), targets, size, dataset::kNoLabel);
      sums = runner_.on_logits(gradient, teacher, targets, rows);
    }
    const double loss = sums.loss / static_cast<double>(rows);
    const at::Tensor exact_gradient = torch::tensor(exact.gradient, at::kDouble).view({rows, vocabulary});
    const double off = std::abs(loss - exact.loss) / std::max(std::abs(exact.loss), 1e-3);
    const double gradient_off = relative_distance(gradient, exact_gradient);
    const bool nothing = std::abs(exact.loss) < kNothing;  // the teacher itself: its gradient is rounding
    check.passed = off < 1e-4 && (nothing || gradient_off < tolerances_.gradient / 3);
    check.measured =
        text("loss %.6f, formula %.6f; the gradient differs by %.1e of its length", loss, exact.loss, gradient_off);
    return check;
  }

  // One batch, one row at a time, or two parts of unlike size: the same loss and the same gradient.
  Check splitting() {
    Check check{"splitting", "Do loss and gradient stay when the batch is split?", true, "", ""};
    check.advice = "The normalisation depends on the split: gradients of a micro-batch must be divided by the whole.";
    const std::vector<dataset::PackedRow>& rows = packing_.rows;
    const double by_rows = runner_.gradients({rows, {}}, 1).loss;
    // One row at a time every product rounds otherwise; of a student near its teacher that is much of the gradient. So
    // the gradient is compared where it doesn't.
    const std::vector<dataset::PackedRow> parts = in_two_parts(rows);
    const double in_parts = runner_.gradients({parts, {}}, packing_.tokens).loss;
    const std::vector<at::Tensor> part_gradients = some_gradients(runner_);
    loss_ = runner_.gradients({rows, {}}, packing_.tokens).loss;
    const auto off = [&](double loss) { return std::abs(loss - loss_) / std::max(std::abs(loss_), 1e-3); };
    const double gradient_off = relative_distance(part_gradients, some_gradients(runner_));
    const bool same_loss = std::abs(by_rows - loss_) < tolerances_.loss * std::abs(loss_) + tolerances_.loss_nats;
    check.passed = loss_ < kNothing || (same_loss && off(in_parts) < 1e-4 && gradient_off < tolerances_.in_parts);
    check.measured =
        text("in %zu parts the loss differs by %.1e, in two of unlike size by %.1e and the gradient by %.1e of itself",
             rows.size(), off(by_rows), off(in_parts), gradient_off);
    return check;
  }

  // A step down the gradient (which splitting() left) lowers the loss by what it says, to first order.
  Check downhill() {
    Check check{"downhill", "Does a step down the gradient lower the loss as it predicts?", true, "", ""};
    check.advice = "The gradient isn't that of the loss: a term is missing, or has the wrong sign.";
    go_down(check);
    if (!check.passed || runner_.hidden_state_weight() == 0) return check;
    // Of both together most of the gradient is the hidden states'; the objective's could be of any length.
    const ObjectiveAlone alone(runner_);
    const std::string together = check.measured;
    loss_ = runner_.gradients({packing_.rows, {}}, packing_.tokens).loss;
    go_down(check);
    check.measured = together + "; of the objective alone: " + check.measured;
    return check;
  }

  // Down the gradient in the optimiser, which is that of loss_: what happened, and whether it is what was predicted.
  void go_down(Check& check) {
    const double norm = gradient_norm(runner_.optimiser());
    if (loss_ < std::max(kNothing, 10 * tolerances_.loss_nats) || norm == 0) {
      check.passed = std::isfinite(norm);
      check.measured = text("there is nothing to go down: the loss is %.1e", loss_);
      return;
    }
    // Between a step down and one up: near a minimum along the gradient the loss bends within a step, but alike on both
    // sides. A large step bends otherwise, and a small one drowns in rounding: two that agree tell the slope, the first
    // two that do. Where none do, one must fit.
    struct Slope {
      double wanted = 0, happened = 0;
      double ratio() const { return happened / wanted; }
    };
    std::map<double, Slope> by_share;
    const auto slope = [&](double share) {
      const auto known = by_share.find(share);
      if (known != by_share.end()) return known->second;
      const double wanted = share * std::max(loss_, 0.01);
      const auto loss_after = [&](double step) {
        const MovedWeights moved(runner_.optimiser(), step * wanted / (norm * norm));
        return runner_.loss({packing_.rows, {}});
      };
      return by_share[share] = {wanted, (loss_after(1) - loss_after(-1)) / 2};
    };
    const auto tell = [&](const Slope& one, bool agreed) {
      check.passed = one.ratio() > 0.6 && one.ratio() < 1.4;
      check.measured = text("%.4f predicted, %.4f happened", one.wanted, one.happened);
      if (!agreed) check.measured += " (and otherwise with other steps: rounding is as large)";
    };
    for (const auto& [large, small] : {std::pair(0.03, 0.01), {0.1, 0.03}, {0.01, 0.003}, {0.3, 0.1}}) {
      const Slope a = slope(large), b = slope(small);
      const bool above_rounding = std::abs(b.happened) > 5 * tolerances_.loss_nats;
      if (above_rounding &&
          std::abs(a.ratio() - b.ratio()) < 0.25 * std::max(std::abs(a.ratio()), std::abs(b.ratio()))) {
        tell(b, true);
        return;
      }
    }
    for (const auto& [share, one] : by_share) {
      tell(one, false);
      if (check.passed) return;
    }
  }

  Result<Check> teacher_with_itself() {
    Check check{"teacher", "Does the teacher agree with itself?", true, "", ""};
    check.advice = "The two engines read the file differently, or one of them computes wrongly on this processor.";
    const torch::NoGradGuard no_gradient;
    const double again = relative_distance(runner_.teacher_hidden(batch_), teacher_);
    check.passed = again == 0;
    check.measured = again == 0 ? "scored twice: the same to the bit" : text("scored twice: off by %.1e", again);
    if (!input_.open_other_engine) return check;
    RETORT_ASSIGN(const double kl, kl_between_engines());
    check.passed = check.passed && kl < 0.1;
    check.measured += text("; against %s: %.4f nats per token", input_.other_name.c_str(), kl);
    return check;
  }

  // KL(this engine || the other) on the first example with targets, mean over them.
  Result<double> kl_between_engines() {
    const auto example = std::find_if(input_.examples.begin(), input_.examples.end(),
                                      [](const dataset::Example& candidate) { return candidate.targets() > 0; });
    model::TorchScorer ours(*input_.teacher);
    runner_.sharding().forget_gradients();
    release_memory();
    RETORT_ASSIGN(const std::unique_ptr<Scorer> engine, input_.open_other_engine());
    const evaluate::ComparedModel other[] = {{input_.other_name, engine.get()}};
    const evaluate::HeldOutExample compared[] = {{example->ids, example->supervised}};
    SilentProgress silent;
    RETORT_ASSIGN(const evaluate::Comparison comparison,
                  evaluate::compare(ours, other, compared, {.threads = 0, .end_ids = {}}, silent, {}));
    return comparison.models[0].exchanges[0].kl_nats / static_cast<double>(comparison.tokens);
  }

  StepRunner& runner_;
  const TrainOptions& options_;
  const PreflightInput& input_;
  dataset::Packing packing_;
  std::size_t max_length_;
  Batch batch_;
  Tolerances tolerances_;
  at::Tensor teacher_, student_;  // hidden states at the supervised places
  LossSums in_place_;             // of them, as they stand
  double loss_ = 0;               // of the batch as a whole, whose gradient is in the optimiser
  std::vector<Check> checks_;
};

}  // namespace

Result<std::vector<Check>> preflight(StepRunner& runner, const TrainOptions& options, const PreflightInput& input) {
  // Short ones where there are, so that several rows come together soon.
  const auto length = static_cast<std::size_t>(std::min<std::int64_t>(options.max_length, kPreflightTokens / 2));
  std::vector<dataset::Example> chosen;
  std::vector<std::uint32_t> places;
  std::int64_t tokens = 0;
  for (const bool any_length : {false, true}) {
    for (std::size_t i = 0; i < input.examples.size() && tokens < kPreflightTokens; ++i) {
      const dataset::Example& example = input.examples[i];
      if (example.ids.empty() || (!any_length && example.ids.size() > length)) continue;
      if (std::find(places.begin(), places.end(), i) != places.end()) continue;
      chosen.push_back(example);
      places.push_back(static_cast<std::uint32_t>(i));
      tokens += static_cast<std::int64_t>(example.ids.size());
      if (any_length) break;  // one will do
    }
  }
  PreflightInput used = input;
  used.examples = chosen;
  dataset::PackOptions pack;
  pack.max_length = length;
  for (const dataset::Example& example : chosen) {
    const auto whole = std::min(example.ids.size(), static_cast<std::size_t>(options.max_length));
    pack.max_length = std::max(pack.max_length, whole);
  }
  dataset::Packing packing = dataset::pack(chosen, pack);
  for (dataset::PackedRow& row : packing.rows) {
    for (std::uint32_t& example : row.examples) example = places[example];  // as the run counts them
  }
  if (packing.targets == 0) {
    return caller_error(
        "None of the first examples has a supervised token: there is nothing to check or to learn. See "
        "train.supervise.");
  }
  return Preflight(runner, options, used, std::move(packing), pack.max_length).run();
}

std::optional<Failure> failure_of(std::span<const Check> checks) {
  for (const Check& check : checks) {
    if (check.passed) continue;
    return world_error("The training was not begun, because a check before it failed (" + check.name + "). " +
                       check.question + " No: " + check.measured + ". " + check.advice);
  }
  return std::nullopt;
}

Json to_json(const Check& check) {
  return {{"name", check.name}, {"question", check.question}, {"passed", check.passed}, {"measured", check.measured}};
}

}  // namespace retort::train
