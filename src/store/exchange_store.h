// Where exchanges live: one SQLite file, append-only, addressed by digest (docs/formats/store.md).
//
// Relied on:
//   - add() returns once the exchange is durable against the death of this process at any instant (SIGKILL included):
//   WAL
//     journal, synchronous=NORMAL. Power loss may take the last few transactions, never the consistency of the file:
//     an exchange can be sampled again, so an fsync per transaction isn't paid for. checkpoint() makes all durable.
//   - what get() returns has the digest it was asked by: bytes are digested again on every read.
//   - nothing is changed or removed; adding the same exchange again changes nothing.
//   - several processes may read; a second writer waits up to 5 s for the first and then fails with a sentence.
// One thread per object; open one object a thread. The object owns its connection.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "exchange/exchange.h"

namespace retort::store {

// A place of a collection that is answered once: `job` says what is collected (a digest of everything that decides the
// answers, in hexadecimal or any text), `slot` which of its requests. A resumed collection asks only what has no entry.
struct Slot {
  std::string job;
  std::int64_t slot = 0;
};

// What stands in a slot.
struct SlotEntry {
  std::int64_t slot = 0;
  std::optional<Digest> exchange;  // absent: nothing usable came; `note` says why
  std::string note;
};

struct NewExchange {
  Exchange exchange;
  std::optional<Slot> slot;
};

struct VerifyReport {
  std::int64_t exchanges = 0;
  std::vector<std::string> problems;  // sentences; empty: all is well
};

class ExchangeStore {
 public:
  // Opens, and makes the file if there is none. Errors: kCaller when it is no store, damaged, or of a newer version;
  // kWorld when it can't be written.
  static Result<ExchangeStore> open(const std::filesystem::path& path);
  // Never changes the file (beside it SQLite may put its `-shm` while open). Error also when there is no file.
  static Result<ExchangeStore> open_read_only(const std::filesystem::path& path);
  ~ExchangeStore();
  ExchangeStore(ExchangeStore&&) noexcept;
  ExchangeStore& operator=(ExchangeStore&&) noexcept;

  // Stores one exchange, and the answer to its slot in the same transaction. Returns its id. A slot that already has an
  // entry keeps it. Error kWorld (disk full, locked): nothing of this call is stored, everything earlier is.
  Result<Digest> add(const Exchange& exchange, const std::optional<Slot>& slot = std::nullopt);
  // The same for many in one transaction, all or none. Ids in the order given.
  Result<std::vector<Digest>> add(std::span<const NewExchange> exchanges);
  // All that `body` adds here and in the store's Ledger, in one transaction: all or nothing.
  Result<void> together(const std::function<Result<void>()>& body);
  // From now on a transaction survives the loss of power too: an fsync each.
  Result<void> survive_power_loss();
  // Records that a slot is done although nothing usable came.
  Result<void> skip(const Slot& slot, std::string_view note);

  // The exchange of this id, its bytes digested again. Errors: kCaller when absent or damaged, naming the id.
  Result<Exchange> get(const Digest& id) const;
  // The canonical bytes, digested again.
  Result<std::string> bytes(const Digest& id) const;
  Result<bool> contains(const Digest& id) const;
  Result<std::int64_t> count() const;
  // All ids in the order they were first added.
  Result<std::vector<Digest>> ids() const;
  // Visits every exchange in the order added; an error from `visit` ends the walk and is returned.
  Result<void> for_each(const std::function<Result<void>(const Digest&, const Exchange&)>& visit) const;

  // The entry of a slot, if it is done.
  Result<std::optional<SlotEntry>> find(const Slot& slot) const;
  // All entries of a job, by ascending slot number.
  Result<std::vector<SlotEntry>> slots(std::string_view job) const;

  // Visits the entries of a job by ascending slot number, without holding them all.
  Result<void> for_each_slot(std::string_view job, const std::function<Result<void>(const SlotEntry&)>& visit) const;

  // Digests everything again, checks SQLite's own structure and that slots point at exchanges that exist.
  Result<VerifyReport> verify() const;
  // Moves the journal into the file and syncs it to disk, so that the file alone is complete.
  Result<void> checkpoint();

  const std::filesystem::path& path() const;

 private:
  struct State;
  friend class Ledger;
  explicit ExchangeStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace retort::store
