#include "guard/batch_ledger.h"

#include <mutex>

#include "guard/batch_database.h"

namespace retort::guard {

struct BatchLedger::State {
  explicit State(store::Database opened) : database(std::move(opened)) {}
  store::Database database;
  std::mutex mutex;
};

BatchLedger::BatchLedger(std::unique_ptr<State> state) : state_(std::move(state)) {}
BatchLedger::~BatchLedger() = default;

Result<std::unique_ptr<BatchLedger>> BatchLedger::open(const std::filesystem::path& database) {
  RETORT_ASSIGN(auto opened, open_batch_database(database));
  return std::unique_ptr<BatchLedger>(new BatchLedger(std::make_unique<State>(std::move(opened))));
}

Result<void> BatchLedger::made(const BatchMade& batch, std::int64_t now_unix_ms) {
  const std::lock_guard lock(state_->mutex);
  RETORT_ASSIGN(auto insert, state_->database.prepare(
                                 "INSERT INTO batches (id, exchange, account, input_price, cached_price, written_price,"
                                 " output_price, made_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  insert.bind_text(1, batch.id).bind_text(2, batch.exchange).bind_text(3, batch.account);
  insert.bind(4, batch.prices.input).bind(5, batch.prices.cached).bind(6, batch.prices.written);
  insert.bind(7, batch.prices.output).bind(8, now_unix_ms);
  RETORT_TRY(insert.step());
  return {};
}

Result<void> BatchLedger::answers_in(std::string_view id, std::string_view output_file) {
  const std::lock_guard lock(state_->mutex);
  RETORT_ASSIGN(auto update,
                state_->database.prepare("UPDATE batches SET output_file = ?1 WHERE id = ?2 AND bill IS NULL"
                                         " AND output_file IS NOT ?1"));
  update.bind_text(1, output_file).bind_text(2, id);
  RETORT_TRY(update.step());
  return {};
}

Result<std::optional<std::string>> BatchLedger::awaiting(std::string_view file_or_id) const {
  const std::lock_guard lock(state_->mutex);
  RETORT_ASSIGN(auto query, state_->database.prepare(
                                "SELECT id FROM batches WHERE bill IS NULL AND (id = ?1 OR output_file = ?1) LIMIT 1"));
  query.bind_text(1, file_or_id);
  RETORT_ASSIGN(const bool row, query.step());
  return row ? std::optional(std::string(query.text(0))) : std::nullopt;
}

Result<bool> BatchLedger::bill(std::string_view id, const api::Usage& usage) {
  const std::lock_guard lock(state_->mutex);
  bool first = false;
  const Result<void> done = state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(auto query, state_->database.prepare("SELECT input_price, cached_price, written_price, output_price"
                                                       " FROM batches WHERE id = ? AND bill IS NULL"));
    query.bind_text(1, id);
    RETORT_ASSIGN(first, query.step());
    if (!first) return {};
    const policy::TokenPrices prices{query.integer(0), query.integer(1), query.integer(2), query.integer(3)};
    RETORT_ASSIGN(auto update,
                  state_->database.prepare(
                      "UPDATE batches SET bill = (SELECT coalesce(max(bill), 0) + 1 FROM batches), nano_usd = ?,"
                      " input = ?, cached = ?, written = ?, output = ?, reasoning = ? WHERE id = ?"));
    update.bind(1, policy::cost_of(prices, usage)).bind(2, usage.input).bind(3, usage.cached);
    update.bind(4, usage.cache_written).bind(5, usage.output).bind(6, usage.reasoning).bind_text(7, id);
    RETORT_TRY(update.step());
    return {};
  });
  if (!done) return Failure(done.error());
  return first;
}

Result<std::vector<BatchBill>> BatchLedger::bills_after(std::int64_t number) const {
  const std::lock_guard lock(state_->mutex);
  RETORT_ASSIGN(auto query,
                state_->database.prepare("SELECT bill, id, exchange, account, nano_usd, input, cached, written, output,"
                                         " reasoning FROM batches WHERE bill > ? ORDER BY bill"));
  query.bind(1, number);
  std::vector<BatchBill> bills;
  while (true) {
    RETORT_ASSIGN(const bool row, query.step());
    if (!row) return bills;
    BatchBill bill;
    bill.number = query.integer(0);
    bill.batch.id = query.text(1);
    bill.batch.exchange = query.text(2);
    bill.batch.account = query.text(3);
    bill.cost = query.integer(4);
    bill.usage.input = query.integer(5);
    bill.usage.cached = query.integer(6);
    bill.usage.cache_written = query.integer(7);
    bill.usage.output = query.integer(8);
    bill.usage.reasoning = query.integer(9);
    bill.usage.reported = true;
    bills.push_back(std::move(bill));
  }
}

}  // namespace retort::guard
