#include "store/exchange_store.h"

#include <cstring>
#include <utility>

#include "base/files.h"
#include "store/database.h"
#include "store/store_state.h"

namespace retort::store {

namespace {

constexpr std::int64_t kApplicationId = 0x52545354;  // "RTST"
constexpr std::int64_t kFormatVersion = 1;

// docs/formats/store.md says what each column is.
constexpr const char* kTables = R"sql(
CREATE TABLE exchanges (
  sequence INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
  bytes BLOB NOT NULL
);
CREATE TABLE slots (
  job TEXT NOT NULL,
  slot INTEGER NOT NULL,
  exchange BLOB REFERENCES exchanges (id),
  note TEXT NOT NULL,
  PRIMARY KEY (job, slot)
) WITHOUT ROWID;
CREATE TRIGGER exchanges_are_not_changed BEFORE UPDATE ON exchanges
  BEGIN SELECT RAISE(ABORT, 'exchanges are append-only'); END;
CREATE TRIGGER exchanges_are_not_removed BEFORE DELETE ON exchanges
  BEGIN SELECT RAISE(ABORT, 'exchanges are append-only'); END;
CREATE TRIGGER slots_are_not_changed BEFORE UPDATE ON slots
  BEGIN SELECT RAISE(ABORT, 'slots are append-only'); END;
CREATE TRIGGER slots_are_not_removed BEFORE DELETE ON slots
  BEGIN SELECT RAISE(ABORT, 'slots are append-only'); END;
)sql";

constexpr std::string_view kInsertExchange =
    "INSERT INTO exchanges (id, bytes) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";
constexpr std::string_view kInsertSlot =
    "INSERT INTO slots (job, slot, exchange, note) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (job, slot) DO NOTHING";

Digest digest_of_blob(std::string_view blob) {
  Digest digest;
  if (blob.size() == digest.bytes.size()) std::memcpy(digest.bytes.data(), blob.data(), blob.size());
  return digest;
}

SlotEntry entry_of(const Statement& row) {
  SlotEntry entry;
  entry.slot = row.integer(0);
  if (!row.is_null(1)) entry.exchange = digest_of_blob(row.blob(1));
  entry.note = std::string(row.text(2));
  return entry;
}

Result<void> check_identity(const Database& database) {
  RETORT_ASSIGN(const std::int64_t application, database.integer("PRAGMA application_id"));
  RETORT_ASSIGN(const std::int64_t version, database.integer("PRAGMA user_version"));
  const std::string the_file = "'" + database.path().string() + "' ";
  if (application != kApplicationId) {
    return caller_error(the_file + "is an SQLite database but not a store of exchanges. Choose another path.");
  }
  if (version > kFormatVersion) {
    return caller_error("The store " + the_file + "is of format version " + std::to_string(version) +
                        "; this program reads up to version " + std::to_string(kFormatVersion) +
                        ". Use the program that wrote it, or a newer one.");
  }
  if (version < 1) return caller_error("The store " + the_file + "has no format version; it is damaged.");
  return {};
}

// A new file becomes a store; an existing one is checked.
Result<void> make_or_check(const Database& database) {
  RETORT_ASSIGN(const std::int64_t tables, database.integer("SELECT count(*) FROM sqlite_schema"));
  RETORT_ASSIGN(const std::int64_t version, database.integer("PRAGMA user_version"));
  if (tables > 0 || version != 0) return check_identity(database);
  return database.transaction([&]() -> Result<void> {
    // Another process may have been faster.
    RETORT_ASSIGN(const std::int64_t now, database.integer("SELECT count(*) FROM sqlite_schema"));
    if (now > 0) return check_identity(database);
    RETORT_TRY(database.run(kTables));
    RETORT_TRY(database.run("PRAGMA application_id = " + std::to_string(kApplicationId)));
    return database.run("PRAGMA user_version = " + std::to_string(kFormatVersion));
  });
}

}  // namespace

ExchangeStore::ExchangeStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
ExchangeStore::~ExchangeStore() = default;
ExchangeStore::ExchangeStore(ExchangeStore&&) noexcept = default;
ExchangeStore& ExchangeStore::operator=(ExchangeStore&&) noexcept = default;

Result<ExchangeStore> ExchangeStore::open(const std::filesystem::path& path) {
  if (path.has_parent_path()) RETORT_TRY(make_folder(path.parent_path()));
  std::error_code code;  // what can't be looked at is told when it is opened
  if (std::filesystem::is_directory(path, code)) {
    return caller_error("'" + path.string() + "' is a folder; expected the file of a store, or a path for a new one.");
  }
  RETORT_ASSIGN(Database database, Database::open(path, OpenMode::kReadWrite));
  // Before the journal mode: it writes to the file, and a file that is no store must stay as it is.
  RETORT_TRY(make_or_check(database));
  RETORT_ASSIGN(const std::string journal, database.text("PRAGMA journal_mode = WAL"));
  // Where WAL can't be had (no shared memory), the rollback journal must sync fully to be as safe.
  RETORT_TRY(database.run(journal == "wal" ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL"));
  auto state = std::make_unique<State>();
  state->database = std::move(database);
  return ExchangeStore(std::move(state));
}

Result<ExchangeStore> ExchangeStore::open_read_only(const std::filesystem::path& path) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code)) {
    return caller_error("The store '" + path.string() + "' does not exist; expected a file written by `retort run`.");
  }
  auto state = std::make_unique<State>();
  state->read_only = true;
  RETORT_ASSIGN(state->database, Database::open(path, OpenMode::kReadOnly));
  Result<void> checked = check_identity(state->database);
  if (!checked && checked.error().fault == Fault::kWorld) {
    // A folder where SQLite may not put its -shm: then nobody writes there either.
    RETORT_ASSIGN(state->database, Database::open(path, OpenMode::kImmutable));
    checked = check_identity(state->database);
  }
  if (!checked) return Failure(checked.error());
  return ExchangeStore(std::move(state));
}

Result<Digest> ExchangeStore::add(const Exchange& exchange, const std::optional<Slot>& slot) {
  const NewExchange one{exchange, slot};
  RETORT_ASSIGN(const std::vector<Digest> ids, add(std::span(&one, 1)));
  return ids.front();
}

Result<std::vector<Digest>> ExchangeStore::add(std::span<const NewExchange> exchanges) {
  std::vector<Digest> ids;
  ids.reserve(exchanges.size());
  const Result<void> done = state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement* const prepared, state_->prepared(state_->insert_exchange, kInsertExchange));
    RETORT_ASSIGN(Statement* const for_slot, state_->prepared(state_->insert_slot, kInsertSlot));
    Statement& insert = *prepared;
    Statement& answer = *for_slot;
    for (const NewExchange& item : exchanges) {
      const std::string bytes = to_canonical_bytes(item.exchange);
      const Digest id = sha256(bytes);
      insert.bind_blob(1, view_of(id)).bind_blob(2, bytes);
      RETORT_TRY(insert.step());
      insert.reset();
      if (item.slot) {
        answer.bind_text(1, item.slot->job).bind(2, item.slot->slot).bind_blob(3, view_of(id)).bind_text(4, "");
        RETORT_TRY(answer.step());
        answer.reset();
      }
      ids.push_back(id);
    }
    return {};
  });
  if (!done) return Failure(done.error());
  return ids;
}

Result<void> ExchangeStore::skip(const Slot& slot, std::string_view note) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement answer, state_->database.prepare(kInsertSlot));
    answer.bind_text(1, slot.job).bind(2, slot.slot).bind_null(3).bind_text(4, note);
    RETORT_TRY(answer.step());
    return {};
  });
}

Result<std::string> ExchangeStore::bytes(const Digest& id) const {
  RETORT_ASSIGN(Statement* const prepared,
                state_->prepared(state_->select_bytes, "SELECT bytes FROM exchanges WHERE id = ?1"));
  Statement& select = *prepared;
  RETORT_ASSIGN(const bool found, select.bind_blob(1, view_of(id)).step());
  if (!found) {
    return caller_error("The store '" + path().string() + "' has no exchange " + id.hex() +
                        ". Expected the store of the run that names it.");
  }
  std::string bytes(select.blob(0));
  select.reset();
  if (sha256(bytes) != id) {
    return caller_error(
        "The exchange " + id.hex() + " in the store '" + path().string() +
        "' is damaged: its bytes have another digest. Restore the store from a copy, or collect again.");
  }
  return bytes;
}

Result<Exchange> ExchangeStore::get(const Digest& id) const {
  RETORT_ASSIGN(const std::string canonical, bytes(id));
  auto exchange = from_canonical_bytes(canonical);
  if (!exchange) return with_context(exchange.error(), "Exchange " + id.hex() + " of '" + path().string() + "'");
  return exchange;
}

Result<bool> ExchangeStore::contains(const Digest& id) const {
  RETORT_ASSIGN(Statement select, state_->database.prepare("SELECT 1 FROM exchanges WHERE id = ?1"));
  return select.bind_blob(1, view_of(id)).step();
}

Result<std::int64_t> ExchangeStore::count() const { return state_->database.integer("SELECT count(*) FROM exchanges"); }

Result<std::vector<Digest>> ExchangeStore::ids() const {
  RETORT_ASSIGN(Statement select, state_->database.prepare("SELECT id FROM exchanges ORDER BY sequence"));
  std::vector<Digest> ids;
  while (true) {
    RETORT_ASSIGN(const bool row, select.step());
    if (!row) return ids;
    ids.push_back(digest_of_blob(select.blob(0)));
  }
}

Result<void> ExchangeStore::for_each(const std::function<Result<void>(const Digest&, const Exchange&)>& visit) const {
  // In pages: a visitor may write to the store, and nothing is held that grows with it.
  constexpr std::int64_t kPage = 256;
  std::int64_t last = 0;
  while (true) {
    RETORT_ASSIGN(Statement select, state_->database.prepare("SELECT sequence, id FROM exchanges WHERE sequence > ?1 "
                                                             "ORDER BY sequence LIMIT ?2"));
    select.bind(1, last).bind(2, kPage);
    std::vector<Digest> page;
    while (true) {
      RETORT_ASSIGN(const bool row, select.step());
      if (!row) break;
      last = select.integer(0);
      page.push_back(digest_of_blob(select.blob(1)));
    }
    if (page.empty()) return {};
    for (const Digest& id : page) {
      RETORT_ASSIGN(const Exchange exchange, get(id));
      RETORT_TRY(visit(id, exchange));
    }
  }
}

Result<void> ExchangeStore::together(const std::function<Result<void>()>& body) {
  return state_->database.transaction(body);
}

Result<void> ExchangeStore::survive_power_loss() { return state_->database.run("PRAGMA synchronous = FULL"); }

Result<std::optional<SlotEntry>> ExchangeStore::find(const Slot& slot) const {
  RETORT_ASSIGN(Statement select,
                state_->database.prepare("SELECT slot, exchange, note FROM slots WHERE job = ?1 AND slot = ?2"));
  RETORT_ASSIGN(const bool row, select.bind_text(1, slot.job).bind(2, slot.slot).step());
  if (!row) return std::optional<SlotEntry>();
  return std::optional<SlotEntry>(entry_of(select));
}

Result<std::vector<SlotEntry>> ExchangeStore::slots(std::string_view job) const {
  RETORT_ASSIGN(Statement select,
                state_->database.prepare("SELECT slot, exchange, note FROM slots WHERE job = ?1 ORDER BY slot"));
  select.bind_text(1, job);
  std::vector<SlotEntry> entries;
  while (true) {
    RETORT_ASSIGN(const bool row, select.step());
    if (!row) return entries;
    entries.push_back(entry_of(select));
  }
}

Result<void> ExchangeStore::for_each_slot(std::string_view job,
                                          const std::function<Result<void>(const SlotEntry&)>& visit) const {
  RETORT_ASSIGN(Statement select,
                state_->database.prepare("SELECT slot, exchange, note FROM slots WHERE job = ?1 ORDER BY slot"));
  select.bind_text(1, job);
  while (true) {
    RETORT_ASSIGN(const bool row, select.step());
    if (!row) return {};
    RETORT_TRY(visit(entry_of(select)));
  }
}

Result<VerifyReport> ExchangeStore::verify() const {
  constexpr std::size_t kMostProblems = 100;
  VerifyReport report;
  RETORT_ASSIGN(Statement structure, state_->database.prepare("PRAGMA integrity_check(10)"));
  while (true) {
    RETORT_ASSIGN(const bool row, structure.step());
    if (!row) break;
    if (structure.text(0) != "ok") report.problems.push_back("SQLite: " + std::string(structure.text(0)) + ".");
  }
  RETORT_ASSIGN(Statement select, state_->database.prepare("SELECT id, bytes FROM exchanges ORDER BY sequence"));
  while (report.problems.size() < kMostProblems) {
    RETORT_ASSIGN(const bool row, select.step());
    if (!row) break;
    ++report.exchanges;
    const Digest id = digest_of_blob(select.blob(0));
    if (sha256(select.blob(1)) != id) {
      report.problems.push_back("Exchange " + id.hex() + ": its bytes have another digest.");
    } else if (const auto exchange = from_canonical_bytes(select.blob(1)); !exchange) {
      report.problems.push_back("Exchange " + id.hex() + ": " + exchange.error().message);
    }
  }
  RETORT_ASSIGN(const std::int64_t dangling,
                state_->database.integer("SELECT count(*) FROM slots WHERE exchange IS NOT NULL AND exchange NOT IN "
                                         "(SELECT id FROM exchanges)"));
  if (dangling > 0) {
    report.problems.push_back(std::to_string(dangling) + " slots name exchanges that are not in the store.");
  }
  return report;
}

Result<void> ExchangeStore::checkpoint() { return state_->database.run("PRAGMA wal_checkpoint(TRUNCATE)"); }

const std::filesystem::path& ExchangeStore::path() const { return state_->database.path(); }

}  // namespace retort::store
