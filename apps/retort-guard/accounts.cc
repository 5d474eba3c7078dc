// `retort-guard accounts`: who the callers are: tiers, plans, traits; callers as lines of JSON.
#include <algorithm>
#include <iomanip>

#include "base/text.h"
#include "callers/administration.h"
#include "callers/lines.h"
#include "retort-guard/admin_flags.h"
#include "retort-guard/subverbs.h"

namespace retort::app {
namespace {

Result<void> list(const AdminFlags& flags, Context& context) {
  RETORT_ASSIGN(const CallersPlace place, callers_place(flags));
  RETORT_ASSIGN(const callers::Registry registry, callers::Registry::open(place.paths));
  RETORT_ASSIGN(const auto all, callers::all_callers(registry, place.rule));
  const std::int64_t now = context.clock.unix_ms();
  Json lines = Json::array();
  for (const auto& [id, caller] : all) {
    if (context.json) {
      lines.push_back(callers::caller_line(caller, now));
      continue;
    }
    context.out << std::left << std::setw(20) << caller.tier(now) << id << (caller.organisation.empty() ? "" : " of ")
                << caller.organisation << (caller.listed ? " (listed: " + caller.listed_why + ")" : "") << '\n';
  }
  if (context.json) context.emit({{"callers", std::move(lines)}});
  return {};
}

Result<void> said(Context& context, const std::string& id, const std::string& what) {
  if (context.json) {
    context.emit({{"account", id}, {"done", what}});
  } else {
    context.out << id << ": " << what << ".\n";
  }
  return {};
}

struct SubjectFlags : AdminFlags {
  std::string account;
  std::string organisation;
  std::string person;
};

Result<callers::Subject> subject_of(const SubjectFlags& flags) {
  using callers::SubjectKind;
  const int given =
      (flags.account.empty() ? 0 : 1) + (flags.organisation.empty() ? 0 : 1) + (flags.person.empty() ? 0 : 1);
  if (given != 1) return caller_error("Say whose it is by one of --account, --organisation and --person.");
  if (!flags.account.empty()) return callers::Subject{SubjectKind::kAccount, flags.account};
  if (!flags.organisation.empty()) return callers::Subject{SubjectKind::kOrganisation, flags.organisation};
  return callers::Subject{SubjectKind::kPerson, flags.person};
}

}  // namespace

void register_accounts(VerbSetup& verb) {
  Subverbs subverbs(verb);
  {
    struct Flags : AdminFlags {
      callers::Account account;
      std::string plan_usd;
    };
    const auto flags = std::make_shared<Flags>();
    CLI::App& app = subverbs.add("add", "A new account");
    add_admin_flags(app, *flags);
    app.add_option("id", flags->account.id, "Its id")->required();
    app.add_option("--organisation", flags->account.organisation, "The organisation it belongs to");
    app.add_option("--person", flags->account.person, "The person it belongs to");
    app.add_option("--tier", flags->account.tier, "Its tier")->capture_default_str();
    app.add_option("--kind", flags->account.kind, "What it says it is, such as individual or research");
    app.add_option("--plan-usd", flags->plan_usd, "What it pays a month");
    subverbs.run(app, [flags](Context& context) -> Result<void> {
      const callers::By by = change_by(*flags, context);
      if (!flags->plan_usd.empty()) {
        RETORT_ASSIGN(flags->account.plan_usd_cents_month, callers::parse_usd_cents(flags->plan_usd));
      }
      RETORT_ASSIGN(callers::Registry registry, open_callers(*flags));
      RETORT_TRY(registry.add_account(by, flags->account));
      return said(context, flags->account.id, "added");
    });
  }
  {
    struct Flags : AdminFlags {
      std::string id;
      std::string value;
    };
    for (const bool tier : {true, false}) {
      const auto flags = std::make_shared<Flags>();
      CLI::App& app = tier ? subverbs.add("tier", "Set an account's tier by hand")
                           : subverbs.add("plan", "Set what an account pays a month");
      add_admin_flags(app, *flags);
      app.add_option("id", flags->id, "The account")->required();
      app.add_option(tier ? "tier" : "usd", flags->value,
                     tier ? "anonymous, verified, attested_reseller, own, or a policy's" : "Dollars")
          ->required();
      subverbs.run(app, [flags, tier](Context& context) -> Result<void> {
        const callers::By by = change_by(*flags, context);
        RETORT_ASSIGN(callers::Registry registry, open_callers(*flags));
        if (tier) {
          RETORT_TRY(registry.set_tier(by, flags->id, flags->value));
        } else {
          RETORT_ASSIGN(const std::int64_t cents, callers::parse_usd_cents(flags->value));
          RETORT_TRY(registry.set_plan(by, flags->id, cents));
        }
        return said(context, flags->id, (tier ? "tier " : "plan ") + flags->value);
      });
    }
  }
  {
    struct Flags : SubjectFlags {
      std::string kind;
    };
    const auto flags = std::make_shared<Flags>();
    CLI::App& app = subverbs.add("trait", "Note a trait as a keyed hash; its value is read from standard input");
    add_admin_flags(app, *flags);
    app.add_option("kind", flags->kind, "card, bank_account, wallet, email, domain, phone or device")->required();
    app.add_option("--account", flags->account, "Whose it is");
    app.add_option("--organisation", flags->organisation, "Whose it is");
    app.add_option("--person", flags->person, "Whose it is");
    subverbs.run(app, [flags](Context& context) -> Result<void> {
      const callers::By by = change_by(*flags, context);
      RETORT_ASSIGN(const callers::Subject subject, subject_of(*flags));
      RETORT_ASSIGN(const std::string value, context.read_input());
      RETORT_ASSIGN(callers::Registry registry, open_callers(*flags));
      RETORT_TRY(registry.add_trait(by, subject, flags->kind, value));
      return said(context, subject.id, "trait of kind " + flags->kind + " noted");
    });
  }
  {
    struct Flags : AdminFlags {
      callers::Person person;
    };
    const auto flags = std::make_shared<Flags>();
    CLI::App& app = subverbs.add("person", "A new person of an organisation, by a pseudonym");
    add_admin_flags(app, *flags);
    app.add_option("id", flags->person.id, "A pseudonym; names aren't kept")->required();
    app.add_option("--organisation", flags->person.organisation, "Theirs")->required();
    app.add_option("--role", flags->person.role, "What they are there");
    subverbs.run(app, [flags](Context& context) -> Result<void> {
      const callers::By by = change_by(*flags, context);
      RETORT_ASSIGN(callers::Registry registry, open_callers(*flags));
      RETORT_TRY(registry.add_person(by, flags->person));
      return said(context, flags->person.id, "added");
    });
  }
  {
    const auto flags = std::make_shared<AdminFlags>();
    CLI::App& app = subverbs.add("list", "Accounts with their tiers; with --json as callers");
    add_admin_flags(app, *flags);
    subverbs.run(app, [flags](Context& context) { return list(*flags, context); });
  }
}

}  // namespace retort::app
