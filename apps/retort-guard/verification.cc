// `retort-guard verification`: requested, received, raised, or refused.
#include "base/digest.h"
#include "callers/administration.h"
#include "callers/lines.h"
#include "retort-guard/admin_flags.h"
#include "retort-guard/subverbs.h"

namespace retort::app {
namespace {

struct StepFlags : AdminFlags {
  std::int64_t number = 0;
  std::string note;
  std::string document;
  std::string expires;
};

void add_step_flags(CLI::App& app, StepFlags& flags) {
  add_admin_flags(app, flags);
  app.add_option("number", flags.number, "The verification's number")->required();
  app.add_option("--note", flags.note, "Why, or by what");
}

Result<void> said(Context& context, std::int64_t number, std::string_view state) {
  if (context.json) {
    context.emit({{"number", number}, {"state", state}});
  } else {
    context.out << "Verification " << number << " is " << state << ".\n";
  }
  return {};
}

struct RequestFlags : AdminFlags {
  std::string account;
  std::string organisation;
  std::string tier;
  std::string kind;
  std::string note;
};

Result<void> request(const RequestFlags& flags, Context& context) {
  if (flags.account.empty() == flags.organisation.empty()) {
    return caller_error("Say who is to be verified by one of --account and --organisation.");
  }
  const callers::By by = change_by(flags, context);
  RETORT_ASSIGN(callers::Registry registry, open_callers(flags));
  const callers::Subject subject = flags.account.empty()
                                       ? callers::Subject{callers::SubjectKind::kOrganisation, flags.organisation}
                                       : callers::Subject{callers::SubjectKind::kAccount, flags.account};
  RETORT_ASSIGN(const std::int64_t number,
                registry.request_verification(by, subject, flags.tier, flags.kind, flags.note));
  return said(context, number, "requested");
}

Result<void> list(const AdminFlags& flags, Context& context) {
  RETORT_ASSIGN(const callers::Registry registry, open_callers(flags));
  RETORT_ASSIGN(const std::vector<callers::Verification> all, registry.verifications());
  Json lines = Json::array();
  for (const callers::Verification& one : all) {
    if (!context.json) {
      context.out << one.number << ' ' << text_of(one.state()) << ": " << text_of(one.subject.kind) << " '"
                  << one.subject.id << "' to " << one.tier << ", until " << time_text(one.expires_unix_ms)
                  << ", last by " << one.steps.back().by.who << '\n';
    }
    lines.push_back(callers::verification_line(one));
  }
  if (context.json) context.emit({{"verifications", std::move(lines)}});
  return {};
}

}  // namespace

void register_verification(VerbSetup& verb) {
  Subverbs subverbs(verb);
  {
    const auto flags = std::make_shared<RequestFlags>();
    CLI::App& app = subverbs.add("request", "Ask a caller to be verified");
    add_admin_flags(app, *flags);
    app.add_option("--account", flags->account, "Who is to be verified");
    app.add_option("--organisation", flags->organisation, "Or all accounts of an organisation");
    app.add_option("--tier", flags->tier, "What it would be raised to")->required();
    app.add_option("--kind", flags->kind, "What it would be shown to be, such as research");
    app.add_option("--note", flags->note, "Why");
    subverbs.run(app, [flags](Context& context) { return request(*flags, context); });
  }
  {
    const auto flags = std::make_shared<StepFlags>();
    CLI::App& app = subverbs.add("receive", "Note what came; the file's digest is kept, not the file");
    add_step_flags(app, *flags);
    app.add_option("--document", flags->document, "What was received")->type_name("FILE")->required();
    subverbs.run(app, [flags](Context& context) -> Result<void> {
      const callers::By by = change_by(*flags, context);
      RETORT_ASSIGN(const Digest document, sha256_file(flags->document));
      RETORT_ASSIGN(callers::Registry registry, open_callers(*flags));
      RETORT_TRY(registry.receive_verification(by, flags->number, document, flags->note));
      return said(context, flags->number, "received");
    });
  }
  {
    const auto flags = std::make_shared<StepFlags>();
    CLI::App& app = subverbs.add("raise", "Raise the tier until it expires");
    add_step_flags(app, *flags);
    app.add_option("--expires", flags->expires, "When it ends: 2027-01-31, 2027-01-31T12:00:00Z, 365d")
        ->type_name("TIME")
        ->required();
    subverbs.run(app, [flags](Context& context) -> Result<void> {
      const callers::By by = change_by(*flags, context);
      RETORT_ASSIGN(const std::int64_t expires, callers::parse_expiry(flags->expires, by.at_unix_ms));
      RETORT_ASSIGN(callers::Registry registry, open_callers(*flags));
      RETORT_TRY(registry.raise_verification(by, flags->number, expires, flags->note));
      return said(context, flags->number, "raised");
    });
  }
  {
    const auto flags = std::make_shared<StepFlags>();
    CLI::App& app = subverbs.add("refuse", "Refuse it, or take back what was raised");
    add_step_flags(app, *flags);
    subverbs.run(app, [flags](Context& context) -> Result<void> {
      const callers::By by = change_by(*flags, context);
      RETORT_ASSIGN(callers::Registry registry, open_callers(*flags));
      RETORT_TRY(registry.refuse_verification(by, flags->number, flags->note));
      return said(context, flags->number, "refused");
    });
  }
  {
    const auto flags = std::make_shared<AdminFlags>();
    CLI::App& app = subverbs.add("list", "Verifications and their steps");
    add_admin_flags(app, *flags);
    subverbs.run(app, [flags](Context& context) { return list(*flags, context); });
  }
}

}  // namespace retort::app
