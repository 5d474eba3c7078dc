#include "guard/batch_files.h"

#include <mutex>

#include "guard/batch_database.h"

namespace retort::guard {
struct BatchFiles::State {
  explicit State(store::Database opened) : database(std::move(opened)) {}
  store::Database database;
  std::mutex mutex;
};

BatchFiles::BatchFiles(std::unique_ptr<State> state) : state_(std::move(state)) {}
BatchFiles::~BatchFiles() = default;

Result<std::unique_ptr<BatchFiles>> BatchFiles::open(const std::filesystem::path& database) {
  RETORT_ASSIGN(auto opened, open_batch_database(database));
  return std::unique_ptr<BatchFiles>(new BatchFiles(std::make_unique<State>(std::move(opened))));
}

Result<void> BatchFiles::keep(const std::string& id, const BatchFileFacts& facts, std::int64_t now_unix_ms) {
  const std::lock_guard lock(state_->mutex);
  RETORT_ASSIGN(auto insert,
                state_->database.prepare("INSERT OR REPLACE INTO files (id, account, path, requests, worst_nano_usd,"
                                         " uploaded_ms) VALUES (?, ?, ?, ?, ?, ?)"));
  insert.bind_text(1, id).bind_text(2, facts.account).bind_text(3, facts.path).bind(4, facts.requests);
  if (facts.worst) {
    insert.bind(5, *facts.worst);
  } else {
    insert.bind_null(5);
  }
  insert.bind(6, now_unix_ms);
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_TRY(insert.step());
    RETORT_ASSIGN(auto prices,
                  state_->database.prepare(facts.prices ? "INSERT OR REPLACE INTO file_prices VALUES (?, ?, ?, ?, ?)"
                                                        : "DELETE FROM file_prices WHERE id = ?"));
    prices.bind_text(1, id);
    if (facts.prices) {
      prices.bind(2, facts.prices->input).bind(3, facts.prices->cached);
      prices.bind(4, facts.prices->written).bind(5, facts.prices->output);
    }
    RETORT_TRY(prices.step());
    return {};
  });
}

Result<std::optional<BatchFileFacts>> BatchFiles::find(const std::string& id) const {
  const std::lock_guard lock(state_->mutex);
  RETORT_ASSIGN(auto query, state_->database.prepare(
                                "SELECT account, path, requests, worst_nano_usd, input, cached, written, output"
                                " FROM files LEFT JOIN file_prices USING (id) WHERE id = ?"));
  query.bind_text(1, id);
  RETORT_ASSIGN(const bool row, query.step());
  if (!row) return std::optional<BatchFileFacts>();
  BatchFileFacts facts{std::string(query.text(0)), std::string(query.text(1)), query.integer(2), {}, {}};
  if (!query.is_null(3)) facts.worst = query.integer(3);
  if (!query.is_null(4)) {
    facts.prices = {query.integer(4), query.integer(5), query.integer(6), query.integer(7)};
  }
  return std::optional(std::move(facts));
}

}  // namespace retort::guard
