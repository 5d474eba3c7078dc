// What an ExchangeStore and its Ledger share: the connection, and statements that are used often. Internal.
#pragma once

#include <optional>
#include <string_view>

#include "store/database.h"
#include "store/exchange_store.h"

namespace retort::store {

// A digest's bytes, to be bound; they must live until the step.
inline std::string_view view_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

struct ExchangeStore::State {
  Database database;
  bool read_only = false;
  // Prepared at their first use; gone before the connection is.
  std::optional<Statement> insert_exchange;
  std::optional<Statement> insert_slot;
  std::optional<Statement> select_bytes;
  std::optional<Statement> insert_attempt;
  std::optional<Statement> insert_settlement;

  Result<Statement*> prepared(std::optional<Statement>& statement, std::string_view sql) const {
    if (!statement) {
      RETORT_ASSIGN(Statement made, database.prepare(sql));
      statement.emplace(std::move(made));
    }
    statement->reset();
    return &*statement;
  }
};

}  // namespace retort::store
