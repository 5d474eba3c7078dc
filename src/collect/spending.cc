#include "collect/spending.h"

#include <cmath>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"

namespace retort::collect {
namespace {

// Dollars for a million tokens are thousands of nano-dollars for one.
constexpr double kNanoUsdPerToken = 1e9 / 1e6;
constexpr double kNanoUsd = 1e9;

}  // namespace

store::NanoUsd price_of(const PriceOptions& prices, std::int64_t input_tokens, std::int64_t output_tokens) {
  const double input = prices.input_per_mtok.value_or(0) * static_cast<double>(input_tokens);
  const double output = prices.output_per_mtok.value_or(0) * static_cast<double>(output_tokens);
  return static_cast<store::NanoUsd>(std::ceil((input + output) * kNanoUsdPerToken));
}

PriceOptions prices_in_mode(const CollectOptions& options) {
  PriceOptions prices = options.prices;
  if (!options.batched() || !prices.batch_discount) return prices;
  for (std::optional<double>* price : {&prices.input_per_mtok, &prices.output_per_mtok}) {
    if (*price) **price *= 1 - *prices.batch_discount;
  }
  return prices;
}

Result<PriceOptions> prices_of(const CollectOptions& options, const std::string& model) {
  const std::string& file = options.price_file;
  if (file.empty()) return options.prices;
  RETORT_ASSIGN(const std::string text, read_file(file));
  RETORT_ASSIGN(const Json json, parse_json(text, file));
  std::vector<std::string> models;
  if (json.is_object()) {
    for (const auto& [name, value] : json.items()) models.push_back(name);
  }
  const std::string what = "The price file '" + file + "'";
  if (!json.is_object() || !json.contains(model)) {
    const std::string near = nearest(model, models);
    return caller_error(what + " has no prices of '" + model + "'" +
                        (near.empty() ? "" : "; the nearest is '" + near + "'") + ". Expected {\"" + model +
                        "\": {\"input_per_mtok\": …, \"output_per_mtok\": …}}.");
  }
  PriceOptions found = options.prices;
  RETORT_ASSIGN(const double input, member<double>(json[model], "input_per_mtok", what));
  RETORT_ASSIGN(const double output, member<double>(json[model], "output_per_mtok", what));
  if (input < 0 || output < 0) return caller_error(what + " has a price below 0 for '" + model + "'.");
  if (!found.batch_discount && json[model].contains("batch_discount")) {
    RETORT_ASSIGN(const double discount, member<double>(json[model], "batch_discount", what));
    if (discount < 0 || discount > 1) {
      return caller_error(what + " has a batch_discount for '" + model + "' that isn't between 0 and 1.");
    }
    found.batch_discount = discount;
  }
  if (!found.input_per_mtok) found.input_per_mtok = input;
  if (!found.output_per_mtok) found.output_per_mtok = output;
  return found;
}

Spending::Spending(const CollectOptions& options, const store::Totals& before)
    : budget_(options.budget),
      prices_(options.prices),
      requests_(before.attempts),
      settled_tokens_(before.input_tokens + before.output_tokens),
      reserved_tokens_(before.reserved_tokens),
      settled_nano_usd_(before.nano_usd),
      reserved_nano_usd_(before.reserved_nano_usd) {}

bool Spending::fits(const provider::WorstCase& worst) const {
  if (budget_.requests > 0 && requests_ + 1 > budget_.requests) return false;
  if (budget_.tokens > 0 && settled_tokens_ + reserved_tokens_ + worst.total() > budget_.tokens) return false;
  if (budget_.usd <= 0) return true;
  const store::NanoUsd cap = static_cast<store::NanoUsd>(std::floor(budget_.usd * kNanoUsd));
  return settled_nano_usd_ + reserved_nano_usd_ + cost(worst.input, worst.output) <= cap;
}

void Spending::reserve(const provider::WorstCase& worst) {
  ++requests_;
  reserved_tokens_ += worst.total();
  reserved_nano_usd_ += cost(worst.input, worst.output);
}

void Spending::settle(const provider::WorstCase& worst, std::int64_t input_tokens, std::int64_t output_tokens) {
  reserved_tokens_ -= worst.total();
  reserved_nano_usd_ -= cost(worst.input, worst.output);
  settled_tokens_ += input_tokens + output_tokens;
  settled_nano_usd_ += cost(input_tokens, output_tokens);
}

void Spending::settle(const store::OpenLine& line, std::int64_t input_tokens, std::int64_t output_tokens) {
  reserved_tokens_ -= line.input_tokens + line.output_tokens;
  reserved_nano_usd_ -= line.nano_usd;
  settled_tokens_ += input_tokens + output_tokens;
  settled_nano_usd_ += cost(input_tokens, output_tokens);
}

}  // namespace retort::collect
