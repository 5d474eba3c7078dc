#include "store/exchange_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/files.h"
#include "store/database.h"

namespace retort::store {
namespace {

using testing::HasSubstr;

class ExchangeStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "retort-store-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ / "exchanges.sqlite";
  }
  void TearDown() override {
    std::filesystem::permissions(folder_, std::filesystem::perms::owner_all);
    std::filesystem::remove_all(folder_);
  }
  ExchangeStore store() {
    auto opened = ExchangeStore::open(path_);
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }

  std::filesystem::path folder_;
  std::filesystem::path path_;
};

Exchange exchange(int number, std::size_t tokens = 3) {
  Exchange made;
  made.prompt.messages = {{Role::kUser, "question " + std::to_string(number)}};
  made.completion = {"answer — " + std::to_string(number), FinishReason::kEnd};
  made.tokens.ids.assign(tokens, number);
  made.tokens.spans = {{1, static_cast<std::uint32_t>(tokens), SpanKind::kAssistant, true}};
  made.provenance.created_at = "2026-01-01T00:00:00Z";
  return made;
}

TEST_F(ExchangeStoreTest, KeepsExchangesInTheOrderTheyCame) {
  std::vector<Digest> added;
  {
    ExchangeStore first = store();
    for (int i = 0; i < 5; ++i) added.push_back(first.add(exchange(4 - i)).value());
    EXPECT_EQ(added[0], exchange_id(exchange(4)));
  }
  ExchangeStore again = store();
  EXPECT_EQ(again.ids().value(), added);
  EXPECT_EQ(again.count().value(), 5);
  EXPECT_EQ(again.get(added[2]).value(), exchange(2));
  EXPECT_TRUE(again.contains(added[0]).value());
  EXPECT_FALSE(again.contains(Digest{}).value());
  std::vector<Digest> visited;
  ASSERT_TRUE(again.for_each([&](const Digest& id, const Exchange& visited_exchange) -> Result<void> {
    EXPECT_EQ(exchange_id(visited_exchange), id);
    visited.push_back(id);
    return {};
  }));
  EXPECT_EQ(visited, added);
  EXPECT_TRUE(again.verify().value().problems.empty());
}

TEST_F(ExchangeStoreTest, AddingTwiceChangesNothing) {
  ExchangeStore opened = store();
  const Digest id = opened.add(exchange(1)).value();
  EXPECT_EQ(opened.add(exchange(1)).value(), id);
  EXPECT_EQ(opened.count().value(), 1);
}

TEST_F(ExchangeStoreTest, AnswersSlotsInTheSameTransaction) {
  ExchangeStore opened = store();
  const Digest id = opened.add(exchange(1), Slot{"job", 7}).value();
  ASSERT_TRUE(opened.skip({"job", 3}, "the user's turn was empty"));
  // The same exchange may answer two slots; a slot keeps its first answer.
  ASSERT_TRUE(opened.add(exchange(1), Slot{"job", 8}));
  ASSERT_TRUE(opened.add(exchange(2), Slot{"job", 7}));
  ASSERT_TRUE(opened.add(exchange(2), Slot{"other", 7}));
  const auto entries = opened.slots("job").value();
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].slot, 3);
  EXPECT_FALSE(entries[0].exchange);
  EXPECT_EQ(entries[0].note, "the user's turn was empty");
  EXPECT_EQ(entries[1].slot, 7);
  EXPECT_EQ(entries[1].exchange, id);
  EXPECT_EQ(entries[2].exchange, id);
  EXPECT_EQ(opened.find({"job", 7}).value()->exchange, id);
  EXPECT_FALSE(opened.find({"job", 9}).value());
  EXPECT_EQ(opened.slots("none").value().size(), 0U);
}

TEST_F(ExchangeStoreTest, AddsABatchWholeOrNotAtAll) {
  std::vector<NewExchange> batch;
  for (int i = 0; i < 50; ++i) batch.push_back({exchange(i), Slot{"job", i}});
  ExchangeStore opened = store();
  EXPECT_EQ(opened.add(batch).value().size(), 50U);
  EXPECT_EQ(opened.slots("job").value().size(), 50U);
}

TEST_F(ExchangeStoreTest, CannotBeChangedThroughSql) {
  ExchangeStore opened = store();
  ASSERT_TRUE(opened.add(exchange(1), Slot{"job", 1}));
  const auto database = Database::open(path_, OpenMode::kReadWrite).value();
  EXPECT_FALSE(database.run("DELETE FROM exchanges"));
  EXPECT_FALSE(database.run("UPDATE exchanges SET bytes = x'00'"));
  EXPECT_FALSE(database.run("DELETE FROM slots"));
  EXPECT_EQ(opened.count().value(), 1);
}

// Whatever add() has returned for is there after SIGKILL at any instant.
TEST_F(ExchangeStoreTest, SurvivesKill) {
  for (int round = 0; round < 4; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const std::int64_t before = store().count().value();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto opened = ExchangeStore::open(path_);
      for (int i = 0; opened; ++i) {
        const int number = round * 1'000'000 + i;
        if (!opened->add(exchange(number, 200), Slot{"job", number})) break;
        if (::write(pipe_ends[1], &number, sizeof(number)) != sizeof(number)) break;
      }
      ::_exit(1);
    }
    ::close(pipe_ends[1]);
    std::vector<int> announced;
    int number = 0;
    while (announced.size() < 20U + 7U * static_cast<std::size_t>(round) &&
           ::read(pipe_ends[0], &number, sizeof(number)) == sizeof(number)) {
      announced.push_back(number);
    }
    ::kill(child, SIGKILL);
    while (::read(pipe_ends[0], &number, sizeof(number)) == sizeof(number)) announced.push_back(number);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    ::close(pipe_ends[0]);

    ExchangeStore opened = store();
    for (const int each : announced) {
      const auto entry = opened.find({"job", each}).value();
      ASSERT_TRUE(entry) << each;
      EXPECT_EQ(*entry->exchange, exchange_id(exchange(each, 200)));
    }
    EXPECT_GE(opened.count().value(), before + static_cast<std::int64_t>(announced.size()));
    EXPECT_TRUE(opened.verify().value().problems.empty());
  }
}

TEST_F(ExchangeStoreTest, DigestsAgainOnEveryRead) {
  Digest id;
  {
    ExchangeStore opened = store();
    id = opened.add(exchange(1)).value();
    ASSERT_TRUE(opened.add(exchange(2)));
    ASSERT_TRUE(opened.checkpoint());
  }
  // Damage in the file itself, as a bad disk would do it.
  std::string bytes = read_file(path_).value();
  const std::size_t at = bytes.find("answer — 1");
  ASSERT_NE(at, std::string::npos);
  bytes[at] = 'A';
  ASSERT_TRUE(write_file(path_, bytes));
  ExchangeStore opened = store();
  const auto read = opened.get(id);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().fault, Fault::kCaller);
  EXPECT_THAT(read.error().message, HasSubstr(id.hex()));
  EXPECT_THAT(read.error().message, HasSubstr("damaged"));
  EXPECT_TRUE(opened.get(exchange_id(exchange(2))));
  EXPECT_EQ(opened.verify().value().problems.size(), 1U);
  const auto absent = opened.get(Digest{});
  EXPECT_THAT(absent.error().message, HasSubstr("has no exchange 0000"));
}

TEST_F(ExchangeStoreTest, RefusesWhatIsNoStore) {
  ASSERT_TRUE(write_file(path_,
                         "this is a text, long enough to be looked at as a database header of a hundred bytes "
                         "and then some more, so that it is read whole"));
  auto opened = ExchangeStore::open(path_);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().fault, Fault::kCaller);
  EXPECT_THAT(opened.error().message, HasSubstr("is not a store"));
  EXPECT_THAT(ExchangeStore::open(folder_).error().message, HasSubstr("is a folder"));

  const auto other = folder_ / "other.sqlite";
  { ASSERT_TRUE(Database::open(other, OpenMode::kReadWrite)->run("CREATE TABLE t (x)")); }
  const std::string before = read_file(other).value();
  EXPECT_THAT(ExchangeStore::open(other).error().message, HasSubstr("not a store of exchanges"));
  EXPECT_EQ(read_file(other).value(), before);
}

TEST_F(ExchangeStoreTest, RefusesANewerVersion) {
  { store(); }
  ASSERT_TRUE(Database::open(path_, OpenMode::kReadWrite)->run("PRAGMA user_version = 2"));
  for (const auto& opened : {ExchangeStore::open(path_), ExchangeStore::open_read_only(path_)}) {
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().fault, Fault::kCaller);
    EXPECT_THAT(opened.error().message, HasSubstr("is of format version 2; this program reads up to version 1"));
  }
}

TEST_F(ExchangeStoreTest, TellsOfATruncatedFile) {
  {
    ExchangeStore opened = store();
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(opened.add(exchange(i, 100)));
    ASSERT_TRUE(opened.checkpoint());
  }
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  auto opened = ExchangeStore::open(path_);
  const auto ids = opened ? opened->ids() : Result<std::vector<Digest>>(Failure(opened.error()));
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().fault, Fault::kCaller);
  EXPECT_THAT(ids.error().message, HasSubstr("is damaged"));
}

TEST_F(ExchangeStoreTest, ReadsWithoutWriting) {
  EXPECT_THAT(ExchangeStore::open_read_only(path_).error().message, HasSubstr("does not exist"));
  EXPECT_FALSE(std::filesystem::exists(path_));
  const Digest id = store().add(exchange(1)).value();
  auto reader = ExchangeStore::open_read_only(path_);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_TRUE(reader->get(id));
  const auto refused = reader->add(exchange(2));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kWorld);
  EXPECT_THAT(refused.error().message, HasSubstr("no permission"));
}

TEST_F(ExchangeStoreTest, TwoWritersTakeTurnsAndAStuckOneIsNamed) {
  ExchangeStore one = store();
  ExchangeStore two = store();
  ASSERT_TRUE(one.add(exchange(1)));
  ASSERT_TRUE(two.add(exchange(2)));
  ASSERT_TRUE(one.add(exchange(3)));
  EXPECT_EQ(two.count().value(), 3);

  const auto holder = Database::open(path_, OpenMode::kReadWrite).value();
  ASSERT_TRUE(holder.run("BEGIN IMMEDIATE"));
  const auto blocked = one.add(exchange(4));
  ASSERT_FALSE(blocked);
  EXPECT_EQ(blocked.error().fault, Fault::kWorld);
  EXPECT_THAT(blocked.error().message, HasSubstr("written by another process"));
  EXPECT_EQ(one.count().value(), 3);  // readers go on
  ASSERT_TRUE(holder.run("ROLLBACK"));
  EXPECT_TRUE(one.add(exchange(4)));
}

TEST_F(ExchangeStoreTest, AFullDiskIsTheWorldsFaultAndLosesNothing) {
  const auto database = Database::open(path_, OpenMode::kReadWrite).value();
  ASSERT_TRUE(database.run("CREATE TABLE t (x)"));
  ASSERT_TRUE(database.run("INSERT INTO t VALUES ('kept')"));
  ASSERT_TRUE(database.integer("PRAGMA max_page_count = 3"));
  const auto full = database.transaction(
      [&] { return database.run("INSERT INTO t VALUES ('lost'); INSERT INTO t VALUES (zeroblob(100000))"); });
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().fault, Fault::kWorld);
  EXPECT_THAT(full.error().message, HasSubstr("the disk is full"));
  EXPECT_EQ(database.integer("SELECT count(*) FROM t").value(), 1);
}

// The store itself when the system refuses to let its files grow.
TEST_F(ExchangeStoreTest, SurvivesAWriteThatFails) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    auto opened = ExchangeStore::open(path_);
    if (!opened) ::_exit(10);
    const rlimit limit = {400'000, 400'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(11);
    for (int i = 0; i < 10'000; ++i) {
      const auto added = opened->add(exchange(i, 2000), Slot{"job", i});
      if (!added) {
        const bool kept = opened->count().value() == i && opened->get(exchange_id(exchange(i - 1, 2000))).has_value();
        ::_exit(added.error().fault == Fault::kWorld && kept ? 0 : 12);
      }
    }
    ::_exit(13);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ExchangeStore opened = store();
  EXPECT_GT(opened.count().value(), 5);
  EXPECT_EQ(opened.slots("job").value().size(), static_cast<std::size_t>(opened.count().value()));
  EXPECT_TRUE(opened.verify().value().problems.empty());
}

TEST_F(ExchangeStoreTest, NoPermissionIsTold) {
  { store(); }
  std::filesystem::permissions(folder_, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec |
                                            std::filesystem::perms::others_read | std::filesystem::perms::others_exec);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Root may write anywhere, so be nobody.
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(10);
    const auto opened = ExchangeStore::open(folder_ / "new.sqlite");
    if (opened || opened.error().fault != Fault::kWorld) ::_exit(11);
    if (opened.error().message.find("cannot be opened") == std::string::npos) ::_exit(12);
    // What may only be read can still be read, though SQLite may put nothing beside it.
    ::_exit(ExchangeStore::open_read_only(path_) ? 0 : 13);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ExchangeStoreTest, TakesPathsWithOddCharacters) {
  path_ = folder_ / "a ?#%41 b" / "store.sqlite";
  ASSERT_TRUE(store().add(exchange(1)));
  EXPECT_TRUE(std::filesystem::exists(path_));
  EXPECT_EQ(ExchangeStore::open_read_only(path_)->count().value(), 1);
}

}  // namespace
}  // namespace retort::store
