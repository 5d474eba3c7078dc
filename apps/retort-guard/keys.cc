// `retort-guard keys`: make, revoke and list the keys that callers present.
#include <iomanip>

#include "base/clock.h"
#include "callers/administration.h"
#include "callers/lines.h"
#include "retort-guard/admin_flags.h"
#include "retort-guard/subverbs.h"

namespace retort::app {
namespace {

struct CreateFlags : AdminFlags {
  std::string account;
  std::string organisation;
  std::string tier;
  std::string kind;
  std::string plan_usd;
  std::string note;
  std::string expires;
};

Result<void> create(const CreateFlags& flags, Context& context) {
  const callers::By by = change_by(flags, context);
  std::optional<std::int64_t> expires;
  if (!flags.expires.empty()) {
    RETORT_ASSIGN(expires, callers::parse_expiry(flags.expires, by.at_unix_ms));
  }
  callers::AccountWish wish{flags.account, flags.organisation, flags.tier, flags.kind, std::nullopt};
  if (!flags.plan_usd.empty()) {
    RETORT_ASSIGN(wish.plan_usd_cents_month, callers::parse_usd_cents(flags.plan_usd));
  }
  RETORT_ASSIGN(callers::Registry registry, open_callers(flags));
  RETORT_ASSIGN(const std::string account, callers::ensure_account(registry, by, wish));
  RETORT_ASSIGN(const callers::NewApiKey key,
                registry.create_key(by, {.account = account, .note = flags.note, .expires_unix_ms = expires}));
  if (context.json) {
    context.emit({{"id", key.id}, {"secret", key.text}});
  } else {
    context.out << "Key " << key.id << " for the account '" << account << "', shown this once:\n\n  " << key.text
                << "\n";
  }
  return {};
}

Result<void> revoke(const AdminFlags& flags, const std::string& id, Context& context) {
  const callers::By by = change_by(flags, context);
  RETORT_ASSIGN(callers::Registry registry, open_callers(flags));
  RETORT_TRY(registry.revoke_key(by, id));
  if (context.json) {
    context.emit({{"id", id}, {"revoked", iso_time(by.at_unix_ms)}});
  } else {
    context.out << "Revoked " << id << ".\n";
  }
  return {};
}

Result<void> list(const AdminFlags& flags, const std::string& account, Context& context) {
  RETORT_ASSIGN(const callers::Registry registry, open_callers(flags));
  RETORT_ASSIGN(const std::vector<callers::ApiKey> keys, registry.keys());
  Json lines = Json::array();
  if (!context.json) {
    context.out << std::left << std::setw(14) << "id" << std::setw(22) << "created" << std::setw(22) << "expires"
                << std::setw(22) << "revoked"
                << "account, note\n";
  }
  for (const callers::ApiKey& key : keys) {
    if (!account.empty() && key.account != account) continue;
    if (context.json) {
      lines.push_back(callers::key_line(key));
      continue;
    }
    context.out << std::left << std::setw(14) << key.id << std::setw(22) << iso_time(key.created_unix_ms)
                << std::setw(22) << time_text(key.expires_unix_ms) << std::setw(22) << time_text(key.revoked_unix_ms)
                << key.account << (key.note.empty() ? "" : ", ") << key.note << '\n';
  }
  if (context.json) context.emit({{"keys", std::move(lines)}});
  return {};
}

}  // namespace

void register_keys(VerbSetup& verb) {
  Subverbs subverbs(verb);
  {
    const auto flags = std::make_shared<CreateFlags>();
    CLI::App& app = subverbs.add("create", "Make a key; its secret is printed this once and kept nowhere");
    add_admin_flags(app, *flags);
    app.add_option("--account", flags->account, "The account it is for, made when it isn't there (default: a new one)");
    app.add_option("--organisation", flags->organisation, "Of a new account: the organisation it belongs to");
    app.add_option("--tier", flags->tier, "Of a new account: its tier (default: anonymous)");
    app.add_option("--kind", flags->kind, "Of a new account: what it says it is, such as individual or research");
    app.add_option("--plan-usd", flags->plan_usd, "Of a new account: what it pays a month");
    app.add_option("--note", flags->note, "What the key is for");
    app.add_option("--expires", flags->expires, "When it ends: 2027-01-31, 2027-01-31T12:00:00Z, 90d")
        ->type_name("TIME");
    subverbs.run(app, [flags](Context& context) { return create(*flags, context); });
  }
  {
    struct Flags : AdminFlags {
      std::string id;
    };
    const auto flags = std::make_shared<Flags>();
    CLI::App& app = subverbs.add("revoke", "End a key now");
    add_admin_flags(app, *flags);
    app.add_option("id", flags->id, "Its public id, the 12 characters behind rg_")->required();
    subverbs.run(app, [flags](Context& context) { return revoke(*flags, flags->id, context); });
  }
  {
    struct Flags : AdminFlags {
      std::string account;
    };
    const auto flags = std::make_shared<Flags>();
    CLI::App& app = subverbs.add("list", "Keys with their accounts, without their secrets");
    add_admin_flags(app, *flags);
    app.add_option("--account", flags->account, "Only this account's");
    subverbs.run(app, [flags](Context& context) { return list(*flags, flags->account, context); });
  }
}

}  // namespace retort::app
