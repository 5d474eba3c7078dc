#include "callers/administration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "callers/test_folder.h"

namespace retort::callers {
namespace {

TEST(Administration, AnAccountIsAsItIsOrMade) {
  const TestFolder folder;
  Registry registry = folder.open();
  const AccountWish wish{
      .account = "acme", .organisation = {}, .tier = "verified", .kind = {}, .plan_usd_cents_month = {}};
  EXPECT_EQ(ensure_account(registry, ada(), wish).value(), "acme");
  EXPECT_EQ(ensure_account(registry, ada(), wish).value(), "acme") << "a second time it is as it is";
  EXPECT_EQ(registry.accounts()->size(), 1U);
  AccountWish other = wish;
  other.tier = "own";
  const auto refused = ensure_account(registry, ada(), other);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("otherwise"));
  EXPECT_EQ(ensure_account(registry, ada(), {}).value(), "account-2");
}

TEST(Administration, TimesAndSumsAreReadExactly) {
  constexpr std::int64_t kNow_ms = 1'000'000'000'000;
  EXPECT_EQ(parse_expiry("2d", kNow_ms).value(), kNow_ms + 2 * kDay_ms);
  EXPECT_EQ(parse_expiry("2027-01-31T12:00:00Z", kNow_ms).value(), 1'801'396'800'000);
  for (const char* bad : {"", "2d ", "2027-02-30", "1999-01-01", "tomorrow", "-1d"})
    EXPECT_FALSE(parse_expiry(bad, kNow_ms)) << bad;
  EXPECT_EQ(parse_usd_cents("19.9").value(), 1990);
  for (const char* bad : {"", "19.999", "-1", "1e3", "1."}) EXPECT_FALSE(parse_usd_cents(bad)) << bad;
}

}  // namespace
}  // namespace retort::callers
