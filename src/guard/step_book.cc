#include "guard/step_book.h"

#include "base/json.h"
#include "evidence/exchange_records.h"
#include "guard/guard_database.h"

namespace retort::guard {
namespace {

constexpr std::int64_t kApplicationId = 0x52545350;  // "RTSP"
constexpr const char* kTables =
    "CREATE TABLE steps ("
    " id INTEGER PRIMARY KEY, account TEXT NOT NULL, kind TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL,"
    " since_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, undone_by TEXT, undone_ms INTEGER) STRICT;"
    "CREATE TRIGGER steps_stay BEFORE DELETE ON steps BEGIN"
    " SELECT raise(ABORT, 'steps are never removed'); END;"
    "CREATE TRIGGER steps_are_fixed BEFORE UPDATE OF account, kind, by, reason, since_ms, until_ms ON "
    "steps"
    " BEGIN SELECT raise(ABORT, 'steps are never rewritten'); END;";

}  // namespace

Json to_json(const KeptStep& kept) {
  Json line = {{"id", kept.id},
               {"account", kept.step.account},
               {"step", policy::name_of(kept.step.kind)},
               {"by", kept.step.by},
               {"reason", kept.step.reason},
               {"since", evidence::rfc3339_ms(kept.step.since_unix_ms)},
               {"until", evidence::rfc3339_ms(kept.step.until_unix_ms)}};
  if (!kept.undone_by.empty()) {
    line["undone_by"] = kept.undone_by;
    line["undone"] = evidence::rfc3339_ms(kept.undone_unix_ms);
  }
  return line;
}

struct StepBook::State {
  explicit State(store::Database opened) : database(std::move(opened)) {}
  store::Database database;
  std::mutex using_database;
  std::int64_t version = -1;
  std::mutex reading;  // from the table to in_force: what was read later is never put back behind what was read before
  std::mutex swapping;
  std::shared_ptr<const InForce> in_force = std::make_shared<InForce>();
};

StepBook::StepBook(std::unique_ptr<State> state) : state_(std::move(state)) {}
StepBook::~StepBook() = default;

Result<std::unique_ptr<StepBook>> StepBook::open(const std::filesystem::path& database) {
  RETORT_ASSIGN(
      auto opened,
      open_guard_database(database,
                          {.application = kApplicationId, .version = 1, .of = "steps of response", .tables = kTables}));
  std::unique_ptr<StepBook> book(new StepBook(std::make_unique<State>(std::move(opened))));
  RETORT_TRY(book->refresh());
  return book;
}

Result<std::int64_t> StepBook::set(const policy::Step& step) {
  if (step.account.empty()) return caller_error("A step needs the account it is for.");
  if (step.by.empty()) return caller_error("A step needs the name of who sets it; say --by NAME.");
  if (step.reason.empty()) return caller_error("A step needs its reason; say --reason TEXT.");
  if (step.until_unix_ms <= step.since_unix_ms) return caller_error("A step must end after it begins.");
  std::int64_t id = 0;
  {
    const std::lock_guard lock(state_->using_database);
    const store::Database& database = state_->database;
    RETORT_ASSIGN(auto insert, database.prepare("INSERT INTO steps (account, kind, by, reason, since_ms, until_ms)"
                                                " VALUES (?, ?, ?, ?, ?, ?) RETURNING id"));
    insert.bind_text(1, step.account).bind_text(2, policy::name_of(step.kind)).bind_text(3, step.by);
    insert.bind_text(4, step.reason).bind(5, step.since_unix_ms).bind(6, step.until_unix_ms);
    RETORT_ASSIGN(const bool row, insert.step());
    RETORT_CHECK(row);
    id = insert.integer(0);
    RETORT_TRY(insert.step());
  }
  RETORT_TRY(read());
  return id;
}

Result<void> StepBook::undo(std::int64_t id, const std::string& by, std::int64_t unix_ms) {
  if (by.empty()) return caller_error("Taking a step back needs the name of who does it; say --by NAME.");
  {
    const std::lock_guard lock(state_->using_database);
    RETORT_ASSIGN(auto update, state_->database.prepare("UPDATE steps SET undone_by = ?, undone_ms = ?"
                                                        " WHERE id = ? AND undone_by IS NULL RETURNING id"));
    update.bind_text(1, by).bind(2, unix_ms).bind(3, id);
    RETORT_ASSIGN(const bool row, update.step());
    if (!row) {
      return caller_error("There is no step " + std::to_string(id) +
                          " in force; `retort-guard steps list` shows them.");
    }
    RETORT_TRY(update.step());
  }
  return read();
}

Result<std::vector<KeptStep>> StepBook::all() const {
  const std::lock_guard lock(state_->using_database);
  RETORT_ASSIGN(auto query, state_->database.prepare("SELECT id, account, kind, by, reason, since_ms, until_ms,"
                                                     " undone_by, undone_ms FROM steps ORDER BY id DESC"));
  std::vector<KeptStep> steps;
  while (true) {
    RETORT_ASSIGN(const bool row, query.step());
    if (!row) return steps;
    const auto kind = policy::step_named(query.text(2));
    if (!kind) continue;  // of a newer version
    KeptStep kept;
    kept.id = query.integer(0);
    kept.step = {*kind,
                 std::string(query.text(1)),
                 std::string(query.text(3)),
                 std::string(query.text(4)),
                 query.integer(5),
                 query.integer(6)};
    kept.undone_by = query.text(7);
    kept.undone_unix_ms = query.integer(8);
    steps.push_back(std::move(kept));
  }
}

std::shared_ptr<const StepBook::InForce> StepBook::in_force() const {
  const std::lock_guard lock(state_->swapping);
  return state_->in_force;
}

Result<bool> StepBook::refresh() {
  {
    const std::lock_guard lock(state_->using_database);
    RETORT_ASSIGN(const std::int64_t version, state_->database.integer("PRAGMA data_version"));
    if (version == state_->version) return false;
    state_->version = version;
  }
  if (const auto done = read(); !done) {
    const std::lock_guard lock(state_->using_database);
    state_->version = -1;  // the next one tries again
    return Failure(done.error());
  }
  return true;
}

Result<void> StepBook::read() {
  const std::lock_guard one_at_a_time(state_->reading);
  RETORT_ASSIGN(const std::vector<KeptStep> steps, all());
  const auto in_force = std::make_shared<InForce>();
  for (const KeptStep& kept : steps) {
    if (kept.undone_by.empty()) (*in_force)[kept.step.account].push_back(kept.step);
  }
  const std::lock_guard lock(state_->swapping);
  state_->in_force = in_force;
  return {};
}

}  // namespace retort::guard
