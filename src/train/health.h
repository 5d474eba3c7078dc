// The student's health while it trains: what is measured beside the held-out KL, and when to warn.
//
// Places are compared as evaluation compares them (evaluate/health_sums.h: FP64, one binning). Plain values, pure
// functions; any thread. Needs no libtorch.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "dataset/example.h"
#include "evaluate/health_sums.h"
#include "exchange/engine.h"

namespace retort::train {

// Answers of one model; shares are of the answers.
struct AnswerFigures {
  std::int64_t answers = 0;
  double tokens = 0;  // mean length, without the end token
  double ended = 0;   // by themselves, not by the limit
  double empty = 0;   // without a token before the end
  double copied = 0;  // repeat a run of their prompt (exchange/repetition.h)
  double looping = 0;
  double distinct_bigrams = 0;  // different pairs of tokens among all pairs
  bool operator==(const AnswerFigures&) const = default;
};

// The student's own answers beside the teacher's, cut at the same length.
struct OwnAnswers {
  AnswerFigures student, teacher;
  bool operator==(const OwnAnswers&) const = default;
};

// Perplexity on a text that isn't learnt from.
struct TextFigures {
  std::int64_t tokens = 0;
  double student = 0;
  std::optional<double> teacher;  // absent where it gives its text alone
  bool operator==(const TextFigures&) const = default;
};

// Measured on the held-out answers at temperature 1, whatever is trained. What needs the teacher's probabilities is
// absent where it gives its text alone.
struct StudentHealth {
  std::int64_t tokens = 0;
  std::optional<double> teacher_entropy;  // nats, mean over the tokens
  double student_entropy = 0;
  std::optional<double> calibration_error;  // mean |student's sureness - teacher's probability of that token|
  std::optional<double> agreement;          // share of places with the same likeliest token
  double perplexity = 0;                    // of the student, on the teacher's answers
  // Mean probability of ending where the teacher's answer ended, and where it went on; absent without such a place.
  std::optional<double> teacher_end_at_end, student_end_at_end, teacher_end_elsewhere, student_end_elsewhere;
  std::array<std::optional<double>, evaluate::kPositionParts> kl_by_position;  // nats; evaluate::kPositionNames
  std::optional<TextFigures> text;                                             // of the user's
  std::optional<OwnAnswers> answers;
  bool operator==(const StudentHealth&) const = default;
};

// Nothing when no place could be compared.
std::optional<StudentHealth> student_health(const evaluate::HealthSums& sums);
// Leaves what is the student's alone.
void forget_teacher(StudentHealth& health);
// exp of a mean surprise in nats, finite whatever it is.
double perplexity_of(double nats);

Json to_json(const OwnAnswers& answers);
Json to_json(const StudentHealth& health);
Result<OwnAnswers> own_answers_from_json(const Json& json, const std::string& what);
Result<StudentHealth> student_health_from_json(const Json& json, const std::string& what);

// `answers[i]` to `prompts[i]`.
AnswerFigures describe_answers(std::span<const std::vector<TokenId>> prompts, std::span<const TokenCompletion> answers);

// The last answer of an example (its last run of targets) and what stands before it. `prompt` is empty when there is
// none. An answer longer than `limit` is cut and hasn't ended.
struct LastAnswer {
  std::vector<TokenId> prompt;
  TokenCompletion answer;
};
LastAnswer last_answer(const dataset::Example& example, std::span<const TokenId> end_ids, std::size_t limit);

// When a warning is due. Shares are of answers, above the teacher's own share.
inline constexpr double kFewestAnswers = 2;  // so many answers more than the teacher's, whatever the share
inline constexpr double kEmptyMargin = 0.2;
inline constexpr double kCopiedMargin = 0.3;
inline constexpr double kLoopingMargin = 0.5;
inline constexpr double kShortShare = 0.4;    // the student's mean length, of the teacher's
inline constexpr double kShortTokens = 8;     // and the teacher's is at least so long
inline constexpr double kEntropyShare = 0.6;  // the student's entropy, of the teacher's
inline constexpr double kEntropyNats = 0.1;   // and so much below it
inline constexpr double kEarlyEndTimes = 3;   // the student's probability of ending elsewhere, of the teacher's,
inline constexpr double kEarlyEndProbability = 0.01;  // and this more
inline constexpr double kForgottenTimes = 1.2;        // perplexity on the user's text, of what it was before training

struct HealthWarning {
  std::string kind;         // "empties", "short", "copies", "loops", "entropy", "ends_early", "forgets"
  std::string sentence;     // with the figures
  bool of_answers = false;  // judged by the student's own answers, which aren't asked for at every measurement
};
std::vector<HealthWarning> warnings(const OwnAnswers& answers);
// `before`: of the student before any step; may be null.
std::vector<HealthWarning> warnings(const StudentHealth& health, const StudentHealth* before);

}  // namespace retort::train
