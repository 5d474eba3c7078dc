#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <thread>

#include "base/files.h"
#include "base/random.h"
#include "sealing/key_ring.h"
#include "sealing/sealer.h"

namespace retort::sealing {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kNow = 1764160000000;

class SealingTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("retort_sealing_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    path_ = folder_ / "ring.json";
    ASSERT_TRUE(KeyRing::add(path_, "one", kNow));
  }
  void TearDown() override { fs::remove_all(folder_); }

  Sealer sealer() const { return Sealer(KeyRing::read(path_).value()); }
  static Binding binding(const std::string& organisation = "acme") {
    return {organisation, std::nullopt, "model-1", sha256("prefix"), kNow + 1000};
  }
  static Expected expected(const std::string& organisation = "acme") {
    return {organisation, "model-1", sha256("prefix"), kNow};
  }

  fs::path folder_;
  fs::path path_;
};

TEST_F(SealingTest, ABlobOpensForWhomItWasSealed) {
  const Sealer sealer = this->sealer();
  for (const std::size_t size : {0U, 1U, 100U, 20000U}) {
    const std::string blob(size, 'b');
    const SealedText sealed = sealer.seal(blob, binding()).value();
    EXPECT_TRUE(looks_sealed(sealed.text));
    EXPECT_LT(sealed.text.size(), size * 4 / 3 + 260);
    const Opened opened = sealer.open(sealed.text, expected());
    EXPECT_EQ(opened.outcome, Outcome::kOpened) << name_of(opened.outcome);
    EXPECT_EQ(opened.blob, blob);
    EXPECT_EQ(opened.conversation, sealed.conversation);
    EXPECT_EQ(opened.key_id, "one");
  }
}

TEST_F(SealingTest, AConversationIsMintedOnceAndCarriedOn) {
  const Sealer sealer = this->sealer();
  const SealedText first = sealer.seal("a", binding()).value();
  EXPECT_NE(first.conversation, sealer.seal("a", binding()).value().conversation);
  Binding next = binding();
  next.conversation = first.conversation;
  EXPECT_EQ(sealer.open(sealer.seal("b", next).value().text, expected()).conversation, first.conversation);
  EXPECT_EQ(hex(first.conversation).size(), 32U);
}

TEST_F(SealingTest, EachOutcomeHasItsCause) {
  const Sealer sealer = this->sealer();
  const std::string text = sealer.seal("blob", binding()).value().text;
  EXPECT_EQ(sealer.open("gAAAAABupstream", expected()).outcome, Outcome::kNotSealed);
  EXPECT_EQ(sealer.open("", expected()).outcome, Outcome::kNotSealed);
  const Opened foreign = sealer.open(text, expected("other"));
  EXPECT_EQ(foreign.outcome, Outcome::kForeignOrganisation);
  EXPECT_EQ(foreign.sealed_for, "acme");
  EXPECT_EQ(foreign.conversation, std::nullopt);
  Expected later = expected();
  later.now_unix_ms = kNow + 1000;
  EXPECT_EQ(sealer.open(text, later).outcome, Outcome::kExpired);
  Expected model = expected();
  model.model = "model-2";
  EXPECT_EQ(sealer.open(text, model).outcome, Outcome::kOtherModel);
  Expected prefix = expected();
  prefix.prefix = sha256("edited");
  EXPECT_EQ(sealer.open(text, prefix).outcome, Outcome::kChangedPrefix);
  prefix.prefix.reset();
  EXPECT_EQ(sealer.open(text, prefix).outcome, Outcome::kOpened);
  for (const Opened& other : {sealer.open(text, later), sealer.open(text, model)}) {
    EXPECT_EQ(other.blob, "");
    EXPECT_NE(other.conversation, std::nullopt);
  }
}

TEST_F(SealingTest, EveryChangedCharacterAndEveryTruncationIsTampering) {
  const Sealer sealer = this->sealer();
  const std::string text = sealer.seal("the blob", binding()).value().text;
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'A', 'Q', '_', '.', '=', ' ', '\0', static_cast<char>(text[i] ^ 1)}) {
      if (text[i] == c) continue;
      std::string changed = text;
      changed[i] = c;
      const Opened opened = sealer.open(changed, expected());
      EXPECT_EQ(opened.outcome, i < kSealedPrefix.size() ? Outcome::kNotSealed : Outcome::kTampered) << i << " " << c;
      EXPECT_EQ(opened.blob, "");
    }
  }
  for (std::size_t size = 0; size < text.size(); ++size) {
    const Opened opened = sealer.open(text.substr(0, size), expected());
    EXPECT_EQ(opened.outcome, size < kSealedPrefix.size() ? Outcome::kNotSealed : Outcome::kTampered) << size;
  }
  EXPECT_EQ(sealer.open(text + "A", expected()).outcome, Outcome::kTampered);
  EXPECT_EQ(sealer.open(text + "AAAA", expected()).outcome, Outcome::kTampered);
  // A foreign blob that was changed is not taken for a foreign one.
  std::string foreign = sealer.seal("the blob", binding("other")).value().text;
  foreign.back() = foreign.back() == 'A' ? 'E' : 'A';
  EXPECT_EQ(sealer.open(foreign, expected()).outcome, Outcome::kTampered);
}

TEST_F(SealingTest, NoPartOfOneBlobCanBePutIntoAnother) {
  const Sealer sealer = this->sealer();
  const auto bytes = [](const std::string& text) { return *from_base64url(text.substr(kSealedPrefix.size())); };
  const std::string a = bytes(sealer.seal("aaaaaaaa", binding()).value().text);
  const std::string b = bytes(sealer.seal("bbbbbbbb", binding("other")).value().text);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t at = 14; at < a.size(); ++at) {  // before it both begin alike
    const std::string crossed = std::string(kSealedPrefix) + base64url(a.substr(0, at) + b.substr(at));
    EXPECT_EQ(sealer.open(crossed, expected()).outcome, Outcome::kTampered) << at;
  }
}

TEST_F(SealingTest, TellsNothingAndNeverTheSameTwice) {
  const Sealer sealer = this->sealer();
  std::set<std::string> texts;
  for (int i = 0; i < 200; ++i) {
    const std::string text = sealer.seal("blob", binding()).value().text;
    EXPECT_TRUE(texts.insert(text.substr(kSealedPrefix.size() + 12)).second);
    const std::string bytes = *from_base64url(text.substr(kSealedPrefix.size()));
    EXPECT_THAT(bytes, Not(HasSubstr("acme")));
    EXPECT_THAT(bytes, Not(HasSubstr("blob")));
  }
  // Names of different length give texts of one length.
  EXPECT_EQ(sealer.seal("b", binding("a")).value().text.size(),
            sealer.seal("b", binding("a-longer-name")).value().text.size());
  EXPECT_FALSE(sealer.seal("b", binding("")));
  EXPECT_FALSE(sealer.seal("b", binding(std::string(1001, 'x'))));
  const std::string longest(1000, 'x');
  EXPECT_EQ(sealer.open(sealer.seal("b", binding(longest)).value().text, expected(longest)).outcome, Outcome::kOpened);
}

TEST_F(SealingTest, NamesThatEndAlikeAreNotTakenForEachOther) {
  const Sealer sealer = this->sealer();
  const std::string odd("acme\x01", 5);
  EXPECT_EQ(sealer.open(sealer.seal("b", binding(odd)).value().text, expected()).outcome,
            Outcome::kForeignOrganisation);
  EXPECT_EQ(sealer.open(sealer.seal("b", binding(odd)).value().text, expected(odd)).outcome, Outcome::kOpened);
}

TEST_F(SealingTest, TheNewestKeySealsAndAllOpen) {
  const Sealer before = sealer();
  const std::string old_text = before.seal("old", binding()).value().text;
  ASSERT_TRUE(KeyRing::add(path_, "two", kNow + 5000));
  const Sealer after = sealer();  // another guard that read the ring again
  EXPECT_EQ(after.open(old_text, expected()).blob, "old");
  const std::string new_text = after.seal("new", binding()).value().text;
  EXPECT_EQ(after.open(new_text, expected()).key_id, "two");
  // A guard that has not read it again doesn't know the key, and says so.
  const Opened unknown = before.open(new_text, expected());
  EXPECT_EQ(unknown.outcome, Outcome::kTampered);
  EXPECT_TRUE(unknown.unknown_key);
  EXPECT_FALSE(KeyRing::add(path_, "two", kNow + 6000));
  EXPECT_FALSE(KeyRing::add(path_, "no/good", kNow + 6000));
}

TEST_F(SealingTest, TheRingsFileIsChecked) {
  struct stat facts {};
  ASSERT_EQ(::stat(path_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0600U);
  ::chmod(path_.c_str(), 0644);
  EXPECT_THAT(KeyRing::read(path_).error().message, HasSubstr("chmod 600"));
  const std::string good =
      R"({"id":"a","created":"2026-01-01T00:00:00Z","secret":")" + base64(std::string(32, 's')) + "\"}";
  for (const std::string& text :
       {std::string("{"), std::string("[]"), std::string("{}"), std::string(R"({"keys":[]})"),
        std::string(R"({"keys":[1]})"), std::string(R"({"keys":[{"id":"a","created":"x","secret":"c2hvcnQ="}]})"),
        R"({"keys":[)" + good + "," + good + "]}"}) {
    ASSERT_TRUE(write_secret_file(path_, text));
    const auto ring = KeyRing::read(path_);
    ASSERT_FALSE(ring) << text;
    EXPECT_EQ(ring.error().fault, Fault::kCaller);
    EXPECT_THAT(ring.error().message, Not(HasSubstr("c2hvcnQ=")));
  }
  ASSERT_TRUE(write_secret_file(path_, R"({"keys":[)" + good + "]}"));
  EXPECT_TRUE(KeyRing::read(path_));
}

TEST_F(SealingTest, AnyBytesHaveAnOutcome) {
  const Sealer sealer = this->sealer();
  const std::string text = sealer.seal("the blob", binding()).value().text;
  Random random(26);
  for (int i = 0; i < 3000; ++i) {
    std::string changed = text;
    for (std::uint64_t k = random.below(4) + 1; k-- > 0;) {
      const auto at = static_cast<std::size_t>(random.below(changed.size()));
      switch (random.below(3)) {
        case 0: changed[at] = static_cast<char>(random.next()); break;
        case 1: changed.erase(at, random.below(20)); break;
        default: changed.insert(at, std::string(random.below(20), static_cast<char>(random.next())));
      }
      if (changed.empty()) changed = "r";
    }
    if (changed == text) continue;
    const Outcome outcome = sealer.open(changed, expected()).outcome;
    EXPECT_TRUE(outcome == Outcome::kTampered || outcome == Outcome::kNotSealed);
  }
}

TEST_F(SealingTest, SeveralThreadsShareASealer) {
  const Sealer sealer = this->sealer();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&sealer] {
      for (int i = 0; i < 100; ++i) {
        const std::string blob = std::to_string(i);
        EXPECT_EQ(sealer.open(sealer.seal(blob, binding()).value().text, expected()).blob, blob);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace retort::sealing
