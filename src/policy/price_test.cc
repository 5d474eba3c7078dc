#include "policy/price.h"

#include <gtest/gtest.h>

namespace retort::policy {
namespace {

api::Usage usage(std::int64_t input, std::int64_t cached, std::int64_t written, std::int64_t output) {
  api::Usage counted;
  counted.input = input;
  counted.cached = cached;
  counted.cache_written = written;
  counted.output = output;
  return counted;
}

Price priced(std::optional<double> cached, std::optional<double> written) {
  Price price;
  price.input_per_mtok = 3;
  price.output_per_mtok = 15;
  price.cached_input_per_mtok = cached;
  price.cache_write_per_mtok = written;
  return price;
}

TEST(Price, TokensOfACacheHaveTheirOwn) {
  const Price price = priced(0.3, 6);
  EXPECT_EQ(cost_of(price, usage(330, 300, 20, 42)), 10 * 3000 + 300 * 300 + 20 * 6000 + 42 * 15000);
}

TEST(Price, WithoutOnesOfItsOwnACacheCostsWhatInputDoes) {
  const Price price = priced({}, {});
  EXPECT_EQ(cost_of(price, usage(330, 300, 20, 42)), 330 * 3000 + 42 * 15000);
}

TEST(Price, BatchesCostTheirPartOfEveryPrice) {
  Price price = priced(0.3, 6);
  price.batch_factor = 0.5;
  EXPECT_EQ(token_prices(batch_price(price)), (TokenPrices{1500, 150, 3000, 7500}));
  EXPECT_EQ(cost_of(token_prices(batch_price(price)), usage(330, 300, 20, 42)),
            10 * 1500 + 300 * 150 + 20 * 3000 + 42 * 7500);
  EXPECT_EQ(dearest({1, 9, 3, 4}, {5, 2, 3, 8}), (TokenPrices{5, 9, 3, 8}));
}

TEST(Price, TheMostIsNeverLessThanWhatIsCounted) {
  const Price price = priced(0.3, 6);
  for (const auto& [cached, written] : {std::pair{0, 0}, {1000, 0}, {0, 1000}, {300, 300}}) {
    EXPECT_GE(most_for(price, 1000, 50), cost_of(price, usage(1000, cached, written, 50))) << cached << " " << written;
  }
}

}  // namespace
}  // namespace retort::policy
