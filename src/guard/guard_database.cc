#include "guard/guard_database.h"

#include "base/files.h"

namespace retort::guard {

Result<store::Database> open_guard_database(const std::filesystem::path& path, const DatabaseKind& kind) {
  if (!path.parent_path().empty()) RETORT_TRY(make_folder(path.parent_path()));
  RETORT_ASSIGN(auto database, store::Database::open(path, store::OpenMode::kReadWrite));
  const auto check = [&]() -> Result<bool> {  // whether it is new
    RETORT_ASSIGN(const std::int64_t application, database.integer("PRAGMA application_id"));
    RETORT_ASSIGN(const std::int64_t version, database.integer("PRAGMA user_version"));
    RETORT_ASSIGN(const std::int64_t tables, database.integer("SELECT count(*) FROM sqlite_schema"));
    if (application == 0 && tables == 0) return true;
    const std::string the_file = "'" + path.string() + "' ";
    if (application != kind.application) {
      return caller_error(the_file + "is a database of something else; expected one of " + kind.of +
                          ". Choose another folder.");
    }
    if (version > kind.version) {
      return caller_error(the_file + "has version " + std::to_string(version) +
                          " of its format; this program reads up to " + std::to_string(kind.version) +
                          ". Use a newer retort-guard.");
    }
    return false;
  };
  RETORT_ASSIGN(const bool fresh, check());
  if (!fresh) return database;
  RETORT_TRY(database.run("PRAGMA journal_mode = WAL"));
  const Result<void> made = database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(const bool still, check());  // another process may have been faster
    if (!still) return {};
    RETORT_TRY(database.run(kind.tables));
    return database.run("PRAGMA application_id = " + std::to_string(kind.application) +
                        "; PRAGMA user_version = " + std::to_string(kind.version));
  });
  if (!made) return Failure(made.error());
  return database;
}

}  // namespace retort::guard
