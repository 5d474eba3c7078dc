#include "guard/batch_files.h"

#include <mutex>

#include "guard/guard_database.h"

namespace retort::guard {
namespace {

constexpr std::int64_t kApplicationId = 0x52544246;  // "RTBF"
constexpr const char* kTables =
    "CREATE TABLE files (id TEXT PRIMARY KEY, account TEXT NOT NULL, path TEXT NOT NULL, requests INTEGER NOT NULL,"
    " worst_nano_usd INTEGER, uploaded_ms INTEGER NOT NULL) STRICT;";

}  // namespace

struct BatchFiles::State {
  explicit State(store::Database opened) : database(std::move(opened)) {}
  store::Database database;
  std::mutex mutex;
};

BatchFiles::BatchFiles(std::unique_ptr<State> state) : state_(std::move(state)) {}
BatchFiles::~BatchFiles() = default;

Result<std::unique_ptr<BatchFiles>> BatchFiles::open(const std::filesystem::path& database) {
  RETORT_ASSIGN(
      auto opened,
      open_guard_database(
          database, {.application = kApplicationId, .version = 1, .of = "uploaded batch files", .tables = kTables}));
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
  RETORT_TRY(insert.step());
  return {};
}

Result<std::optional<BatchFileFacts>> BatchFiles::find(const std::string& id) const {
  const std::lock_guard lock(state_->mutex);
  RETORT_ASSIGN(auto query,
                state_->database.prepare("SELECT account, path, requests, worst_nano_usd FROM files WHERE id = ?"));
  query.bind_text(1, id);
  RETORT_ASSIGN(const bool row, query.step());
  if (!row) return std::optional<BatchFileFacts>();
  BatchFileFacts facts{std::string(query.text(0)), std::string(query.text(1)), query.integer(2), std::nullopt};
  if (!query.is_null(3)) facts.worst = query.integer(3);
  return std::optional(std::move(facts));
}

}  // namespace retort::guard
