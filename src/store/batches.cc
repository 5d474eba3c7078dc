#include "store/batches.h"

#include "store/database.h"
#include "store/store_state.h"

namespace retort::store {
namespace {

// What they are of: one job, or all others.
constexpr const char* kOfJob = "job = ?1";
constexpr const char* kOfOthers = "job <> ?1";
constexpr const char* kSelect =
    "SELECT number, name, endpoint, first_attempt, last_attempt, "
    "coalesce((SELECT value FROM batch_steps WHERE batch = number AND step = 'uploaded'), ''), "
    "coalesce((SELECT value FROM batch_steps WHERE batch = number AND step = 'sent'), '') "
    "FROM batches WHERE NOT EXISTS "
    "(SELECT 1 FROM batch_steps WHERE batch = number AND step = 'ended') AND ";

Result<std::vector<BatchRecord>> under_way_where(Database& database, const char* condition, std::string_view job) {
  RETORT_ASSIGN(Statement select, database.prepare(std::string(kSelect) + condition + " ORDER BY number"));
  select.bind_text(1, job);
  std::vector<BatchRecord> batches;
  while (true) {
    RETORT_ASSIGN(const bool row, select.step());
    if (!row) return batches;
    BatchRecord batch;
    batch.number = select.integer(0);
    batch.name = std::string(select.text(1));
    batch.endpoint = std::string(select.text(2));
    batch.first = select.integer(3);
    batch.last = select.integer(4);
    batch.file = std::string(select.text(5));
    batch.id = std::string(select.text(6));
    batches.push_back(std::move(batch));
  }
}

}  // namespace

Batches::Batches(Ledger& ledger) : state_(ledger.state_), ledger_(&ledger) {}

Result<BatchRecord> Batches::begin(const std::string& name, std::span<const Reservation> reservations) {
  RETORT_CHECK(!reservations.empty());
  BatchRecord batch;
  batch.name = name;
  batch.endpoint = reservations.front().endpoint;
  const Result<void> done = state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(const std::vector<std::int64_t> numbers, ledger_->reserve(reservations));
    // One writer in one transaction: they follow each other.
    batch.first = numbers.front();
    batch.last = numbers.back();
    RETORT_CHECK(batch.requests() == static_cast<std::int64_t>(numbers.size()));
    RETORT_ASSIGN(Statement insert,
                  state_->database.prepare("INSERT INTO batches (name, job, endpoint, first_attempt, last_attempt, "
                                           "at_unix_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"));
    insert.bind_text(1, batch.name).bind_text(2, reservations.front().slot.job).bind_text(3, batch.endpoint);
    insert.bind(4, batch.first).bind(5, batch.last).bind(6, reservations.front().at_unix_ms);
    RETORT_TRY(insert.step());
    batch.number = sqlite3_last_insert_rowid(state_->database.handle());
    return {};
  });
  if (!done) return Failure(done.error());
  return batch;
}

Result<void> Batches::note(const BatchRecord& batch, std::string_view step, std::string_view value,
                           std::int64_t at_unix_ms) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement insert,
                  state_->database.prepare("INSERT INTO batch_steps (batch, step, value, at_unix_ms) "
                                           "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (batch, step) DO NOTHING"));
    insert.bind(1, batch.number).bind_text(2, step).bind_text(3, value).bind(4, at_unix_ms);
    RETORT_TRY(insert.step());
    return {};
  });
}

Result<std::vector<BatchRecord>> Batches::under_way(std::string_view job) const {
  return under_way_where(state_->database, kOfJob, job);
}

Result<std::vector<BatchRecord>> Batches::under_way_of_others(std::string_view job) const {
  return under_way_where(state_->database, kOfOthers, job);
}

Result<std::map<std::int64_t, OpenLine>> Batches::open_lines(const BatchRecord& batch) const {
  RETORT_ASSIGN(Statement select,
                state_->database.prepare("SELECT slot, number, input_tokens, output_tokens, nano_usd FROM attempts "
                                         "WHERE number BETWEEN ?1 AND ?2 AND NOT EXISTS "
                                         "(SELECT 1 FROM settlements WHERE settlements.attempt = attempts.number)"));
  select.bind(1, batch.first).bind(2, batch.last);
  std::map<std::int64_t, OpenLine> lines;
  while (true) {
    RETORT_ASSIGN(const bool row, select.step());
    if (!row) return lines;
    lines.emplace(select.integer(0),
                  OpenLine{select.integer(1), select.integer(2), select.integer(3), select.integer(4)});
  }
}

Result<bool> Batches::knows(std::string_view id) const {
  RETORT_ASSIGN(Statement select,
                state_->database.prepare("SELECT 1 FROM batch_steps WHERE step = 'sent' AND value = ?1"));
  return select.bind_text(1, id).step();
}

}  // namespace retort::store
