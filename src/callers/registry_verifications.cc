// The workflow of a verification: requested -> received -> raised, or refused.
#include "callers/registry_state.h"

namespace retort::callers {
namespace {

bool follows(VerificationState from, VerificationState to) {
  switch (to) {
    case VerificationState::kRequested: return false;
    case VerificationState::kReceived:
      return from == VerificationState::kRequested || from == VerificationState::kReceived;
    // Raised again: a new expiry, with the document that was received.
    case VerificationState::kRaised: return from == VerificationState::kReceived || from == VerificationState::kRaised;
    case VerificationState::kRefused: return from != VerificationState::kRefused;
  }
  return false;
}

}  // namespace

Result<std::int64_t> Registry::request_verification(const By& by, const Subject& subject, const std::string& tier,
                                                    const std::string& kind, const std::string& note) {
  RETORT_TRY(check_word(tier, "tier"));
  if (!kind.empty()) RETORT_TRY(check_word(kind, "kind"));
  if (!note.empty()) RETORT_TRY(check_name(note, "note"));
  if (subject.kind == SubjectKind::kPerson) {
    return caller_error("A verification is of an account or an organisation; name one of these.");
  }
  const bool account = subject.kind == SubjectKind::kAccount;
  RETORT_ASSIGN(const bool known, state_->has(account ? "SELECT 1 FROM accounts WHERE id = ?1"
                                                      : "SELECT 1 FROM organisations WHERE id = ?1",
                                              subject.id));
  if (!known) {
    return caller_error("There is no " + std::string(text_of(subject.kind)) + " '" + subject.id + "'; add it first.");
  }
  std::int64_t number = 0;
  const Result<void> done = state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement insert,
                  state_->database.prepare("INSERT INTO verifications (subject_kind, subject, tier, kind) "
                                           "VALUES (?1, ?2, ?3, ?4)"));
    insert.bind(1, static_cast<std::int64_t>(subject.kind))
        .bind_text(2, subject.id)
        .bind_text(3, tier)
        .bind_text(4, kind);
    RETORT_TRY(insert.step());
    number = sqlite3_last_insert_rowid(state_->database.handle());
    RETORT_ASSIGN(Statement first, state_->database.prepare("INSERT INTO verification_steps (verification, state, who, "
                                                            "at_unix_ms, note) VALUES (?1, 0, ?2, ?3, ?4)"));
    RETORT_TRY(first.bind(1, number).bind_text(2, by.who).bind(3, by.at_unix_ms).bind_text(4, note).step());
    return state_->note(by, "verification.request", subject.id, Json(),
                        {{"number", number}, {"subject", text_of(subject.kind)}, {"tier", tier}, {"kind", kind}});
  });
  if (!done) return Failure(done.error());
  return number;
}

Result<void> Registry::receive_verification(const By& by, std::int64_t number, const Digest& document,
                                            const std::string& note) {
  return step(by, number, VerificationState::kReceived, &document, std::nullopt, note);
}

Result<void> Registry::raise_verification(const By& by, std::int64_t number, std::int64_t expires_unix_ms,
                                          const std::string& note) {
  if (expires_unix_ms <= by.at_unix_ms) {
    return caller_error("The verification would have expired before it is raised; give a time in the future.");
  }
  return step(by, number, VerificationState::kRaised, nullptr, expires_unix_ms, note);
}

Result<void> Registry::refuse_verification(const By& by, std::int64_t number, const std::string& note) {
  return step(by, number, VerificationState::kRefused, nullptr, std::nullopt, note);
}

Result<void> Registry::step(const By& by, std::int64_t number, VerificationState to, const Digest* document,
                            std::optional<std::int64_t> expires_unix_ms, const std::string& note) {
  if (!note.empty()) RETORT_TRY(check_name(note, "note"));
  // The check and the step are one transaction: of two people who decide at once, one is told what the other did.
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement select, state_->database.prepare(
                                        "SELECT state, subject FROM verification_steps JOIN verifications ON number = "
                                        "verification WHERE verification = ?1 ORDER BY sequence DESC LIMIT 1"));
    RETORT_ASSIGN(const bool known, select.bind(1, number).step());
    if (!known)
      return caller_error("There is no verification " + std::to_string(number) + "; `verification list` shows them.");
    const auto from = static_cast<VerificationState>(select.integer(0));
    const std::string subject(select.text(1));
    select.reset();
    if (!follows(from, to)) {
      return caller_error("The verification " + std::to_string(number) + " is " + std::string(text_of(from)) +
                          " and cannot become " + std::string(text_of(to)) +
                          "; the order is requested, received, raised, or refused.");
    }
    RETORT_ASSIGN(
        Statement insert,
        state_->database.prepare("INSERT INTO verification_steps (verification, state, who, at_unix_ms, document, "
                                 "expires_unix_ms, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"));
    insert.bind(1, number).bind(2, static_cast<std::int64_t>(to)).bind_text(3, by.who).bind(4, by.at_unix_ms);
    if (document != nullptr) {
      insert.bind_blob(5, bytes_of(*document));
    } else {
      insert.bind_null(5);
    }
    bind_optional(insert, 6, expires_unix_ms);
    RETORT_TRY(insert.bind_text(7, note).step());
    Json after = {{"number", number}, {"state", text_of(to)}};
    if (document != nullptr) after["document"] = document->hex();
    if (expires_unix_ms) after["expires_unix_ms"] = *expires_unix_ms;
    return state_->note(by, "verification." + std::string(text_of(to)), subject,
                        {{"number", number}, {"state", text_of(from)}}, after);
  });
}

Result<std::vector<Verification>> Registry::verifications() const {
  RETORT_ASSIGN(std::vector<Verification> all,
                state_->rows("SELECT number, subject_kind, subject, tier, kind FROM verifications ORDER BY number",
                             [](Statement& row) {
                               Verification one;
                               one.number = row.integer(0);
                               one.subject = {static_cast<SubjectKind>(row.integer(1)), std::string(row.text(2))};
                               one.tier = row.text(3);
                               one.kind = row.text(4);
                               return one;
                             }));
  RETORT_ASSIGN(
      Statement select,
      state_->database.prepare("SELECT verification, state, who, at_unix_ms, document, expires_unix_ms, note FROM "
                               "verification_steps ORDER BY verification, sequence"));
  std::size_t at = 0;
  while (true) {
    RETORT_ASSIGN(const bool there, select.step());
    if (!there) return all;
    while (at < all.size() && all[at].number != select.integer(0)) ++at;
    RETORT_CHECK(at < all.size());
    all[at].steps.push_back({.state = static_cast<VerificationState>(select.integer(1)),
                             .by = {std::string(select.text(2)), select.integer(3)},
                             .note = std::string(select.text(6))});
    if (!select.is_null(4)) all[at].document = digest_of_blob(select.blob(4));
    if (!select.is_null(5)) all[at].expires_unix_ms = select.integer(5);
  }
}

}  // namespace retort::callers
