#include "retort-guard/admin_flags.h"

#include <unistd.h>

#include "base/files.h"
#include "guard/options.h"
#include "recipe/yaml_reader.h"

namespace retort::app {

void add_admin_flags(CLI::App& app, AdminFlags& flags) {
  // What doesn't end so is the next positional argument's.
  const CLI::Validator is_configuration(
      [](const std::string& text) {
        return text.ends_with(".yaml") || text.ends_with(".yml") ? std::string() : "'" + text + "' isn't a .yaml file";
      },
      "");
  app.validate_positionals();
  app.add_option("config", flags.config, "The guard's configuration, for its key `callers`")
      ->type_name("GUARD.yaml")
      ->check(is_configuration);
  app.add_option("--callers", flags.callers, "The folder that callers are kept in, without a configuration")
      ->type_name("FOLDER");
  app.add_option("--by", flags.by, "Who makes the change, for the audit trail (default: $USER)")->type_name("NAME");
}

Result<CallersPlace> callers_place(const AdminFlags& flags) {
  if (flags.config.empty() == flags.callers.empty()) {
    return caller_error(
        "Say where callers are kept: by the guard's configuration (guard.yaml), or by --callers FOLDER.");
  }
  if (!flags.callers.empty()) return CallersPlace{callers::RegistryPaths::in(flags.callers), {}};
  RETORT_ASSIGN(const std::string text, read_file(flags.config));
  std::vector<recipe::YamlFault> faults;
  const Result<recipe::Node> read = recipe::read_yaml(text, faults);
  if (!read) return with_context(read.error(), "'" + flags.config + "'");
  guard::CallersOptions options;
  if (const recipe::Node* section = read->find("callers"); section != nullptr) {
    auto parsed = recipe::Codec<guard::CallersOptions>::parse(*section, {});
    if (!parsed) return caller_error("'" + flags.config + "', key callers: expected " + parsed.error() + ".");
    options = std::move(*parsed);
  }
  CallersPlace place;
  place.paths = callers::RegistryPaths::in(std::filesystem::path(flags.config).parent_path() / options.path);
  RETORT_ASSIGN(place.rule.threshold, callers::Percent::parse(options.listed_from.text));
  place.rule.or_more = options.or_more;
  return place;
}

Result<callers::Registry> open_callers(const AdminFlags& flags) {
  RETORT_ASSIGN(const CallersPlace place, callers_place(flags));
  return callers::Registry::open(place.paths);
}

callers::By change_by(const AdminFlags& flags, Context& context) {
  std::string who = flags.by;
  for (const char* name : {"USER", "LOGNAME"}) {
    if (who.empty() && context.environment) who = context.environment(name).value_or("");
  }
  // In a container neither need be set.
  if (who.empty()) who = "uid " + std::to_string(::geteuid());
  return {who, context.clock.unix_ms()};
}

std::string time_text(const std::optional<std::int64_t>& unix_ms) { return unix_ms ? iso_time(*unix_ms) : "-"; }

}  // namespace retort::app
