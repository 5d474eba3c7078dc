#include "callers/registry.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "callers/registry_state.h"

namespace retort::callers {
namespace {

constexpr std::int64_t kApplicationId = 0x5254434C;  // "RTCL"
constexpr std::int64_t kFormatVersion = 1;

// docs/formats/callers.md says what each column is.
constexpr const char* kTables = R"sql(
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE organisations (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, reseller INTEGER NOT NULL, attestation TEXT NOT NULL,
  attestation_generation INTEGER NOT NULL, attestation_public_key TEXT NOT NULL, created_unix_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE people (
  id TEXT PRIMARY KEY, organisation TEXT NOT NULL REFERENCES organisations (id), role TEXT NOT NULL,
  created_unix_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE accounts (
  id TEXT PRIMARY KEY, organisation TEXT REFERENCES organisations (id), person TEXT REFERENCES people (id),
  tier TEXT NOT NULL, kind TEXT NOT NULL, plan_usd_cents_month INTEGER, created_unix_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE keys (
  id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (id), hash BLOB NOT NULL CHECK (length(hash) = 32),
  note TEXT NOT NULL, created_unix_ms INTEGER NOT NULL, expires_unix_ms INTEGER, revoked_unix_ms INTEGER
) WITHOUT ROWID;
CREATE TABLE traits (
  subject_kind INTEGER NOT NULL, subject TEXT NOT NULL, purpose INTEGER NOT NULL, kind TEXT NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32), PRIMARY KEY (subject_kind, subject, kind, hash)
) WITHOUT ROWID;
CREATE TABLE stakes (
  entity TEXT NOT NULL, owner TEXT NOT NULL, percent TEXT NOT NULL, PRIMARY KEY (entity, owner)
) WITHOUT ROWID;
CREATE TABLE lists (name TEXT PRIMARY KEY, date TEXT NOT NULL, digest BLOB NOT NULL CHECK (length(digest) = 32)) WITHOUT ROWID;
CREATE TABLE listed (
  list TEXT NOT NULL REFERENCES lists (name), entity TEXT NOT NULL, PRIMARY KEY (list, entity)
) WITHOUT ROWID;
CREATE TABLE verifications (
  number INTEGER PRIMARY KEY, subject_kind INTEGER NOT NULL, subject TEXT NOT NULL, tier TEXT NOT NULL, kind TEXT NOT NULL
);
CREATE TABLE verification_steps (
  sequence INTEGER PRIMARY KEY, verification INTEGER NOT NULL REFERENCES verifications (number), state INTEGER NOT NULL,
  who TEXT NOT NULL, at_unix_ms INTEGER NOT NULL, document BLOB, expires_unix_ms INTEGER, note TEXT NOT NULL
);
CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY, at_unix_ms INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
  subject TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL
);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
  BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
  BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER verifications_are_not_changed BEFORE UPDATE ON verifications
  BEGIN SELECT RAISE(ABORT, 'verifications are append-only'); END;
CREATE TRIGGER verifications_are_not_removed BEFORE DELETE ON verifications
  BEGIN SELECT RAISE(ABORT, 'verifications are append-only'); END;
CREATE TRIGGER verification_steps_are_not_changed BEFORE UPDATE ON verification_steps
  BEGIN SELECT RAISE(ABORT, 'steps of verifications are append-only'); END;
CREATE TRIGGER verification_steps_are_not_removed BEFORE DELETE ON verification_steps
  BEGIN SELECT RAISE(ABORT, 'steps of verifications are append-only'); END;
)sql";

// The database is its owner's alone, from its first byte.
void make_private_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor >= 0) ::close(descriptor);
}

// The tables, made when absent. Error: the file is something else.
Result<void> prepare(const store::Database& database) {
  RETORT_TRY(database.run("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON"));
  return database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(const std::int64_t application, database.integer("PRAGMA application_id"));
    RETORT_ASSIGN(const std::int64_t version, database.integer("PRAGMA user_version"));
    RETORT_ASSIGN(const std::int64_t tables, database.integer("SELECT count(*) FROM sqlite_schema"));
    if (application == 0 && tables == 0) {
      RETORT_TRY(database.run(kTables));
      return database.run("PRAGMA application_id = " + std::to_string(kApplicationId) +
                          "; PRAGMA user_version = " + std::to_string(kFormatVersion));
    }
    const std::string the_file = "'" + database.path().string() + "' ";
    if (application != kApplicationId) {
      return caller_error(the_file + "is a database of something else; expected one of callers. Choose another path.");
    }
    if (version > kFormatVersion) {
      return caller_error(the_file + "has version " + std::to_string(version) +
                          " of its format; this program reads up to " + std::to_string(kFormatVersion) +
                          ". Use a newer retort-guard.");
    }
    return {};
  });
}

// The database remembers a hash made with each key, so that another key is found out at once and not by callers that
// are refused.
Result<void> check_key(const store::Database& database, const HmacKey& key, const std::string& name,
                       const std::filesystem::path& path) {
  const std::string mark = key.hash("retort-guard key check/1").hex();
  return database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement insert,
                  database.prepare("INSERT INTO settings VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING"));
    RETORT_TRY(insert.bind_text(1, name).bind_text(2, mark).step());
    RETORT_ASSIGN(Statement select, database.prepare("SELECT value FROM settings WHERE name = ?1"));
    RETORT_TRY(select.bind_text(1, name).step());
    if (select.text(0) != mark) {
      return caller_error(
          "The key in '" + path.string() + "' is not the one that '" + database.path().string() +
          "' was made with; every key of a caller would be refused. Restore the file that belongs to it.");
    }
    return {};
  });
}

Result<HmacKey> open_key(const store::Database& database, const std::string& name, const std::filesystem::path& path) {
  if (!is_there(path)) {
    RETORT_ASSIGN(const std::int64_t used,
                  database.integer("SELECT count(*) FROM settings WHERE name = '" + name + "'"));
    if (used > 0) {
      return caller_error("The key file '" + path.string() + "' is gone, and '" + database.path().string() +
                          "' was made with it; no key of a caller can be checked without. Restore it from a copy.");
    }
  }
  RETORT_ASSIGN(HmacKey key, HmacKey::open_or_make(path));
  RETORT_TRY(check_key(database, key, name, path));
  return key;
}

}  // namespace

RegistryPaths RegistryPaths::in(const std::filesystem::path& folder) {
  return {folder / "callers.sqlite", folder / "pepper.key", folder / "traits.key"};
}

Registry::Registry(std::unique_ptr<State> state) : state_(std::move(state)) {}
Registry::~Registry() = default;
Registry::Registry(Registry&&) noexcept = default;
Registry& Registry::operator=(Registry&&) noexcept = default;

Result<Registry> Registry::open(const RegistryPaths& paths) {
  for (const auto* path : {&paths.database, &paths.pepper, &paths.trait_key}) {
    if (path->has_parent_path()) RETORT_TRY(make_folder(path->parent_path()));
  }
  make_private_file(paths.database);
  RETORT_ASSIGN(store::Database database, store::Database::open(paths.database, store::OpenMode::kReadWrite));
  RETORT_TRY(prepare(database));
  RETORT_ASSIGN(HmacKey pepper, open_key(database, "pepper", paths.pepper));
  RETORT_ASSIGN(HmacKey trait_key, open_key(database, "trait_key", paths.trait_key));
  return Registry(std::unique_ptr<State>(new State{std::move(database), std::move(pepper), std::move(trait_key)}));
}

Result<std::vector<AuditEntry>> Registry::audit(std::int64_t limit) const {
  return state_->rows(
      "SELECT sequence, who, at_unix_ms, what, subject, before, after FROM audit ORDER BY sequence DESC "
      "LIMIT " +
          std::to_string(limit),
      [](Statement& row) {
        return AuditEntry{.sequence = row.integer(0),
                          .by = {std::string(row.text(1)), row.integer(2)},
                          .what = std::string(row.text(3)),
                          .subject = std::string(row.text(4)),
                          .before = std::string(row.text(5)),
                          .after = std::string(row.text(6))};
      });
}

Result<std::int64_t> Registry::data_version() const { return state_->database.integer("PRAGMA data_version"); }

Result<void> Registry::in_one_view(const std::function<Result<void>()>& body) const {
  RETORT_TRY(state_->database.run("BEGIN"));
  Result<void> done = body();
  const Result<void> ended = state_->database.run("COMMIT");
  return done ? ended : done;
}

Result<void> Registry::State::note(const By& by, std::string_view what, std::string_view subject, const Json& before,
                                   const Json& after) const {
  RETORT_TRY(check_by(by));
  RETORT_ASSIGN(Statement insert, database.prepare("INSERT INTO audit (at_unix_ms, who, what, subject, before, after) "
                                                   "VALUES (?1, ?2, ?3, ?4, ?5, ?6)"));
  const std::string was = canonical_json(before);
  const std::string is = canonical_json(after);
  insert.bind(1, by.at_unix_ms).bind_text(2, by.who).bind_text(3, what).bind_text(4, subject);
  RETORT_TRY(insert.bind_text(5, was).bind_text(6, is).step());
  return {};
}

Result<bool> Registry::State::has(std::string_view sql, std::string_view id) const {
  RETORT_ASSIGN(Statement select, database.prepare(sql));
  return select.bind_text(1, id).step();
}

Result<void> check_name(std::string_view text, std::string_view what) {
  const bool plain = std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7F;
  });
  if (!text.empty() && text.size() <= 128 && plain && is_valid_utf8(text) && trim(text) == text) return {};
  return caller_error(
      "The " + std::string(what) +
      " is not usable; expected 1 to 128 bytes of text without control characters or spaces at its ends.");
}

Result<void> check_word(std::string_view text, std::string_view what) {
  const bool good = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (good && !text.empty() && text.size() <= 64) return {};
  return caller_error("The " + std::string(what) + " '" + std::string(text) +
                      "' is no word; expected 1 to 64 of a-z 0-9 _ and -, such as verified.");
}

Result<void> check_by(const By& by) { return check_name(by.who, "name of who makes the change"); }

Digest digest_of_blob(std::string_view blob) {
  Digest digest;
  if (blob.size() == digest.bytes.size()) std::memcpy(digest.bytes.data(), blob.data(), blob.size());
  return digest;
}

std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

std::optional<std::int64_t> optional_integer(const Statement& row, int column) {
  if (row.is_null(column)) return std::nullopt;
  return row.integer(column);
}

void bind_optional(Statement& statement, int index, const std::optional<std::int64_t>& value) {
  if (value) {
    statement.bind(index, *value);
  } else {
    statement.bind_null(index);
  }
}

std::string hint(std::string_view text, const std::vector<std::string>& known) {
  const std::string near = nearest(text, known);
  return near.empty() ? "" : "; did you mean '" + near + "'?";
}

std::string_view text_of(SubjectKind kind) {
  switch (kind) {
    case SubjectKind::kAccount: return "account";
    case SubjectKind::kOrganisation: return "organisation";
    case SubjectKind::kPerson: return "person";
  }
  return "";
}

std::string_view text_of(VerificationState state) {
  switch (state) {
    case VerificationState::kRequested: return "requested";
    case VerificationState::kReceived: return "received";
    case VerificationState::kRaised: return "raised";
    case VerificationState::kRefused: return "refused";
  }
  return "";
}

std::string Trait::text() const { return kind + ":" + hash.hex().substr(0, 32); }

}  // namespace retort::callers
