// The database of uploaded batch files (batch_files.h) and of the batches made of them (batch_ledger.h).
//
// Includes SQLite's header: for sources alone.
#pragma once

#include <filesystem>

#include "store/database.h"

namespace retort::guard {

// Made when absent. Error: as open_guard_database().
Result<store::Database> open_batch_database(const std::filesystem::path& path);

}  // namespace retort::guard
