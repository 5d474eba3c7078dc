// SQLite with errors as values: a connection and a statement, no more than the stores of this program need.
//
// Includes SQLite's header: for the sources of modules that keep tables (store, callers), not for their headers. One
// thread per connection; a Statement must not outlive its Database.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort::store {

enum class OpenMode : std::uint8_t {
  kReadWrite,  // made when absent
  kReadOnly,
  kImmutable,  // read-only, and nobody writes: for folders where not even SQLite's -shm may be put
};

class Database;

// A prepared statement, stepped by hand. Columns are valid until the next step.
class Statement {
 public:
  Statement& bind(int index, std::int64_t value);
  Statement& bind_text(int index, std::string_view value);  // the bytes must live until the step
  Statement& bind_blob(int index, std::string_view value);  // likewise
  Statement& bind_null(int index);
  // true: a row is there; false: done. Error: as Database::failure.
  Result<bool> step();
  // For the next use: bindings are kept by SQLite until they are bound again.
  void reset();

  std::int64_t integer(int column) const;
  std::string_view text(int column) const;
  std::string_view blob(int column) const;
  bool is_null(int column) const;

 private:
  friend class Database;
  struct Close {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  Statement(const Database* database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}
  const Database* database_;
  std::unique_ptr<sqlite3_stmt, Close> statement_;
};

class Database {
 public:
  static Result<Database> open(const std::filesystem::path& path, OpenMode mode);

  Result<Statement> prepare(std::string_view sql) const;
  // Runs statements that give no rows.
  Result<void> run(const std::string& sql) const;
  // The single integer a query gives.
  Result<std::int64_t> integer(std::string_view sql) const;
  // The single text a query gives.
  Result<std::string> text(std::string_view sql) const;

  // Runs `body` in a transaction that no other writer can interrupt; rolled back when it fails. Within another one it
  // is part of that.
  template <class Body>
  Result<void> transaction(Body&& body) const {
    if (sqlite3_get_autocommit(connection_.get()) == 0) return body();
    RETORT_TRY(run("BEGIN IMMEDIATE"));
    Result<void> done = body();
    if (done) done = run("COMMIT");
    // A full disk may have made SQLite roll back by itself.
    if (!done && sqlite3_get_autocommit(connection_.get()) == 0) static_cast<void>(run("ROLLBACK"));
    return done;
  }

  // The error SQLite reported last, as a sentence: whose fault, and what to do.
  Failure failure() const;
  const std::filesystem::path& path() const { return path_; }
  sqlite3* handle() const { return connection_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
  };
  std::filesystem::path path_;
  std::unique_ptr<sqlite3, Close> connection_;
};

}  // namespace retort::store
