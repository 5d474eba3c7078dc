// Opens an SQLite file of the guard's own, and no other's.
//
// Internal to the module: includes SQLite's header. One thread per connection.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "store/database.h"

namespace retort::guard {

struct DatabaseKind {
  std::int64_t application = 0;  // four letters, as SQLite's application_id
  std::int64_t version = 1;      // of its tables
  std::string of;                // what it holds: "steps of response"
  std::string tables;            // SQL that makes them
};

// Makes it with its folder when absent. Error (kCaller): the file is another program's, or of a newer version.
Result<store::Database> open_guard_database(const std::filesystem::path& path, const DatabaseKind& kind);

}  // namespace retort::guard
