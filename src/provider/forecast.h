// How many tokens a request will use, and how many it can use at most.
//
// The first decides when it may start; it is learnt from the answers and starts from a guess. The second is what a
// budget reserves, and is certain: a token of any tokenizer in use stands for at least one byte, and an answer ends at
// the limit that was sent. Pure; one thread per object.
#pragma once

#include <cstdint>

#include "exchange/exchange.h"
#include "provider/dialect.h"

namespace retort::provider {

// Upper bounds, in tokens.
struct WorstCase {
  std::int64_t input = 0;
  std::int64_t output = 0;
  std::int64_t total() const { return input + output; }
};

// Bytes of everything in the prompt that the model reads.
std::int64_t prompt_bytes(const Prompt& prompt);
WorstCase worst_case(const Prompt& prompt, std::int64_t max_tokens);

class Forecast {
 public:
  explicit Forecast(std::int64_t max_tokens) : output_(0.5 * static_cast<double>(max_tokens)) {}
  double tokens(std::int64_t bytes) const { return input_per_byte_ * static_cast<double>(bytes) + output_; }
  void learn(std::int64_t bytes, const Usage& usage);

 private:
  double input_per_byte_ = 0.35;
  double output_;
  double answers_ = 0;
};

}  // namespace retort::provider
