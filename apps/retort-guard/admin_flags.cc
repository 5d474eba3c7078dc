#include "retort-guard/admin_flags.h"

#include <unistd.h>

#include <charconv>
#include <chrono>

#include "base/files.h"
#include "guard/options.h"
#include "recipe/yaml_reader.h"

namespace retort::app {
namespace {

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<std::int64_t> date_ms(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto year = whole_number(text.substr(0, 4));
  const auto month = whole_number(text.substr(5, 2));
  const auto day = whole_number(text.substr(8, 2));
  if (!year || !month || !day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::milliseconds(std::chrono::sys_days(date).time_since_epoch()).count();
}

std::optional<std::int64_t> time_of_day_ms(std::string_view text) {
  if (text.size() != 10 || text[0] != 'T' || text[3] != ':' || text[6] != ':' || text[9] != 'Z') return std::nullopt;
  const auto hours = whole_number(text.substr(1, 2));
  const auto minutes = whole_number(text.substr(4, 2));
  const auto seconds = whole_number(text.substr(7, 2));
  if (!hours || !minutes || !seconds || *hours > 23 || *minutes > 59 || *seconds > 59) return std::nullopt;
  return ((*hours * 60 + *minutes) * 60 + *seconds) * 1000;
}

std::optional<std::int64_t> moment_ms(std::string_view text, std::int64_t now_unix_ms) {
  constexpr std::int64_t kHour_ms = 3'600'000;
  if (text.ends_with('d') || text.ends_with('h')) {
    const auto count = whole_number(text.substr(0, text.size() - 1));
    if (!count || *count > 100'000) return std::nullopt;
    return now_unix_ms + *count * kHour_ms * (text.ends_with('d') ? 24 : 1);
  }
  const auto date = date_ms(text.substr(0, 10));
  if (!date || text.size() == 10) return date;
  const auto time = time_of_day_ms(text.substr(10));
  if (!time) return std::nullopt;
  return *date + *time;
}

}  // namespace

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

Result<std::int64_t> parse_expiry(const std::string& text, std::int64_t now_unix_ms) {
  const auto moment = moment_ms(text, now_unix_ms);
  if (!moment) {
    return caller_error("'" + text +
                        "' is no time; expected a date such as 2027-01-31, a time such as "
                        "2027-01-31T12:00:00Z, or a span such as 90d or 12h.");
  }
  if (*moment <= now_unix_ms) return caller_error("'" + text + "' has passed; expected a time in the future.");
  return *moment;
}

Result<std::int64_t> parse_usd_cents(const std::string& text) {
  const std::size_t point = text.find('.');
  const auto dollars = whole_number(std::string_view(text).substr(0, point));
  std::string cents = point == std::string::npos ? "00" : text.substr(point + 1);
  if (cents.size() == 1) cents += '0';
  const auto rest = whole_number(cents);
  if (!dollars || !rest || cents.size() != 2 || *dollars > 1'000'000'000) {
    return caller_error("'" + text + "' is no sum of dollars; expected one such as 20 or 19.99.");
  }
  return *dollars * 100 + *rest;
}

Json time_json(const std::optional<std::int64_t>& unix_ms) { return unix_ms ? Json(iso_time(*unix_ms)) : Json(); }
std::string time_text(const std::optional<std::int64_t>& unix_ms) { return unix_ms ? iso_time(*unix_ms) : "-"; }

}  // namespace retort::app
