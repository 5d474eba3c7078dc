#include "origin/network_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "base/json.h"
#include "base/random.h"
#include "origin/test_mmdb.h"

namespace retort::origin {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class NetworkFactsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "retort-origin-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  // In place, as careless tools do: the same inode is cut and written again.
  fs::path put(const std::string& name, std::string_view bytes) const {
    std::ofstream(folder_ / name, std::ios::binary | std::ios::trunc) << bytes;
    return folder_ / name;
  }
  NetworkListOptions list(const std::string& kind, std::string_view bytes) const {
    return {kind, put(kind + ".txt", bytes)};
  }

  fs::path folder_;
};

IpAddress address(std::string_view text) { return *IpAddress::parse(text); }

std::string countries() {
  return mmdb_bytes("Test-Country", {{"8.8.0.0/16", mmdb_country("US")},
                                     {"81.2.69.0/24", mmdb_country("GB")},
                                     {"2001:200::/32", mmdb_country("JP")},
                                     {"9.9.9.0/24", mmdb_map({{"registered_country", mmdb_map({})}})}});
}
std::string systems() { return mmdb_bytes("Test-ASN", {{"8.8.8.0/24", mmdb_asn(15169, "Example Cloud")}}); }

std::string message(const auto& result) { return result.has_value() ? std::string() : result.error().message; }

TEST_F(NetworkFactsTest, ComeFromEveryFile) {
  const std::string anonymous =
      mmdb_bytes("Test-Anonymous-IP",
                 {{"8.8.8.0/24", mmdb_map({{"is_anonymous", mmdb_true()}, {"is_anonymous_vpn", mmdb_true()}})}});
  const auto sources = NetworkSources::load(
      {.mmdb = {put("c.mmdb", countries()), put("a.mmdb", systems()), put("x.mmdb", anonymous)},
       .lists = {list("tor", "# exit nodes\n8.8.8.8\n\n2001:200::/64 # a network\r\n"),
                 list("bad_asn", "ASN,Entity\n\"64496\",\"Nobody, XX\"\n15169, \"Example #1\"\n")}});
  ASSERT_EQ(message(sources), "");
  const NetworkFacts facts = (*sources)->facts_of(address("8.8.8.8"));
  EXPECT_EQ(facts.country, "US");
  EXPECT_EQ(facts.asn, 15169U);
  EXPECT_EQ(facts.as_organisation, "Example Cloud");
  EXPECT_THAT(facts.kinds, ElementsAre("anonymous", "bad_asn", "tor", "vpn"));
  EXPECT_THAT(facts.unknowns, IsEmpty());
  EXPECT_EQ(facts.sources, (*sources)->digest());
  EXPECT_EQ(to_json(facts)["country"], "US");

  const NetworkFacts six = (*sources)->facts_of(address("2001:200::1"));
  EXPECT_EQ(six.country, "JP");
  EXPECT_THAT(six.kinds, ElementsAre("tor"));
  EXPECT_THAT(six.unknowns, ElementsAre("asn: the database has no such address"));
  EXPECT_EQ((*sources)->facts_of(address("9.9.9.9")).country, std::nullopt) << "who registered it says not where it is";
  EXPECT_THAT((*sources)->facts_of(address("10.0.0.1")).unknowns,
              ElementsAre("country: the address is not a public one", "asn: the address is not a public one"));
  ASSERT_EQ((*sources)->sources().size(), 5U);
  EXPECT_EQ((*sources)->sources()[0].dated_unix_ms, 1'700'000'000'000);
  EXPECT_EQ((*sources)->sources()[3].entries, 2U);
  EXPECT_EQ((*sources)->sources()[3].digest, *sha256_file(folder_ / "tor.txt"));
}

TEST_F(NetworkFactsTest, SayThatNothingIsKnownWithoutSources) {
  const auto sources = NetworkSources::load({});
  ASSERT_TRUE(sources.has_value());
  EXPECT_THAT(
      (*sources)->facts_of(address("8.8.8.8")).unknowns,
      ElementsAre("country: no database of countries is loaded", "asn: no database of autonomous systems is loaded"));
}

TEST_F(NetworkFactsTest, RefuseListsThatAreNotWhole) {
  const auto refusal = [&](const NetworkListOptions& options) {
    return message(NetworkSources::load({.mmdb = {}, .lists = {options}}));
  };
  EXPECT_THAT(refusal({"vpn", folder_ / "absent.txt"}), HasSubstr("does not exist"));
  EXPECT_THAT(refusal(list("vpn", "")), HasSubstr("is empty"));
  EXPECT_THAT(refusal(list("vpn", "# nothing\n\n")), HasSubstr("is empty"));
  EXPECT_THAT(refusal(list("vpn", "1.2.3.0/24\n<html>\n")), HasSubstr("line 2"));
  EXPECT_THAT(refusal(list("asn", "ASN,Entity\nAS12,x\nzwölf,y\n")), HasSubstr("line 3"));
  EXPECT_THAT(refusal(list("asn", "ASN,Entity\n")), HasSubstr("is empty"));
  EXPECT_THAT(refusal(list("Big Words", "1.2.3.0/24\n")), HasSubstr("expected a word"));
}

TEST_F(NetworkFactsTest, RefuseDatabasesThatAreNot) {
  const auto refusal = [&](std::string_view bytes) {
    return message(NetworkSources::load({.mmdb = {put("x.mmdb", bytes)}, .lists = {}}));
  };
  EXPECT_THAT(message(NetworkSources::load({.mmdb = {folder_ / "absent.mmdb"}, .lists = {}})),
              HasSubstr("does not exist"));
  EXPECT_THAT(refusal(""), HasSubstr("cannot be read as .mmdb"));
  EXPECT_THAT(refusal("no database"), HasSubstr("cannot be read as .mmdb"));
  EXPECT_THAT(refusal(mmdb_bytes("Test-Weather", {})), HasSubstr("is of type 'Test-Weather'"));
  const fs::path one = put("1.mmdb", countries());
  const fs::path two = put("2.mmdb", countries());
  EXPECT_THAT(message(NetworkSources::load({.mmdb = {one, two}, .lists = {}})), HasSubstr("give one of each"));
  // A tree that points beyond the data.
  std::string bent = countries();
  bent[0] = bent[3] = '\x7F';
  EXPECT_THAT(refusal(bent), HasSubstr("is damaged"));
}

// Cut anywhere or with any byte changed: refused with a sentence, or read, and asked without harm.
TEST_F(NetworkFactsTest, SurviveEveryCutAndManyChanges) {
  const std::string whole = countries();
  int refused = 0;
  const auto open_and_ask = [&](const std::string& bytes) {
    const auto opened = MmdbFile::open(put("x.mmdb", bytes));
    refused += opened ? 0 : 1;
    if (!opened) {
      EXPECT_FALSE(opened.error().message.empty());
    } else {
      for (const char* text : {"8.8.8.8", "81.2.69.1", "2001:200::1", "::", "255.255.255.255"})
        opened->look_up(address(text));
    }
  };
  for (std::size_t size = 0; size < whole.size(); size += 7) open_and_ask(whole.substr(0, size));
  EXPECT_GT(refused, 100);
  Random random(5);
  for (int i = 0; i < 500; ++i) {
    std::string bytes = whole;
    bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    open_and_ask(bytes);
  }
}

TEST_F(NetworkFactsTest, StayAsTheyWereWhileTheFilesAreSwapped) {
  const fs::path mmdb = put("c.mmdb", countries());
  const NetworkListOptions vpn = list("vpn", "8.8.8.0/24\n");
  const auto sources = NetworkSources::load({.mmdb = {mmdb}, .lists = {vpn}});
  ASSERT_EQ(message(sources), "");
  EXPECT_FALSE((*sources)->files_changed());
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::thread reader([&] {
    while (!stop) {
      const NetworkFacts facts = (*sources)->facts_of(address("8.8.8.8"));
      wrong += facts.country == "US" && facts.kinds.size() == 1 ? 0 : 1;
    }
  });
  for (int i = 0; i < 200; ++i) {
    put("c.mmdb", i % 2 == 0 ? "" : "cut short");
    put("vpn.txt", i % 2 == 0 ? "" : "1.1.1.1\n");
  }
  fs::remove(mmdb);
  EXPECT_TRUE((*sources)->files_changed());
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_FALSE(NetworkSources::load({.mmdb = {mmdb}, .lists = {vpn}}).has_value());
}

// MaxMind's own test databases, where a folder of them is named; each *.json beside them says what is in it.
TEST_F(NetworkFactsTest, AgreeWithMaxMindsTestDatabases) {
  const char* const given = std::getenv("RETORT_TEST_MMDB");
  if (given == nullptr) GTEST_SKIP() << "RETORT_TEST_MMDB names no folder of MaxMind's test databases";
  const fs::path folder = given;
  int compared = 0;
  for (const char* name :
       {"GeoLite2-Country-Test", "GeoIP2-Country-Test", "GeoLite2-ASN-Test", "GeoIP2-Anonymous-IP-Test"}) {
    const auto file = MmdbFile::open(folder / (std::string(name) + ".mmdb"));
    ASSERT_EQ(message(file), "");
    const Json records = *parse_json(*read_file(folder / (std::string(name) + ".json")), name);
    for (const Json& entry : records) {
      for (const auto& [written, record] : entry.items()) {
        const auto network = IpNetwork::parse(written, IpNetwork::HostBits::kMask);
        ASSERT_TRUE(network.has_value()) << written;
        // Their JSON writes IPv4 under ::/96.
        IpAddress first = network->base;
        if (first.high == 0 && first.low <= 0xFFFF'FFFFU && network->prefix >= 96)
          first = IpAddress::v4(static_cast<std::uint32_t>(first.low));
        const MmdbAnswer answer = file->look_up(first);
        switch (file->subject()) {
          case MmdbFile::Subject::kCountry:
            EXPECT_EQ(answer.country.value_or(""), record.value("/country/iso_code"_json_pointer, std::string()))
                << written;
            break;
          case MmdbFile::Subject::kAsn:
            EXPECT_EQ(answer.asn.value_or(0), record.value("autonomous_system_number", 0U)) << written;
            EXPECT_EQ(answer.as_organisation, record.value("autonomous_system_organization", std::string())) << written;
            break;
          case MmdbFile::Subject::kAnonymity:
            EXPECT_EQ(std::count(answer.kinds.begin(), answer.kinds.end(), "vpn") == 1,
                      record.value("is_anonymous_vpn", false))
                << written;
            EXPECT_EQ(answer.kinds.size(), record.size()) << written;
            break;
        }
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 300);
}

// No threshold: a machine under load must not fail it. The figure is what documents quote.
TEST_F(NetworkFactsTest, LookUpIsMeasured) {
  Random random(1);
  std::string networks;
  for (int i = 0; i < 42'000; ++i)
    networks += IpAddress::v4(static_cast<std::uint32_t>(random.next()) & ~0xFFU).text() + "/24\n";
  const auto begin_load = std::chrono::steady_clock::now();
  const auto sources = NetworkSources::load({.mmdb = {put("c.mmdb", countries()), put("a.mmdb", systems())},
                                             .lists = {list("datacentre", networks), list("vpn", networks)}});
  ASSERT_EQ(message(sources), "");
  const auto begin = std::chrono::steady_clock::now();
  constexpr int kRounds = 100'000;
  std::size_t kinds = 0;
  for (int i = 0; i < kRounds; ++i)
    kinds += (*sources)->facts_of(IpAddress::v4(static_cast<std::uint32_t>(random.next()))).kinds.size();
  const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - begin;
  const std::chrono::duration<double, std::milli> loading = begin - begin_load;
  EXPECT_LT(kinds, 2U * kRounds);
  std::printf("facts_of: %.2f microseconds; loading 84,000 networks: %.0f ms\n", spent.count() / kRounds,
              loading.count());
}

}  // namespace
}  // namespace retort::origin
