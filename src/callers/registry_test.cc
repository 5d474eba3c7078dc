#include "callers/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/files.h"
#include "callers/test_folder.h"
#include "callers/traits.h"
#include "store/database.h"

namespace retort::callers {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string everything_under(const std::filesystem::path& folder) {
  std::string bytes;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) bytes += *read_file(entry.path());
  return bytes;
}

std::string message(const auto& result) { return result.has_value() ? std::string() : result.error().message; }

TEST(Registry, KeepsNoSecret) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_account(ada(), {.id = "a"}));
  const auto key = registry.create_key(ada(), {.account = "a", .note = "laptop"});
  ASSERT_TRUE(key.has_value());
  ASSERT_TRUE(registry.add_trait(ada(), {SubjectKind::kAccount, "a"}, "email", "ada@example.org"));
  const std::string bytes = everything_under(folder.path());
  EXPECT_THAT(bytes, HasSubstr(key->id));
  EXPECT_THAT(bytes, Not(HasSubstr(key->secret)));
  EXPECT_THAT(bytes, Not(HasSubstr("ada@example.org")));
  EXPECT_THAT(message(registry.revoke_key(ada(), key->text)), Not(HasSubstr(key->secret)));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    struct stat status {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077U, 0U) << entry.path();
  }
}

TEST(Registry, RefusesToGoOnWithoutItsOwnKeyFiles) {
  const TestFolder folder;
  { Registry registry = folder.open(); }
  const auto pepper = folder.paths().pepper;
  const std::string kept = *read_file(pepper);
  std::filesystem::remove(pepper);
  EXPECT_THAT(message(Registry::open(folder.paths())), HasSubstr("is gone"));
  EXPECT_FALSE(is_there(pepper)) << "no new one may be made";
  ASSERT_TRUE(write_file(pepper, std::string(64, 'a') + "\n"));
  ::chmod(pepper.c_str(), 0600);
  EXPECT_THAT(message(Registry::open(folder.paths())), HasSubstr("is not the one"));
  ASSERT_TRUE(write_file(pepper, "short\n"));
  ::chmod(pepper.c_str(), 0600);
  EXPECT_THAT(message(Registry::open(folder.paths())), HasSubstr("holds no key"));
  ASSERT_TRUE(write_file(pepper, kept));
  ::chmod(pepper.c_str(), 0640);
  EXPECT_THAT(message(Registry::open(folder.paths())), HasSubstr("chmod 600"));
  ::chmod(pepper.c_str(), 0600);
  EXPECT_EQ(message(Registry::open(folder.paths())), "");
}

TEST(Registry, RefusesAnotherProgramsDatabase) {
  const TestFolder folder;
  ASSERT_TRUE(write_file(folder.paths().database, "this is no database, and long enough to be taken for one\n"));
  EXPECT_THAT(message(Registry::open(folder.paths())), HasSubstr("is no SQLite database"));
  std::filesystem::remove(folder.paths().database);
  {
    const auto database = store::Database::open(folder.paths().database, store::OpenMode::kReadWrite);
    ASSERT_TRUE(database->run("CREATE TABLE theirs (x)"));
  }
  EXPECT_THAT(message(Registry::open(folder.paths())), HasSubstr("something else"));
}

TEST(Registry, EveryChangeLeavesALine) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_organisation({"ada", 1}, {.id = "acme", .reseller = true}));
  ASSERT_TRUE(registry.add_person({"ada", 2}, {.id = "p1", .organisation = "acme", .role = "owner"}));
  ASSERT_TRUE(registry.add_account({"ada", 3}, {.id = "a", .organisation = "acme", .person = "p1"}));
  ASSERT_TRUE(registry.set_tier({"bob", 4}, "a", "verified"));
  ASSERT_TRUE(registry.set_plan({"bob", 5}, "a", 2000));
  const std::string id = registry.create_key({"bob", 6}, {.account = "a"})->id;
  ASSERT_TRUE(registry.revoke_key({"eve", 7}, id));
  ASSERT_TRUE(registry.set_owners({"eve", 8}, "acme", {{"X", *Percent::parse("33.333")}}));
  ASSERT_TRUE(registry.set_owners({"eve", 9}, "acme", {}));
  ASSERT_TRUE(registry.issue_attestation_secret({"eve", 10}, "acme"));
  ASSERT_TRUE(registry.register_attestation_key({"eve", 11}, "acme", std::string(64, '1')));
  const auto trail = registry.audit(100);
  ASSERT_TRUE(trail.has_value());
  std::vector<std::string> lines;
  for (auto entry = trail->rbegin(); entry != trail->rend(); ++entry) {
    lines.push_back(entry->by.who + " " + std::to_string(entry->by.at_unix_ms) + " " + entry->what + " " +
                    (entry->subject == id ? "KEY" : entry->subject) + " " + entry->before + " " + entry->after);
  }
  EXPECT_THAT(
      lines,
      ElementsAre(
          R"(ada 1 organisation.add acme null {"kind":"","name":"","reseller":true})",
          R"(ada 2 person.add p1 null {"organisation":"acme","role":"owner"})",
          R"(ada 3 account.add a null {"kind":"","organisation":"acme","person":"p1","plan_usd_cents_month":null,"tier":"anonymous"})",
          R"(bob 4 account.tier a "anonymous" "verified")", R"(bob 5 account.plan a null 2000)",
          R"(bob 6 key.create KEY null {"account":"a","expires_unix_ms":null,"note":""})",
          R"(eve 7 key.revoke KEY {"revoked":false} {"revoked":true})",
          R"(eve 8 ownership.set acme null [{"owner":"X","percent":"33.333"}])",
          R"(eve 9 ownership.set acme [{"owner":"X","percent":"33.333"}] [])",
          R"(eve 10 attestation.issue acme {"generation":0,"key":""} {"generation":1,"key":"hmac"})",
          R"(eve 11 attestation.register acme {"key":"hmac"} {"key":"ed25519","public":"1111111111111111111111111111111111111111111111111111111111111111"})"));
  EXPECT_EQ(registry.audit(2)->size(), 2U);
  const auto database = store::Database::open(folder.paths().database, store::OpenMode::kReadWrite);
  EXPECT_FALSE(database->run("UPDATE audit SET who = 'nobody'").has_value());
  EXPECT_FALSE(database->run("DELETE FROM audit").has_value());
}

TEST(Registry, WhatIsRefusedChangesNothing) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_account(ada(), {.id = "account-one"}));
  const std::size_t lines = registry.audit(100)->size();
  EXPECT_THAT(message(registry.create_key(ada(), {.account = "acount-one"})), HasSubstr("did you mean 'account-one'?"));
  EXPECT_FALSE(
      registry.create_key(ada(5'000), {.account = "account-one", .note = "", .expires_unix_ms = 5'000}).has_value());
  EXPECT_FALSE(registry.create_key({"", 1}, {.account = "account-one"}).has_value());
  EXPECT_FALSE(registry.add_account(ada(), {.id = "account-one"}).has_value());
  EXPECT_FALSE(registry.add_account(ada(), {.id = "b", .organisation = "none"}).has_value());
  EXPECT_FALSE(registry.add_account(ada(), {.id = "b\nc"}).has_value());
  EXPECT_FALSE(registry.add_account(ada(), {.id = "b", .tier = "Very Good"}).has_value());
  EXPECT_FALSE(registry.set_tier(ada(), "nobody", "verified").has_value());
  EXPECT_FALSE(registry.revoke_key(ada(), "AAAAAAAAAAAA").has_value());
  EXPECT_FALSE(
      registry.set_owners(ada(), "acme", {{"X", *Percent::parse("60")}, {"Y", *Percent::parse("41")}}).has_value());
  EXPECT_FALSE(registry.add_trait(ada(), {SubjectKind::kPerson, "nobody"}, "email", "a@b.c").has_value());
  EXPECT_EQ(registry.audit(100)->size(), lines);
  EXPECT_TRUE(registry.keys()->empty());
  EXPECT_EQ(registry.accounts()->size(), 1U);
}

TEST(Registry, AVerificationGoesStepByStep) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_account(ada(), {.id = "a"}));
  const auto number =
      registry.request_verification(ada(1), {SubjectKind::kAccount, "a"}, "verified", "", "asked by mail");
  ASSERT_TRUE(number.has_value());
  EXPECT_THAT(message(registry.raise_verification(ada(2), *number, 100, "")),
              HasSubstr("is requested and cannot become raised"));
  ASSERT_TRUE(registry.receive_verification(ada(3), *number, sha256("passport"), ""));
  EXPECT_FALSE(registry.raise_verification(ada(4), *number, 4, "").has_value());
  ASSERT_TRUE(registry.raise_verification({"bob", 5}, *number, 100, "seen"));
  ASSERT_TRUE(registry.refuse_verification({"bob", 6}, *number, "forged"));
  EXPECT_FALSE(registry.raise_verification(ada(7), *number, 100, "").has_value());
  EXPECT_FALSE(registry.refuse_verification(ada(8), 99, "").has_value());
  EXPECT_FALSE(registry.request_verification(ada(), {SubjectKind::kAccount, "b"}, "verified", "", "").has_value());
  const auto all = registry.verifications();
  ASSERT_EQ(all->size(), 1U);
  const Verification& one = all->front();
  EXPECT_EQ(one.document, sha256("passport"));
  EXPECT_EQ(one.expires_unix_ms, 100);
  std::vector<std::string> steps;
  for (const auto& step : one.steps) {
    steps.push_back(std::string(text_of(step.state)) + " " + step.by.who + " " + std::to_string(step.by.at_unix_ms));
  }
  EXPECT_THAT(steps, ElementsAre("requested ada 1", "received ada 3", "raised bob 5", "refused bob 6"));
}

TEST(Traits, TheSameThingHasOneForm) {
  EXPECT_EQ(*normalised_trait("email", " Ada.L@Example.ORG"), "ada.l@example.org");
  EXPECT_EQ(*normalised_trait("phone", "+49 (30) 1234-567"), "49301234567");
  EXPECT_EQ(*normalised_trait("phone", "0049 30 1234567"), "49301234567");
  EXPECT_EQ(*normalised_trait("domain", "Example.org."), "example.org");
  EXPECT_EQ(*normalised_trait("card", " fp_Ab12 "), "fp_Ab12");
  const std::string card = "4111 1111 1111 1111";
  EXPECT_THAT(message(normalised_trait("card", card)), HasSubstr("whole card number"));
  EXPECT_THAT(message(normalised_trait("card", card)), Not(HasSubstr("4111")));
  EXPECT_THAT(message(normalised_trait("emial", "a@b.c")), HasSubstr("did you mean 'email'?"));
  for (const auto& [kind, value] : {std::pair("email", "ada"), std::pair("email", "@x"), std::pair("phone", "12"),
                                    std::pair("domain", "localhost"), std::pair("card", " ")}) {
    EXPECT_FALSE(normalised_trait(kind, value).has_value()) << kind << value;
  }
}

TEST(Traits, AreHashedByAKeyOfTheirOwnAndKeptOnce) {
  const TestFolder folder;
  const TestFolder elsewhere;
  const auto hash_in = [](Registry registry) {
    EXPECT_TRUE(registry.add_account(ada(), {.id = "a"}));
    EXPECT_TRUE(registry.add_trait(ada(), {SubjectKind::kAccount, "a"}, "email", "ada@example.org"));
    EXPECT_TRUE(registry.add_trait(ada(), {SubjectKind::kAccount, "a"}, "email", "ADA@example.org"));
    EXPECT_EQ(registry.traits()->size(), 1U);
    return registry.traits()->front().hash;
  };
  EXPECT_NE(hash_in(folder.open()), hash_in(elsewhere.open()));
}

TEST(EndCustomer, IsWhatTheResellerSigned) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_organisation(ada(), {.id = "resale", .reseller = true}));
  ASSERT_TRUE(registry.add_organisation(ada(), {.id = "plain"}));
  EXPECT_FALSE(registry.issue_attestation_secret(ada(), "plain").has_value());
  EXPECT_FALSE(registry.attestation_key(registry.organisations()->front()).has_value());
  const auto secret = registry.issue_attestation_secret(ada(), "resale");
  ASSERT_TRUE(secret.has_value());
  EXPECT_THAT(everything_under(folder.path()), Not(HasSubstr(*secret)));
  const auto key_now = [&] { return *registry.attestation_key(registry.organisations()->back()); };
  const HmacKey theirs = HmacKey::from_bytes(Digest::from_hex(*secret)->bytes);
  const std::string header = sign_end_customer("cust-7", "resale", theirs, 1'000);

  using Fault = EndCustomerFault;
  const auto fault = [&](const std::string& text, std::int64_t now = 1'000) {
    const auto answer = verify_end_customer(text, key_now(), now);
    return answer ? std::optional<Fault>() : answer.error();
  };
  const auto good = verify_end_customer(header, key_now(), 1'300);
  ASSERT_TRUE(good.has_value());
  EXPECT_EQ(*good, "cust-7");
  EXPECT_EQ(fault(header, 700), std::nullopt);
  EXPECT_EQ(fault(header, 1'301), Fault::kTooOld);
  EXPECT_EQ(fault(header, 699), Fault::kFromTheFuture);
  EXPECT_EQ(fault("cust-8" + header.substr(6)), Fault::kBadSignature);
  EXPECT_EQ(fault(sign_end_customer("cust-7", "other", theirs, 1'000)), Fault::kBadSignature);
  EXPECT_EQ(fault(sign_end_customer("a b", "resale", theirs, 1'000)), Fault::kBadPseudonym);
  EXPECT_EQ(fault(sign_end_customer("", "resale", theirs, 1'000)), Fault::kBadPseudonym);
  EXPECT_EQ(fault(sign_end_customer(std::string(129, 'a'), "resale", theirs, 1'000)), Fault::kBadPseudonym);
  for (const char* text : {"", ";", "cust-7", "cust-7; t=1000", "cust-7; t=x; sig=00", "cust-7; t=1000; sig=0",
                           "cust-7; t=1000; sig=zz", "cust-7; sig=00; t=1000", "cust-7; t=1000; sig=00; more",
                           "cust-7; t=99999999999999999999; sig=00", "cust-7; t=-1; sig=00"}) {
    EXPECT_EQ(fault(text), Fault::kMalformed) << text;
  }
  EXPECT_EQ(fault("cust-7; t=1000; sig="), Fault::kBadSignature);
  // Every cut of a good header is refused.
  for (std::size_t i = 0; i < header.size(); ++i) EXPECT_NE(fault(header.substr(0, i)), std::nullopt) << i;
  // A new secret makes the old one worthless.
  ASSERT_TRUE(registry.issue_attestation_secret(ada(), "resale"));
  EXPECT_EQ(fault(header), Fault::kBadSignature);
}

TEST(EndCustomer, MayBeSignedByEd25519) {
  const TestFolder folder;
  Registry registry = folder.open();
  ASSERT_TRUE(registry.add_organisation(ada(), {.id = "resale", .reseller = true}));
  EVP_PKEY* const pair = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  Digest public_key;
  std::size_t size = public_key.bytes.size();
  ASSERT_EQ(EVP_PKEY_get_raw_public_key(pair, public_key.bytes.data(), &size), 1);
  ASSERT_TRUE(registry.register_attestation_key(ada(), "resale", public_key.hex()));
  EXPECT_FALSE(registry.register_attestation_key(ada(), "resale", "abc").has_value());
  const std::string statement = end_customer_statement("resale", "cust-7", 1'000);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  std::array<std::uint8_t, 64> signature{};
  size = signature.size();
  ASSERT_EQ(EVP_DigestSignInit(context, nullptr, nullptr, nullptr, pair), 1);
  ASSERT_EQ(EVP_DigestSign(context, signature.data(), &size, reinterpret_cast<const unsigned char*>(statement.data()),
                           statement.size()),
            1);
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(pair);
  std::string hex;
  for (const std::uint8_t byte : signature) {
    constexpr std::string_view kHex = "0123456789abcdef";
    hex += kHex[byte >> 4U];
    hex += kHex[byte & 15U];
  }
  const auto key = registry.attestation_key(registry.organisations()->front());
  ASSERT_TRUE(key.has_value());
  EXPECT_TRUE(verify_end_customer("cust-7; t=1000; sig=" + hex, *key, 1'000).has_value());
  hex[5] = hex[5] == '0' ? '1' : '0';
  EXPECT_EQ(verify_end_customer("cust-7; t=1000; sig=" + hex, *key, 1'000).error(), EndCustomerFault::kBadSignature);
}

}  // namespace
}  // namespace retort::callers
