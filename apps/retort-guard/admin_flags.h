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

// RFC 3339, and "-" when absent.
std::string time_text(const std::optional<std::int64_t>& unix_ms);

}  // namespace retort::app
