#include "store/database.h"

#include <utility>

namespace retort::store {

namespace {

// In a URI these would end the path or be taken as an escape (SQLite, "Uniform Resource Identifiers").
std::string uri_of(const std::filesystem::path& path, std::string_view query) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::error_code failed;
  const std::filesystem::path absolute = std::filesystem::absolute(path, failed);
  std::string uri = "file:";
  for (const char c : (failed ? path : absolute).string()) {
    if (c == '%' || c == '?' || c == '#') {
      const auto byte = static_cast<unsigned char>(c);
      uri += '%';
      uri += kHex[byte >> 4U];
      uri += kHex[byte & 15U];
    } else {
      uri += c;
    }
  }
  return uri + "?" + std::string(query);
}

constexpr int kBusyTimeout_ms = 5000;

}  // namespace

Statement& Statement::bind(int index, std::int64_t value) {
  RETORT_CHECK(sqlite3_bind_int64(statement_.get(), index, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind_text(int index, std::string_view value) {
  RETORT_CHECK(sqlite3_bind_text64(statement_.get(), index, value.empty() ? "" : value.data(), value.size(),
                                   SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind_blob(int index, std::string_view value) {
  RETORT_CHECK(sqlite3_bind_blob64(statement_.get(), index, value.empty() ? "" : value.data(), value.size(),
                                   SQLITE_STATIC) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind_null(int index) {
  RETORT_CHECK(sqlite3_bind_null(statement_.get(), index) == SQLITE_OK);
  return *this;
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->failure();
}

void Statement::reset() { sqlite3_reset(statement_.get()); }

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::string_view Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  return bytes == nullptr
             ? std::string_view()
             : std::string_view(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column)));
}

std::string_view Statement::blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  return bytes == nullptr
             ? std::string_view()
             : std::string_view(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column)));
}

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

Result<Database> Database::open(const std::filesystem::path& path, OpenMode mode) {
  Database database;
  database.path_ = path;
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI | SQLITE_OPEN_EXRESCODE;
  flags |= mode == OpenMode::kReadWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  const std::string uri = uri_of(path, mode == OpenMode::kImmutable ? "immutable=1" : "");
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(uri.c_str(), &connection, flags, nullptr);
  database.connection_.reset(connection);
  if (connection == nullptr) return world_error("The store '" + path.string() + "' cannot be opened: out of memory.");
  if (code != SQLITE_OK) return database.failure();
  sqlite3_busy_timeout(connection, kBusyTimeout_ms);
  return database;
}

Result<Statement> Database::prepare(std::string_view sql) const {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(connection_.get(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr) !=
      SQLITE_OK) {
    return failure();
  }
  return Statement(this, statement);
}

Result<void> Database::run(const std::string& sql) const {
  if (sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return failure();
  return {};
}

Result<std::int64_t> Database::integer(std::string_view sql) const {
  RETORT_ASSIGN(Statement statement, prepare(sql));
  RETORT_ASSIGN(const bool row, statement.step());
  RETORT_CHECK(row);
  return statement.integer(0);
}

Result<std::string> Database::text(std::string_view sql) const {
  RETORT_ASSIGN(Statement statement, prepare(sql));
  RETORT_ASSIGN(const bool row, statement.step());
  RETORT_CHECK(row);
  return std::string(statement.text(0));
}

Failure Database::failure() const {
  const int code = sqlite3_extended_errcode(connection_.get());
  const std::string the_store = "The store '" + path_.string() + "' ";
  const std::string why = std::string(" (SQLite: ") + sqlite3_errmsg(connection_.get()) + ")";
  switch (code & 0xFF) {
    case SQLITE_FULL:
      return world_error(the_store +
                         "cannot be written: the disk is full. What was stored before is kept; free some space and "
                         "run the same command again.");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return world_error(the_store +
                         "is being written by another process, which did not finish within 5 s. What was stored "
                         "before is kept; stop the other process or wait for it, and run the same command again.");
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return world_error(the_store +
                         "cannot be written: there is no permission. Change its permissions or choose "
                         "another folder" +
                         why + ".");
    case SQLITE_CANTOPEN:
      return world_error(the_store + "cannot be opened" + why +
                         ". Expected a file this user may read and write, in a folder that exists.");
    case SQLITE_NOTADB:
      return caller_error(the_store +
                          "is not a store: it is no SQLite database. Choose another path, or remove the "
                          "file if it isn't needed.");
    case SQLITE_CORRUPT:
      return caller_error(the_store + "is damaged" + why + ". Restore it from a copy, or remove it and collect again.");
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
      return world_error(the_store + "cannot be read or written" + why +
                         ". What was stored before is kept; check the disk and run the same command again.");
    default: return caller_error(the_store + "does not have the tables of a store" + why + ".");
  }
}

}  // namespace retort::store
