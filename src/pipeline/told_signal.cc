#include "pipeline/told_signal.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "collect/collect_options.h"
#include "dataset/signal_writer.h"
#include "tokens/answer_tokens.h"
#include "train/cached_signal.h"
#include "train/kernels.h"

namespace retort::pipeline {
namespace {

constexpr double kLeastLogprob = -50;  // some services write -9999 for "next to nothing"

// The likeliest with their probabilities, but for one slot's room; and the answer's own token, which stands for all
// others, where it isn't among them. The entropy is estimated alike (docs/formats/teacher-signal.md).
dataset::SignalRow row_of(const tokens::AnswerToken& token, std::size_t slots) {
  std::vector<std::pair<TokenId, double>> likeliest = token.likeliest;
  std::ranges::stable_sort(likeliest, std::ranges::greater(), &std::pair<TokenId, double>::second);
  dataset::SignalRow row;
  bool drawn_is_listed = false;
  double entropy = 0;
  for (const auto& [id, logprob] : likeliest) {
    if (row.slots.size() + 1 == slots) break;
    const double probability = std::min(1.0, std::exp(logprob));
    row.slots.push_back(dataset::top_slot(id, static_cast<float>(probability)));
    if (probability > 0) entropy -= probability * std::log(probability);
    drawn_is_listed = drawn_is_listed || id == token.id;
  }
  if (!drawn_is_listed) {
    row.slots.push_back({token.id, 1});
    entropy -= std::clamp(token.logprob, kLeastLogprob, 0.0);
  }
  row.entropy = static_cast<float>(entropy);
  row.slots.resize(slots);
  return row;
}

dataset::SignalRow row_of_text(TokenId id, std::size_t slots) {
  dataset::SignalRow row;
  row.slots.push_back({id, 1});
  row.slots.resize(slots);
  return row;
}

struct Told {
  std::int64_t places = 0, told = 0;
  std::int64_t answers = 0, answers_with_any = 0, answers_in_our_tokens = 0;
};

Failure too_little(const Told& told, const std::string& teacher) {
  const std::string begin = "train.signal is logprobs, but of " + human_count(told.places) + " tokens to learn from " +
                            teacher + " told the probabilities of " + human_count(told.told);
  if (told.answers_with_any < told.answers) {
    return caller_error(begin + ": " + human_count(told.answers - told.answers_with_any) + " of " +
                        human_count(told.answers) +
                        " answers were collected without. Set collect.logprobs to 0 or more and collect anew, or learn "
                        "from the text (train.signal: text, train.objective: ce).");
  }
  return caller_error(begin + ": only " + human_count(told.answers_in_our_tokens) + " of " + human_count(told.answers) +
                      " answers are made of tokens that the student has, so its tokenizer isn't the teacher's. Begin "
                      "from a model with the teacher's tokenizer (student.from), or learn from the text (train.signal: "
                      "text, train.objective: ce).");
}

}  // namespace

ToldRows told_rows(const Exchange& exchange, const dataset::Example& example, const tokens::Tokenizer& tokenizer,
                   std::int64_t max_length, std::int64_t slots) {
  const auto room = static_cast<std::size_t>(slots);
  std::optional<std::vector<tokens::AnswerToken>> drawn;
  std::size_t begin = 0;
  if (const auto& spans = exchange.tokens.spans; !spans.empty() && spans.back().sampled) {
    drawn = tokens::answer_tokens(exchange.completion, tokenizer);
    begin = spans.back().begin;
  }
  ToldRows result;
  const std::size_t end = std::min(example.ids.size(), static_cast<std::size_t>(max_length));
  for (std::size_t i = 1; i < end; ++i) {
    if (example.supervised[i] == 0) continue;
    const bool told = drawn && i >= begin && i - begin < drawn->size() && (*drawn)[i - begin].id == example.ids[i];
    result.rows.push_back(told ? row_of((*drawn)[i - begin], room) : row_of_text(example.ids[i], room));
    result.told += told ? 1 : 0;
  }
  return result;
}

dataset::SignalHeader told_header(const StageContext& context, std::span<const dataset::Example> examples,
                                  const train::TrainOptions& options) {
  dataset::SignalHeader header =
      train::signal_header(examples, options, dataset::SignalKind::kLogprobs, context.local.config.vocabulary);
  const auto collect = context.recipe.get(collect::collect_option_set());
  // One of the likeliest is left out and makes room for the drawn token: some servers put that in the last one's place,
  // and which are listed must not depend on what was drawn.
  header.slots = std::clamp<std::int64_t>(collect.logprobs.value_or(0), 1,
                                          std::min<std::int64_t>(header.vocabulary, train::kMostSparseTokens));
  header.seed = 0;  // nothing is drawn
  header.tokenizer = context.local.format.tokenizer().fingerprint();
  header.teacher = context.teacher.identity;
  header.compute = "a service";
  return header;
}

Result<void> write_told_signal(StageContext& context, const dataset::ReadExchange& read, std::span<const Digest> ids,
                               std::span<const dataset::Example> examples, const train::TrainOptions& options,
                               const std::filesystem::path& path) {
  RETORT_CHECK(ids.size() == examples.size());
  RETORT_TRY(make_folder(path.parent_path()));
  const dataset::SignalHeader header = told_header(context, examples, options);
  RETORT_ASSIGN(dataset::SignalWriter writer, dataset::SignalWriter::open(path, header));
  const std::int64_t written = writer.rows();  // by an attempt that was killed
  Told sum;
  for (std::size_t e = 0; e < ids.size(); ++e) {
    RETORT_ASSIGN(const Exchange exchange, read(ids[e]));
    const ToldRows rows =
        told_rows(exchange, examples[e], context.local.format.tokenizer(), options.max_length, header.slots);
    for (const dataset::SignalRow& row : rows.rows) {
      if (sum.places++ >= written) RETORT_TRY(writer.append(row));
    }
    sum.told += rows.told;
    ++sum.answers;
    sum.answers_with_any += exchange.completion.logprobs.empty() ? 0 : 1;
    sum.answers_in_our_tokens += rows.told > 0 ? 1 : 0;
  }
  if (2 * sum.told < sum.places) return too_little(sum, context.teacher.name);
  context.progress.note(context.teacher.name + " told the probabilities of " + human_count(sum.told) + " of the " +
                        human_count(sum.places) + " tokens that are learnt from (at most " +
                        std::to_string(header.slots) + " a place, one of them drawn); the others are learnt as text.");
  return writer.commit();
}

}  // namespace retort::pipeline
