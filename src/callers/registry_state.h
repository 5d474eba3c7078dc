// Inside of Registry: the open database, its keys, and what its source files share. Internal to the module.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "callers/keyed_hash.h"
#include "callers/registry.h"
#include "store/database.h"

namespace retort::callers {

using store::Statement;

struct Registry::State {
  store::Database database;
  HmacKey pepper;
  HmacKey trait_key;

  // Runs `change` and notes it, in one transaction.
  template <class Change>
  Result<void> audited(const By& by, std::string_view what, std::string_view subject, const Json& before,
                       const Json& after, Change&& change) const {
    return database.transaction([&]() -> Result<void> {
      RETORT_TRY(change());
      return note(by, what, subject, before, after);
    });
  }
  Result<void> note(const By& by, std::string_view what, std::string_view subject, const Json& before,
                    const Json& after) const;
  // Whether the query with one text parameter gives a row.
  Result<bool> has(std::string_view sql, std::string_view id) const;

  // One value of each row.
  template <class Row>
  auto rows(std::string_view sql, Row&& row) const -> Result<std::vector<decltype(row(std::declval<Statement&>()))>> {
    std::vector<decltype(row(std::declval<Statement&>()))> values;
    RETORT_ASSIGN(Statement statement, database.prepare(sql));
    while (true) {
      RETORT_ASSIGN(const bool there, statement.step());
      if (!there) return values;
      values.push_back(row(statement));
    }
  }
};

// Error: `text` is no id or name; `what` says of what.
Result<void> check_name(std::string_view text, std::string_view what);
// Lower-case letters, digits, _ and -, 1 to 64 of them: tiers and kinds.
Result<void> check_word(std::string_view text, std::string_view what);
Result<void> check_by(const By& by);
Digest digest_of_blob(std::string_view blob);
std::string_view bytes_of(const Digest& digest);
std::optional<std::int64_t> optional_integer(const Statement& row, int column);
void bind_optional(Statement& statement, int index, const std::optional<std::int64_t>& value);
// "; did you mean 'X'?" when something is near, else "".
std::string hint(std::string_view text, const std::vector<std::string>& known);

}  // namespace retort::callers
