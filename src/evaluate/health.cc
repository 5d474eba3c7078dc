#include "evaluate/health.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <utility>

#include "evaluate/health_sums.h"
#include "exchange/repetition.h"

namespace retort::evaluate {
namespace {

// Sums per exchange of a part of its tokens, for a bootstrap over exchanges.
struct Part {
  std::vector<double> sums, counts;
  explicit Part(std::size_t exchanges) : sums(exchanges), counts(exchanges) {}
  void add(std::size_t exchange, double value) {
    sums[exchange] += value;
    counts[exchange] += 1;
  }
  std::int64_t tokens() const {
    double total = 0;
    for (const double count : counts) total += count;
    return static_cast<std::int64_t>(total);
  }
  Estimate estimate(const BootstrapOptions& bootstrap) const { return bootstrap_ratio(sums, counts, bootstrap); }
};

std::string number(double value, int decimals) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", decimals, value);
  return text;
}

}  // namespace

Health measure_health(std::span<const std::vector<TokenComparison>> tokens, std::span<const std::string> sources,
                      std::span<const TokenId> end_ids, const BootstrapOptions& bootstrap) {
  Health health;
  const std::size_t exchanges = tokens.size();
  Part teacher_entropy(exchanges), model_entropy(exchanges);
  std::vector<Part> positions(kPositionParts, Part(exchanges));
  std::map<std::string, Part> by_source;
  HealthSums sums;
  for (std::size_t e = 0; e < exchanges; ++e) {
    Part& source = by_source.try_emplace(sources[e], exchanges).first->second;
    std::size_t index = 0;  // within the answer: runs of scored tokens
    for (std::size_t i = 0; i < tokens[e].size(); ++i) {
      const TokenComparison& token = tokens[e][i];
      index = i > 0 && tokens[e][i - 1].position + 1 == token.position ? index + 1 : 0;
      positions[position_part(index)].add(e, token.kl_nats);
      source.add(e, token.kl_nats);
      teacher_entropy.add(e, static_cast<double>(token.teacher_entropy));
      model_entropy.add(e, static_cast<double>(token.model_entropy));
      const bool ended = std::find(end_ids.begin(), end_ids.end(), token.id) != end_ids.end();
      sums.add(token, index, ended);
    }
  }
  for (std::size_t b = 0; b < kCalibrationBins; ++b) {
    const HealthSums::Bin& bin = sums.calibration[b];
    if (bin.tokens == 0) continue;
    health.calibration[b] = {static_cast<std::int64_t>(bin.tokens), bin.confidence / bin.tokens,
                             bin.teacher / bin.tokens};
  }
  health.calibration_error = sums.calibration_error();
  health.teacher_entropy = teacher_entropy.estimate(bootstrap);
  health.model_entropy = model_entropy.estimate(bootstrap);
  if (sums.at_end.tokens > 0) {
    health.teacher_end_at_end = sums.at_end.teacher / sums.at_end.tokens;
    health.model_end_at_end = sums.at_end.model / sums.at_end.tokens;
  }
  if (sums.elsewhere.tokens > 0) {
    health.teacher_end_elsewhere = sums.elsewhere.teacher / sums.elsewhere.tokens;
    health.model_end_elsewhere = sums.elsewhere.model / sums.elsewhere.tokens;
  }
  for (std::size_t p = 0; p < kPositionParts; ++p) {
    if (positions[p].tokens() == 0) continue;
    health.by_position.push_back(
        {std::string(kPositionNames[p]), positions[p].tokens(), positions[p].estimate(bootstrap)});
  }
  for (const auto& [name, part] : by_source) {
    if (part.tokens() > 0) health.by_source.push_back({name, part.tokens(), part.estimate(bootstrap)});
  }
  return health;
}

AnswerHealth measure_answers(std::span<const std::vector<TokenId>> prompts, std::span<const TokenCompletion> answers) {
  AnswerHealth health;
  if (answers.empty()) return health;
  std::set<std::pair<TokenId, TokenId>> different;
  double pairs = 0, empty = 0, copied = 0;
  for (std::size_t a = 0; a < answers.size(); ++a) {
    std::span<const TokenId> ids = answers[a].ids;
    if (answers[a].finish_reason == FinishReason::kEnd && !ids.empty()) ids = ids.first(ids.size() - 1);
    if (ids.empty()) empty += 1;
    for (std::size_t i = 1; i < ids.size(); ++i) {
      different.emplace(ids[i - 1], ids[i]);
      pairs += 1;
    }
    if (copies(ids, prompts[a], kCopiedTokens)) copied += 1;
  }
  const auto count = static_cast<double>(answers.size());
  health.distinct_bigrams = pairs > 0 ? static_cast<double>(different.size()) / pairs : 0;
  health.empty = empty / count;
  health.copied = copied / count;
  return health;
}

std::vector<std::string> warnings(const Health& health) {
  std::vector<std::string> sentences;
  const auto percent = [](double share, int decimals = 0) { return number(100 * share, decimals) + " %"; };
  const AnswerHealth& teacher = health.teacher_answers;
  const AnswerHealth& model = health.model_answers;
  if (model.empty > teacher.empty + 0.1) {
    sentences.push_back("The student empties: " + percent(model.empty) +
                        " of its answers are empty, of the teacher's " + percent(teacher.empty) + ".");
  }
  if (model.copied > teacher.copied + 0.15) {
    sentences.push_back("The student copies: " + percent(model.copied) +
                        " of its answers repeat a run of their prompt, of the teacher's " + percent(teacher.copied) +
                        ".");
  }
  if (health.model_entropy.value < 0.6 * health.teacher_entropy.value) {
    sentences.push_back("The student is much surer than its teacher: entropy " + number(health.model_entropy.value, 2) +
                        " nats against " + number(health.teacher_entropy.value, 2) + ".");
  }
  if (health.teacher_end_elsewhere >= 0 && health.model_end_elsewhere > 3 * health.teacher_end_elsewhere + 0.01) {
    sentences.push_back("The student would end answers early: " + percent(health.model_end_elsewhere, 1) +
                        " a token where the teacher goes on, the teacher " + percent(health.teacher_end_elsewhere, 1) +
                        ".");
  }
  return sentences;
}

}  // namespace retort::evaluate
