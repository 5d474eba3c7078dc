#include "guard/batch_database.h"

#include "guard/guard_database.h"

namespace retort::guard {
namespace {

constexpr std::int64_t kApplicationId = 0x52544246;  // "RTBF"
constexpr const char* kTables =
    "CREATE TABLE files (id TEXT PRIMARY KEY, account TEXT NOT NULL, path TEXT NOT NULL, requests INTEGER NOT NULL,"
    " worst_nano_usd INTEGER, uploaded_ms INTEGER NOT NULL) STRICT;";
// Came later, and to databases that were there.
constexpr const char* kLaterTables =
    "CREATE TABLE IF NOT EXISTS file_prices (id TEXT PRIMARY KEY, input INTEGER NOT NULL, cached INTEGER NOT NULL,"
    " written INTEGER NOT NULL, output INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY, exchange TEXT NOT NULL, account TEXT NOT NULL,"
    " input_price INTEGER NOT NULL, cached_price INTEGER NOT NULL, written_price INTEGER NOT NULL,"
    " output_price INTEGER NOT NULL, made_ms INTEGER NOT NULL, output_file TEXT,"
    " bill INTEGER UNIQUE, nano_usd INTEGER, input INTEGER, cached INTEGER, written INTEGER, output INTEGER,"
    " reasoning INTEGER) STRICT;"
    "CREATE INDEX IF NOT EXISTS batches_by_output ON batches (output_file) WHERE output_file IS NOT NULL;";

}  // namespace

Result<store::Database> open_batch_database(const std::filesystem::path& path) {
  RETORT_ASSIGN(
      auto opened,
      open_guard_database(
          path, {.application = kApplicationId, .version = 1, .of = "uploaded batch files", .tables = kTables}));
  RETORT_TRY(opened.run(kLaterTables));
  return opened;
}

}  // namespace retort::guard
