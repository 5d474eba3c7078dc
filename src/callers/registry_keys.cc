// Keys and accounts.
#include "callers/registry_state.h"

namespace retort::callers {
namespace {

constexpr std::string_view kAccount = "SELECT 1 FROM accounts WHERE id = ?1";

Json json_of(const Account& account) {
  return {{"organisation", account.organisation},
          {"person", account.person},
          {"tier", account.tier},
          {"kind", account.kind},
          {"plan_usd_cents_month", account.plan_usd_cents_month ? Json(*account.plan_usd_cents_month) : Json()}};
}

void bind_or_null(Statement& statement, int index, const std::string& text) {
  if (text.empty()) {
    statement.bind_null(index);
  } else {
    statement.bind_text(index, text);
  }
}

// Who is named is found by the index; everybody is read only for the hint.
Result<void> expect_account(const Registry& registry, bool there, const std::string& id) {
  if (there) return {};
  RETORT_ASSIGN(const std::vector<Account> accounts, registry.accounts());
  std::vector<std::string> known;
  for (const Account& account : accounts) known.push_back(account.id);
  return caller_error("There is no account '" + id + "'" + hint(id, known) + " Add it first.");
}

}  // namespace

Digest Registry::hash_of_secret(const ApiKeyParts& key) const {
  // The id is in it so that a hash can't be moved to another key.
  std::string text;
  text.reserve(64);
  text.append("key/1 ").append(key.id).append(" ").append(key.secret);
  return state_->pepper.hash(text);
}

Result<NewApiKey> Registry::create_key(const By& by, const KeyWish& wish) {
  if (!wish.note.empty()) RETORT_TRY(check_name(wish.note, "note of the key"));
  if (wish.expires_unix_ms && *wish.expires_unix_ms <= by.at_unix_ms) {
    return caller_error("The key would have expired before it is made; give a time in the future.");
  }
  RETORT_ASSIGN(NewApiKey key, make_api_key());
  const Digest hash = hash_of_secret({key.id, key.secret});
  const Result<void> done = state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(const bool there, state_->has(kAccount, wish.account));
    RETORT_TRY(expect_account(*this, there, wish.account));
    RETORT_ASSIGN(Statement insert, state_->database.prepare("INSERT INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)"));
    insert.bind_text(1, key.id).bind_text(2, wish.account).bind_blob(3, bytes_of(hash)).bind_text(4, wish.note);
    insert.bind(5, by.at_unix_ms);
    bind_optional(insert, 6, wish.expires_unix_ms);
    RETORT_TRY(insert.step());
    return state_->note(by, "key.create", key.id, Json(),
                        {{"account", wish.account},
                         {"note", wish.note},
                         {"expires_unix_ms", wish.expires_unix_ms ? Json(*wish.expires_unix_ms) : Json()}});
  });
  if (!done) return Failure(done.error());
  return key;
}

Result<void> Registry::revoke_key(const By& by, std::string_view id) {
  // What was given may be a whole key, which must not be repeated.
  if (!is_api_key_id(id)) {
    return caller_error("That is no id of a key; expected its 12 characters, as `keys list` shows them.");
  }
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement select, state_->database.prepare("SELECT revoked_unix_ms FROM keys WHERE id = ?1"));
    RETORT_ASSIGN(const bool there, select.bind_text(1, id).step());
    if (!there) {
      RETORT_ASSIGN(const std::vector<ApiKey> all, keys());
      std::vector<std::string> known;
      for (const ApiKey& key : all) known.push_back(key.id);
      return caller_error("There is no key '" + std::string(id) + "'" + hint(id, known) + " `keys list` shows them.");
    }
    if (!select.is_null(0)) {
      return caller_error("The key '" + std::string(id) + "' is revoked already; nothing was changed.");
    }
    select.reset();
    return state_->audited(by, "key.revoke", id, {{"revoked", false}}, {{"revoked", true}}, [&]() -> Result<void> {
      RETORT_ASSIGN(Statement update, state_->database.prepare("UPDATE keys SET revoked_unix_ms = ?1 WHERE id = ?2"));
      RETORT_TRY(update.bind(1, by.at_unix_ms).bind_text(2, id).step());
      return {};
    });
  });
}

Result<std::vector<ApiKey>> Registry::keys() const {
  return state_->rows(
      "SELECT id, account, hash, note, created_unix_ms, expires_unix_ms, revoked_unix_ms FROM keys ORDER BY "
      "created_unix_ms, id",
      [](Statement& row) {
        return ApiKey{.id = std::string(row.text(0)),
                      .account = std::string(row.text(1)),
                      .hash = digest_of_blob(row.blob(2)),
                      .note = std::string(row.text(3)),
                      .created_unix_ms = row.integer(4),
                      .expires_unix_ms = optional_integer(row, 5),
                      .revoked_unix_ms = optional_integer(row, 6)};
      });
}

Result<void> Registry::add_account(const By& by, const Account& account) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_TRY(check_name(account.id, "id of the account"));
    RETORT_TRY(check_word(account.tier, "tier"));
    if (!account.kind.empty()) RETORT_TRY(check_word(account.kind, "kind"));
    RETORT_ASSIGN(const bool taken, state_->has("SELECT 1 FROM accounts WHERE id = ?1", account.id));
    if (taken) return caller_error("There is an account '" + account.id + "' already; choose another id.");
    if (!account.organisation.empty()) {
      RETORT_ASSIGN(const bool known, state_->has("SELECT 1 FROM organisations WHERE id = ?1", account.organisation));
      if (!known)
        return caller_error("There is no organisation '" + account.organisation + "'; add it with `orgs add`.");
    }
    if (!account.person.empty()) {
      RETORT_ASSIGN(const bool known, state_->has("SELECT 1 FROM people WHERE id = ?1", account.person));
      if (!known) return caller_error("There is no person '" + account.person + "'; add them first.");
    }
    return state_->audited(by, "account.add", account.id, Json(), json_of(account), [&]() -> Result<void> {
      RETORT_ASSIGN(Statement insert,
                    state_->database.prepare("INSERT INTO accounts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"));
      insert.bind_text(1, account.id);
      bind_or_null(insert, 2, account.organisation);
      bind_or_null(insert, 3, account.person);
      insert.bind_text(4, account.tier).bind_text(5, account.kind);
      bind_optional(insert, 6, account.plan_usd_cents_month);
      RETORT_TRY(insert.bind(7, by.at_unix_ms).step());
      return {};
    });
  });
}

Result<void> Registry::set_tier(const By& by, const std::string& account, const std::string& tier) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_TRY(check_word(tier, "tier"));
    RETORT_ASSIGN(const bool there, state_->has(kAccount, account));
    RETORT_TRY(expect_account(*this, there, account));
    RETORT_ASSIGN(Statement select, state_->database.prepare("SELECT tier FROM accounts WHERE id = ?1"));
    RETORT_TRY(select.bind_text(1, account).step());
    const std::string before(select.text(0));
    select.reset();
    return state_->audited(by, "account.tier", account, before, tier, [&]() -> Result<void> {
      RETORT_ASSIGN(Statement update, state_->database.prepare("UPDATE accounts SET tier = ?1 WHERE id = ?2"));
      RETORT_TRY(update.bind_text(1, tier).bind_text(2, account).step());
      return {};
    });
  });
}

Result<void> Registry::set_plan(const By& by, const std::string& account, std::optional<std::int64_t> usd_cents_month) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(const bool there, state_->has(kAccount, account));
    RETORT_TRY(expect_account(*this, there, account));
    if (usd_cents_month && *usd_cents_month < 0) return caller_error("A plan costs 0 dollars or more a month.");
    RETORT_ASSIGN(Statement select,
                  state_->database.prepare("SELECT plan_usd_cents_month FROM accounts WHERE id = ?1"));
    RETORT_TRY(select.bind_text(1, account).step());
    const std::optional<std::int64_t> before = optional_integer(select, 0);
    select.reset();
    const auto json = [](const std::optional<std::int64_t>& value) { return value ? Json(*value) : Json(); };
    return state_->audited(by, "account.plan", account, json(before), json(usd_cents_month), [&]() -> Result<void> {
      RETORT_ASSIGN(Statement update,
                    state_->database.prepare("UPDATE accounts SET plan_usd_cents_month = ?1 WHERE id = ?2"));
      bind_optional(update, 1, usd_cents_month);
      RETORT_TRY(update.bind_text(2, account).step());
      return {};
    });
  });
}

Result<std::vector<Account>> Registry::accounts() const {
  return state_->rows(
      "SELECT id, organisation, person, tier, kind, plan_usd_cents_month, created_unix_ms FROM accounts ORDER BY id",
      [](Statement& row) {
        return Account{.id = std::string(row.text(0)),
                       .organisation = std::string(row.text(1)),
                       .person = std::string(row.text(2)),
                       .tier = std::string(row.text(3)),
                       .kind = std::string(row.text(4)),
                       .plan_usd_cents_month = optional_integer(row, 5),
                       .created_unix_ms = row.integer(6)};
      });
}

}  // namespace retort::callers
