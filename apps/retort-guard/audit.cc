// `retort-guard audit`: who changed what about callers, and when.
#include "base/json.h"
#include "callers/lines.h"
#include "retort-guard/admin_flags.h"

namespace retort::app {
namespace {

Result<void> show(const AdminFlags& flags, std::int64_t limit, Context& context) {
  RETORT_ASSIGN(const callers::Registry registry, open_callers(flags));
  RETORT_ASSIGN(const std::vector<callers::AuditEntry> entries, registry.audit(limit));
  Json lines = Json::array();
  for (const callers::AuditEntry& entry : entries) {
    if (!context.json) {
      context.out << iso_time(entry.by.at_unix_ms) << ' ' << entry.by.who << ' ' << entry.what << ' ' << entry.subject
                  << ' ' << entry.before << " -> " << entry.after << '\n';
      continue;
    }
    RETORT_ASSIGN(Json line, callers::audit_line(entry));
    lines.push_back(std::move(line));
  }
  if (context.json) context.emit({{"audit", std::move(lines)}});
  return {};
}

}  // namespace

void register_audit(VerbSetup& verb) {
  struct Flags : AdminFlags {
    std::int64_t limit = 100;
  };
  const auto flags = std::make_shared<Flags>();
  add_admin_flags(verb.app, *flags);
  verb.app.add_option("--limit", flags->limit, "How many lines, newest first")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.action = [flags](Context& context) { return show(*flags, flags->limit, context); };
}

}  // namespace retort::app
