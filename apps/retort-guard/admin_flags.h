// What every verb that administers callers takes: where they are kept, and who makes the change.
//
// Where: the configuration, as the first word that ends in .yaml or .yml (its key `callers`), or --callers FOLDER.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "callers/ownership.h"
#include "callers/registry.h"
#include "frame/verb.h"

namespace retort::app {

struct AdminFlags {
  std::string config;   // GUARD.yaml
  std::string callers;  // --callers FOLDER
  std::string by;       // --by NAME; empty: the user who runs the program
};

// To be called before the verb declares positional arguments of its own.
void add_admin_flags(CLI::App& app, AdminFlags& flags);

struct CallersPlace {
  callers::RegistryPaths paths;
  callers::OwnershipRule rule;  // when an owned entity counts as listed
};
Result<CallersPlace> callers_place(const AdminFlags& flags);
// The database of callers, made at first use.
Result<callers::Registry> open_callers(const AdminFlags& flags);
// Who and when, for the audit trail.
callers::By change_by(const AdminFlags& flags, Context& context);

// "2027-01-31" (its beginning, UTC), "2027-01-31T12:00:00Z" or "90d", "12h" from now. Error: anything else, also a time
// that has passed.
Result<std::int64_t> parse_expiry(const std::string& text, std::int64_t now_unix_ms);
// "200" or "19.99" dollars as cents.
Result<std::int64_t> parse_usd_cents(const std::string& text);

// RFC 3339, or null in JSON and "-" in tables when absent.
Json time_json(const std::optional<std::int64_t>& unix_ms);
std::string time_text(const std::optional<std::int64_t>& unix_ms);

}  // namespace retort::app
