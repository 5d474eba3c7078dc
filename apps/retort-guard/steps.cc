// `retort-guard steps`: what is done about an account beyond its tier, set and taken back by people.
#include "callers/administration.h"
#include "evidence/exchange_records.h"
#include "frame/verb.h"
#include "guard/rules.h"
#include "guard/step_book.h"
#include "retort-guard/admin_flags.h"
#include "retort-guard/subverbs.h"

namespace retort::app {
namespace {

struct Flags {
  AdminFlags admin;
  std::string account;
  std::string step;
  std::string reason;
  std::string until = "24h";
  std::int64_t id = 0;
};

Result<std::unique_ptr<guard::StepBook>> open_book(const AdminFlags& flags) {
  RETORT_ASSIGN(const CallersPlace place, callers_place(flags));
  return guard::StepBook::open(place.paths.database.parent_path() / "steps.sqlite");
}

Result<void> set(const Flags& flags, Context& context) {
  const auto kind = policy::step_named(flags.step);
  if (!kind)
    return caller_error("There is no step '" + flags.step + "'; expected one of " + policy::step_names() + ".");
  const callers::By by = change_by(flags.admin, context);
  RETORT_ASSIGN(const std::int64_t until, callers::parse_expiry(flags.until, by.at_unix_ms));
  RETORT_ASSIGN(const auto book, open_book(flags.admin));
  RETORT_ASSIGN(const std::int64_t id, book->set({*kind, flags.account, by.who, flags.reason, by.at_unix_ms, until}));
  if (context.json) {
    context.emit({{"id", id}});
  } else {
    context.out << "Step " << id << ": " << flags.step << " for " << flags.account << " until "
                << evidence::rfc3339_ms(until) << ". `retort-guard steps undo` takes it back.\n";
  }
  return {};
}

Result<void> undo(const Flags& flags, Context& context) {
  const callers::By by = change_by(flags.admin, context);
  RETORT_ASSIGN(const auto book, open_book(flags.admin));
  RETORT_TRY(book->undo(flags.id, by.who, by.at_unix_ms));
  if (context.json) {
    context.emit({{"id", flags.id}});
  } else {
    context.out << "Step " << flags.id << " is taken back.\n";
  }
  return {};
}

Result<void> list(const Flags& flags, Context& context) {
  RETORT_ASSIGN(const auto book, open_book(flags.admin));
  RETORT_ASSIGN(const auto steps, book->all());
  const std::int64_t now = context.clock.unix_ms();
  Json lines = Json::array();
  for (const guard::KeptStep& kept : steps) {
    const char* state = !kept.undone_by.empty()          ? "taken back"
                        : kept.step.until_unix_ms <= now ? "expired"
                                                         : "in force";
    if (context.json) {
      Json line = guard::to_json(kept);
      line["state"] = state;
      lines.push_back(std::move(line));
    } else {
      context.out << kept.id << "  " << kept.step.account << "  " << policy::name_of(kept.step.kind) << "  " << state
                  << ", until " << evidence::rfc3339_ms(kept.step.until_unix_ms) << ", by " << kept.step.by << ": "
                  << kept.step.reason << '\n';
    }
  }
  if (context.json) context.emit({{"steps", lines}});
  if (!context.json && steps.empty()) context.out << "No steps were ever set.\n";
  return {};
}

}  // namespace

void register_steps(VerbSetup& verb) {
  const auto flags = std::make_shared<Flags>();
  Subverbs verbs(verb);
  CLI::App& setting = verbs.add("set", "Set a step for an account");
  add_admin_flags(setting, flags->admin);
  setting.add_option("account", flags->account, "Whose")->required();
  setting.add_option("step", flags->step, policy::step_names())->required();
  setting.add_option("--reason", flags->reason, "Why")->required();
  setting.add_option("--until", flags->until, "When it ends: 12h, 30d, 2027-01-31")->capture_default_str();
  verbs.run(setting, [flags](Context& context) { return set(*flags, context); });
  CLI::App& undoing = verbs.add("undo", "Take a step back");
  add_admin_flags(undoing, flags->admin);
  undoing.add_option("id", flags->id, "Its number")->required();
  verbs.run(undoing, [flags](Context& context) { return undo(*flags, context); });
  CLI::App& listing = verbs.add("list", "Every step, newest first");
  add_admin_flags(listing, flags->admin);
  verbs.run(listing, [flags](Context& context) { return list(*flags, context); });
}

}  // namespace retort::app
