// Teacher and models on held-out exchanges, token by token, in FP64.
//
// For every scored token the full distributions of teacher and model at that place are compared: KL(teacher || model)
// in nats at temperature 1, whether their likeliest tokens agree, and -log of the probability the model gave to the
// token the teacher wrote. All are kept per token and summed per exchange; estimates are token-weighted (sum over sum)
// with a bootstrap interval over exchanges.
//
// The teacher is run once an exchange and its rows serve all models. Memory: (scored tokens of the longest exchange) x
// vocabulary x 4 bytes. Engines are borrowed for the call and used from the calling thread only; the arithmetic between
// runs on options.threads threads. The result doesn't depend on the number of threads or on the order of the models.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "evaluate/bootstrap.h"
#include "exchange/engine.h"
#include "exchange/exchange.h"
#include "exchange/scorecard.h"

namespace retort::evaluate {

// One held-out exchange: ids as the teacher saw them, and which of them are scored.
struct HeldOutExample {
  std::vector<TokenId> ids;
  std::vector<std::uint8_t>
      scored;  // as long as ids; scored[t]: the prediction of ids[t] from ids[0..t) counts. scored[0] is ignored
  std::int64_t tokens() const;  // how many are scored
};

// The assistant's tokens with the end token where there is one: what the spans of kind kAssistant cover. Only spans
// that the teacher sampled, or that came with the file: scaffold, system and user tokens aren't scored.
HeldOutExample held_out_example(const Exchange& exchange);

// What two models thought at one place.
struct TokenComparison {
  std::uint32_t position = 0;  // of the token in the exchange's ids
  TokenId id = 0;              // the token that stands there
  TokenId teacher_top = 0, model_top = 0;
  float teacher_top_probability = 0, model_top_probability = 0;
  float teacher_probability = 0, model_probability = 0;  // of `id`
  float teacher_entropy = 0, model_entropy = 0;          // nats
  float teacher_of_model_top = 0;                        // the teacher's probability of `model_top`
  float teacher_end = 0, model_end = 0;                  // probability of ending here: all of CompareOptions::end_ids
  double kl_nats = 0;
  double negative_log_probability = 0;  // of `id`, for the model, nats
};

// One place from its two rows of logits, of one length. Nothing when a logit isn't finite.
std::optional<TokenComparison> compare_rows(std::uint32_t position, TokenId id, std::span<const float> teacher_logits,
                                            std::span<const float> model_logits, std::span<const TokenId> end_ids);

// Sums over the scored tokens of one exchange.
struct ExchangeSums {
  std::int64_t tokens = 0;
  double kl_nats = 0;
  double agreed = 0;
  double negative_log_probability = 0;
};

struct ModelComparison {
  std::string name;
  std::vector<ExchangeSums> exchanges;               // in the order of the examples, as many as were compared
  std::vector<std::vector<TokenComparison>> tokens;  // per exchange, ascending positions
};

struct ComparedModel {
  std::string name;  // for messages and the result
  Scorer* scorer = nullptr;
  std::size_t examples = std::numeric_limits<std::size_t>::max();  // compared on the first so many
};

struct Comparison {
  ModelComparison teacher;              // compared with itself: KL 0, agreement 1, its own perplexity
  std::vector<ModelComparison> models;  // in the order given
  std::int64_t tokens = 0;              // scored, over all exchanges
};

struct CompareOptions {
  int threads = 0;                   // for the arithmetic; 0: as many as the machine has
  std::span<const TokenId> end_ids;  // what ends an answer; may be empty
};

// Errors (kCaller): no examples or none with a scored token; a model whose vocabulary has another size than the
// teacher's; an exchange longer than a model's context; an id outside the vocabulary. kWorld: a model gave logits that
// aren't finite (its name, exchange and position are said). kInterrupted between exchanges.
Result<Comparison> compare(Scorer& teacher, std::span<const ComparedModel> models,
                           std::span<const HeldOutExample> examples, const CompareOptions& options, Progress& progress,
                           std::stop_token stop);

struct QualityEstimates {
  Estimate kl_nats;
  Estimate top1_agreement;
  Estimate perplexity;
};
QualityEstimates estimate_quality(std::span<const ExchangeSums> exchanges, const BootstrapOptions& options);
// Puts the three into `score`.
void set_quality(ModelScore& score, const QualityEstimates& quality);

// Share of the untrained cut's KL that training took away, 1 - KL(student) / KL(before), paired over exchanges. 0 when
// the cut has no KL to lose.
Estimate share_of_kl_closed(std::span<const ExchangeSums> before, std::span<const ExchangeSums> student,
                            const BootstrapOptions& options);

}  // namespace retort::evaluate
