#include "store/ledger.h"

#include "store/database.h"
#include "store/store_state.h"

namespace retort::store {
namespace {

// docs/formats/store.md says what each column is.
constexpr const char* kTables = R"sql(
CREATE TABLE IF NOT EXISTS attempts (
  number INTEGER PRIMARY KEY,
  job TEXT NOT NULL,
  slot INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  request BLOB NOT NULL CHECK (length(request) = 32),
  endpoint TEXT NOT NULL,
  at_unix_ms INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  nano_usd INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS settlements (
  attempt INTEGER PRIMARY KEY REFERENCES attempts (number),
  at_unix_ms INTEGER NOT NULL,
  status INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  nano_usd INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  job TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  first_attempt INTEGER NOT NULL REFERENCES attempts (number),
  last_attempt INTEGER NOT NULL REFERENCES attempts (number),
  at_unix_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_steps (
  batch INTEGER NOT NULL REFERENCES batches (number),
  step TEXT NOT NULL,
  value TEXT NOT NULL,
  at_unix_ms INTEGER NOT NULL,
  PRIMARY KEY (batch, step)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS batches_are_not_changed BEFORE UPDATE ON batches
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS batches_are_not_removed BEFORE DELETE ON batches
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS batch_steps_are_not_changed BEFORE UPDATE ON batch_steps
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS batch_steps_are_not_removed BEFORE DELETE ON batch_steps
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS attempts_are_not_changed BEFORE UPDATE ON attempts
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS attempts_are_not_removed BEFORE DELETE ON attempts
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS settlements_are_not_changed BEFORE UPDATE ON settlements
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS settlements_are_not_removed BEFORE DELETE ON settlements
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
)sql";

constexpr std::string_view kInsertAttempt =
    "INSERT INTO attempts (job, slot, attempt, request, endpoint, at_unix_ms, input_tokens, output_tokens, nano_usd) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
constexpr std::string_view kInsertSettlement =
    "INSERT INTO settlements (attempt, at_unix_ms, status, outcome, input_tokens, output_tokens, reasoning_tokens, "
    "nano_usd) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

}  // namespace

Result<Ledger> Ledger::open(ExchangeStore& store) {
  ExchangeStore::State* const state = store.state_.get();
  RETORT_TRY(state->database.transaction([&] { return state->database.run(kTables); }));
  return Ledger(state);
}

Result<std::vector<std::int64_t>> Ledger::reserve(std::span<const Reservation> reservations) {
  std::vector<std::int64_t> numbers;
  numbers.reserve(reservations.size());
  const Result<void> done = state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement* const insert, state_->prepared(state_->insert_attempt, kInsertAttempt));
    for (const Reservation& r : reservations) {
      insert->bind_text(1, r.slot.job).bind(2, r.slot.slot).bind(3, r.attempt).bind_blob(4, view_of(r.request));
      insert->bind_text(5, r.endpoint).bind(6, r.at_unix_ms).bind(7, r.input_tokens).bind(8, r.output_tokens);
      insert->bind(9, r.nano_usd);
      RETORT_TRY(insert->step());
      insert->reset();
      numbers.push_back(sqlite3_last_insert_rowid(state_->database.handle()));
    }
    return {};
  });
  if (!done) return Failure(done.error());
  return numbers;
}

Result<void> Ledger::settle(std::span<const Settlement> settlements) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement* const insert, state_->prepared(state_->insert_settlement, kInsertSettlement));
    for (const Settlement& s : settlements) {
      insert->bind(1, s.reservation).bind(2, s.at_unix_ms).bind(3, s.status).bind_text(4, s.outcome);
      insert->bind(5, s.input_tokens).bind(6, s.output_tokens).bind(7, s.reasoning_tokens).bind(8, s.nano_usd);
      RETORT_TRY(insert->step());
      insert->reset();
    }
    return {};
  });
}

Result<Totals> Ledger::totals() const {
  Totals totals;
  RETORT_ASSIGN(Statement settled,
                state_->database.prepare("SELECT count(*), coalesce(sum(outcome = 'answered'), 0), "
                                         "coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), "
                                         "coalesce(sum(reasoning_tokens), 0), coalesce(sum(nano_usd), 0) "
                                         "FROM settlements"));
  RETORT_TRY(settled.step());
  totals.attempts = settled.integer(0);
  totals.answered = settled.integer(1);
  totals.input_tokens = settled.integer(2);
  totals.output_tokens = settled.integer(3);
  totals.reasoning_tokens = settled.integer(4);
  totals.nano_usd = settled.integer(5);
  RETORT_ASSIGN(Statement open,
                state_->database.prepare("SELECT count(*), coalesce(sum(input_tokens + output_tokens), 0), "
                                         "coalesce(sum(nano_usd), 0) FROM attempts WHERE NOT EXISTS "
                                         "(SELECT 1 FROM settlements WHERE settlements.attempt = attempts.number)"));
  RETORT_TRY(open.step());
  totals.open_attempts = open.integer(0);
  totals.reserved_tokens = open.integer(1);
  totals.reserved_nano_usd = open.integer(2);
  totals.attempts += totals.open_attempts;
  return totals;
}

Result<std::int64_t> Ledger::reconcile(bool as_worst_case, std::int64_t at_unix_ms) {
  std::int64_t lines = 0;
  const Result<void> done = state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(
        Statement insert,
        state_->database.prepare(
            "INSERT INTO settlements SELECT number, ?1, 0, 'reconciled', input_tokens * ?2, output_tokens * ?2, "
            "0, nano_usd * ?2 FROM attempts WHERE NOT EXISTS "
            "(SELECT 1 FROM settlements WHERE settlements.attempt = attempts.number)"));
    RETORT_TRY(insert.bind(1, at_unix_ms).bind(2, as_worst_case ? 1 : 0).step());
    lines = sqlite3_changes(state_->database.handle());
    // Nothing is left to fetch of a batch whose lines are settled.
    RETORT_ASSIGN(Statement end, state_->database.prepare(
                                     "INSERT INTO batch_steps SELECT number, 'ended', 'reconciled', ?1 FROM batches "
                                     "WHERE NOT EXISTS (SELECT 1 FROM batch_steps WHERE batch = number AND step = "
                                     "'ended')"));
    RETORT_TRY(end.bind(1, at_unix_ms).step());
    return {};
  });
  if (!done) return Failure(done.error());
  return lines;
}

}  // namespace retort::store
