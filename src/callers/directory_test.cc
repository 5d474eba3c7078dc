#include "callers/directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "callers/lines.h"
#include "callers/test_folder.h"

namespace retort::callers {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::shared_ptr<const CallerDirectory> load(Registry registry, const OwnershipRule& rule = {}) {
  auto loaded = CallerDirectory::load(std::make_shared<const Registry>(std::move(registry)), rule);
  RETORT_CHECK(loaded.has_value());
  return *loaded;
}

std::string key_for(Registry& registry, const std::string& account, std::optional<std::int64_t> expires = {}) {
  return registry.create_key(ada(), {.account = account, .note = "", .expires_unix_ms = expires})->text;
}

Refusal refusal(const CallerDirectory& directory, std::string_view key, std::int64_t now = 2'000) {
  const auto answer = directory.authenticate(key, now);
  RETORT_CHECK(!answer.has_value());
  return answer.error();
}

TEST(CallerDirectory, KnowsWhoPresentsAKey) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_organisation(ada(), {.id = "acme"}));
  ASSERT_TRUE(registry.add_account(ada(), {.id = "acme-1", .organisation = "acme", .tier = "verified"}));
  const std::string key = key_for(registry, "acme-1");
  const auto directory = load(std::move(registry));
  const auto answer = directory->authenticate(key, 2'000);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->caller->account, "acme-1");
  EXPECT_EQ(answer->caller->organisation, "acme");
  EXPECT_EQ(answer->tier, "verified");
  EXPECT_EQ(answer->key_id, key.substr(3, 12));
  EXPECT_EQ(directory->find_account("acme-1"), answer->caller);
  EXPECT_EQ(directory->find_account("acme-2"), nullptr);
}

TEST(CallerDirectory, SaysWhyAKeyIsRefused) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_account(ada(), {.id = "a"}));
  const std::string good = key_for(registry, "a");
  const std::string revoked = key_for(registry, "a");
  const std::string expiring = key_for(registry, "a", 5'000);
  ASSERT_TRUE(registry.revoke_key(ada(), revoked.substr(3, 12)));
  const std::string never_kept = make_api_key()->text;
  const auto directory = load(std::move(registry));

  EXPECT_EQ(refusal(*directory, ""), Refusal::kMissing);
  EXPECT_EQ(refusal(*directory, "sk-proj-1234"), Refusal::kForeign);
  EXPECT_EQ(refusal(*directory, never_kept), Refusal::kUnknown);
  EXPECT_EQ(refusal(*directory, revoked), Refusal::kRevoked);
  EXPECT_TRUE(directory->authenticate(expiring, 4'999).has_value());
  EXPECT_EQ(refusal(*directory, expiring, 5'000), Refusal::kExpired);
  // Any one character changed, left out or doubled is found by the checksum.
  for (std::size_t i = 3; i < good.size(); ++i) {
    std::string typo = good;
    typo[i] = typo[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(refusal(*directory, typo), Refusal::kMistyped) << i;
    EXPECT_EQ(refusal(*directory, std::string(good).erase(i, 1)), Refusal::kMistyped) << i;
    EXPECT_EQ(refusal(*directory, std::string(good).insert(i, 1, good[i])), Refusal::kMistyped) << i;
  }
  EXPECT_EQ(refusal(*directory, good + "\n"), Refusal::kMistyped);
  EXPECT_EQ(refusal(*directory, std::string(1 << 20, 'x')), Refusal::kForeign);
}

// A well-formed key of a known id with another secret: what somebody who learnt public ids could make.
TEST(CallerDirectory, AKnownIdIsNotEnough) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_account(ada(), {.id = "a"}));
  const std::string good = key_for(registry, "a");
  const std::string other = key_for(registry, "a");
  const auto directory = load(std::move(registry));
  const std::string mixed = good.substr(0, 16) + other.substr(16, 32);
  const std::uint64_t sum = checksum64(std::as_bytes(std::span(mixed.data(), mixed.size())));
  std::string check;
  constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  for (std::uint64_t rest = sum; check.size() < 6; rest /= 62) check += kDigits[rest % 62];
  EXPECT_EQ(refusal(*directory, mixed + check), Refusal::kWrongSecret);
  EXPECT_EQ(sentence_of(Refusal::kWrongSecret), sentence_of(Refusal::kUnknown));
}

TEST(CallerDirectory, AVerificationRaisesTheTierUntilItExpires) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_organisation(ada(), {.id = "uni", .kind = "university"}));
  ASSERT_TRUE(registry.add_account(ada(), {.id = "lab", .organisation = "uni"}));
  ASSERT_TRUE(registry.add_account(ada(), {.id = "ours", .organisation = "uni", .tier = "own"}));
  const auto raise = [&](const Subject& subject, const std::string& tier, std::int64_t at, std::int64_t until) {
    const auto number = registry.request_verification(ada(at), subject, tier, "university", "");
    EXPECT_TRUE(registry.receive_verification(ada(at), *number, sha256("papers"), ""));
    EXPECT_TRUE(registry.raise_verification(ada(at), *number, until, ""));
    return *number;
  };
  raise({SubjectKind::kOrganisation, "uni"}, "verified", 1'000, 9'000);
  const std::int64_t number = raise({SubjectKind::kAccount, "lab"}, "research", 1'000, 5'000);
  const auto directory = load(folder.open());
  const Caller& lab = *directory->find_account("lab");
  EXPECT_EQ(lab.tier(2'000), "research");
  EXPECT_EQ(lab.tier(5'000), "verified");
  EXPECT_TRUE(lab.kind_verified(8'999));
  EXPECT_EQ(lab.tier(9'000), "anonymous");
  EXPECT_FALSE(lab.kind_verified(9'000));
  EXPECT_EQ(directory->find_account("ours")->tier(2'000), "own");
  // Taken back.
  ASSERT_TRUE(registry.refuse_verification(ada(3'000), number, "forged"));
  EXPECT_EQ(load(folder.open())->find_account("lab")->tier(2'000), "verified");
}

TEST(CallerDirectory, KnowsWhoCountsAsListed) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_organisation(ada(), {.id = "shell"}));
  ASSERT_TRUE(registry.add_account(ada(), {.id = "a", .organisation = "shell"}));
  ASSERT_TRUE(registry.set_owners(ada(), "shell", {{"holding", *Percent::parse("50.0")}}));
  ASSERT_TRUE(registry.set_owners(ada(), "holding", {{"X", *Percent::parse("51")}}));
  ASSERT_TRUE(
      registry.set_list(ada(), {.name = "sdn", .date = "2026-11-01", .digest = sha256("list"), .entities = {"X"}}));
  const auto at_least = load(folder.open());
  EXPECT_TRUE(at_least->find_account("a")->listed);
  EXPECT_THAT(at_least->find_account("a")->listed_why, HasSubstr("holding: 51.0 % by X"));
  EXPECT_FALSE(load(folder.open(), {.threshold = Percent::whole(50), .or_more = false})->find_account("a")->listed);

  const auto lines = ownership_lines(registry, {});
  ASSERT_TRUE(lines.has_value());
  std::vector<std::string> texts;
  for (const Json& line : *lines) texts.push_back(canonical_json(line));
  EXPECT_THAT(
      texts,
      ElementsAre(
          R"({"listed":true,"organisation":"X","owners":[],"why":"X is named by the list 'sdn'"})",
          R"({"listed":true,"organisation":"holding","owners":[{"owner":"X","percent":"51.0"}],"why":"holding: 51.0 % by X = 51.0 % (rule >= 50.0 %); X is named by the list 'sdn'"})",
          R"({"listed":true,"organisation":"shell","owners":[{"owner":"holding","percent":"50.0"}],"why":"shell: 50.0 % by holding = 50.0 % (rule >= 50.0 %); holding: 51.0 % by X = 51.0 % (rule >= 50.0 %); X is named by the list 'sdn'"})"));
}

TEST(CallerLine, HasWhatTheContractSays) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_organisation(ada(), {.id = "acme", .kind = "company"}));
  ASSERT_TRUE(registry.add_account(
      ada(1'700'000'000'000), {.id = "a", .organisation = "acme", .tier = "verified", .plan_usd_cents_month = 1999}));
  ASSERT_TRUE(registry.add_account(ada(0), {.id = "b"}));
  ASSERT_TRUE(registry.add_trait(ada(), {SubjectKind::kAccount, "a"}, "card", "fp_1234"));
  ASSERT_TRUE(registry.add_trait(ada(), {SubjectKind::kOrganisation, "acme"}, "email", " Ada@Example.org "));
  const auto traits = registry.traits();
  ASSERT_EQ(traits->size(), 2U);
  const std::string email = traits->front().kind == "email" ? traits->front().text() : traits->back().text();
  const auto directory = load(folder.open());
  Json line = caller_line(*directory->find_account("a"), 2'000);
  EXPECT_THAT(line["payment"].dump(), ::testing::MatchesRegex(R"(\["card:[0-9a-f]{32}"\])"));
  EXPECT_EQ(line["registration"], Json::array({email}));
  line.erase("payment");
  line.erase("registration");
  EXPECT_EQ(
      canonical_json(line),
      R"({"account":"a","attested":false,"created":"2023-11-14T22:13:20Z","kind":"company","kind_verified":false,)"
      R"("organisation":"acme","plan_usd_month":19.99,"reseller":false,"tier":"verified"})");
  EXPECT_EQ(canonical_json(caller_line(*directory->find_account("b"), 2'000)),
            R"({"account":"b","attested":false,"created":"1970-01-01T00:00:00Z","kind_verified":false,"payment":[],)"
            R"("registration":[],"reseller":false,"tier":"anonymous"})");
}

TEST(LiveCallers, SeesWhatOthersChange) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_account(ada(), {.id = "a"}));
  const auto live = LiveCallers::open(folder.paths(), {});
  ASSERT_TRUE(live.has_value());
  EXPECT_FALSE(*(*live)->refresh());
  const auto before = (*live)->now();
  const std::string key = key_for(registry, "a");
  EXPECT_EQ(refusal(*before, key), Refusal::kUnknown);
  EXPECT_TRUE(*(*live)->refresh());
  EXPECT_FALSE(*(*live)->refresh());
  EXPECT_TRUE((*live)->now()->authenticate(key, 2'000).has_value());
  ASSERT_TRUE(registry.revoke_key(ada(), key.substr(3, 12)));
  EXPECT_TRUE(*(*live)->refresh());
  EXPECT_EQ(refusal(*(*live)->now(), key), Refusal::kRevoked);
  EXPECT_EQ(refusal(*before, key), Refusal::kUnknown) << "what a request holds does not change under it";
}

TEST(LiveCallers, TakesOverAnotherRule) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_organisation(ada(), {.id = "half"}));
  ASSERT_TRUE(registry.add_account(ada(), {.id = "a", .organisation = "half"}));
  ASSERT_TRUE(registry.set_owners(ada(), "half", {{"X", *Percent::parse("50")}}));
  ASSERT_TRUE(
      registry.set_list(ada(), {.name = "sdn", .date = "2026-11-01", .digest = sha256("list"), .entities = {"X"}}));
  const auto live = LiveCallers::open(folder.paths(), {});
  ASSERT_TRUE(live.has_value());
  EXPECT_TRUE((*live)->now()->find_account("a")->listed);
  (*live)->set_rule({});
  EXPECT_FALSE(*(*live)->refresh());
  (*live)->set_rule({.threshold = Percent::whole(50), .or_more = false});
  EXPECT_TRUE(*(*live)->refresh());
  EXPECT_FALSE((*live)->now()->find_account("a")->listed);
}

TEST(LiveCallers, IsReadWhileItIsReloaded) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_account(ada(), {.id = "a"}));
  const std::string key = key_for(registry, "a");
  const auto live = LiveCallers::open(folder.paths(), {});
  ASSERT_TRUE(live.has_value());
  std::atomic<bool> stop = false;
  std::atomic<std::int64_t> refused = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop) refused += (*live)->now()->authenticate(key, 2'000).has_value() ? 0 : 1;
    });
  }
  for (int i = 0; i < 30; ++i) {
    key_for(registry, "a");
    EXPECT_TRUE(*(*live)->refresh());
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(refused, 0);
  EXPECT_EQ((*live)->now()->keys(), 31U);
}

// No threshold: a machine under load must not fail it. The figure is what documents quote.
TEST(CallerDirectory, LookUpIsMeasured) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_account(ada(), {.id = "a"}));
  std::vector<std::string> keys;
  for (int i = 0; i < 50; ++i) keys.push_back(key_for(registry, "a"));
  const auto directory = load(std::move(registry));
  constexpr int kRounds = 20'000;
  int known = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kRounds; ++i) known += directory->authenticate(keys[i % keys.size()], 2'000).has_value() ? 1 : 0;
  const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(known, kRounds);
  RecordProperty("authenticate_microseconds", std::to_string(spent.count() / kRounds));
  std::printf("authenticate: %.2f microseconds\n", spent.count() / kRounds);
}

}  // namespace
}  // namespace retort::callers
