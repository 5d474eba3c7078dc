#include "frame/frame.h"

#include <algorithm>
#include <iomanip>
#include <ostream>
#include <sstream>
#include <vector>

#include "base/text.h"
#include "base/version.h"

namespace retort::app {
namespace {

std::string own_name() { return std::string(program().name); }

std::string unknown_verb(const std::string& name) {
  std::vector<std::string> names;
  for (const Verb& verb : program().verbs) names.emplace_back(verb.name);
  const std::string near = nearest(name, names);
  return "There is no verb '" + name + "'." + (near.empty() ? "" : " Did you mean '" + near + "'?") + " `" +
         own_name() + " help` lists them.";
}

// All long and short names of an app's flags, with their dashes; also those of the verb of its own that was named.
std::vector<std::string> flag_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  for (const CLI::App* inner : app.get_subcommands()) {
    const std::vector<std::string> more = flag_names(*inner);
    names.insert(names.end(), more.begin(), more.end());
  }
  return names;
}

struct ParsedVerb {
  std::unique_ptr<CLI::App> app;
  std::unique_ptr<VerbSetup> setup;
  bool json = false;
};

std::unique_ptr<ParsedVerb> set_up(const Verb& verb) {
  auto parsed = std::make_unique<ParsedVerb>();
  parsed->app = std::make_unique<CLI::App>(std::string(verb.summary), own_name() + " " + std::string(verb.name));
  parsed->app->add_flag("--json", parsed->json, "Print the result as one JSON document");
  parsed->setup = std::make_unique<VerbSetup>(VerbSetup{*parsed->app, {}});
  verb.registration(*parsed->setup);
  RETORT_CHECK(parsed->setup->action != nullptr);
  return parsed;
}

// The sentence for a command line CLI11 did not accept; for a flag that doesn't exist, with the nearest that does.
std::string usage_sentence(const CLI::ParseError& error, const CLI::App& app) {
  std::string sentence = error.what();
  const std::vector<std::string> remaining = app.remaining();
  if (!remaining.empty()) {
    const std::string& extra = remaining.front();
    if (extra.starts_with("-")) {
      const std::string flag = extra.substr(0, extra.find('='));
      const std::vector<std::string> names = flag_names(app);
      const std::string near = nearest(flag, names);
      sentence = "There is no flag '" + flag + "'." + (near.empty() ? "" : " Did you mean '" + near + "'?");
    } else {
      sentence = "'" + extra + "' is one argument too many.";
    }
  }
  if (!sentence.empty() && sentence.back() != '.' && sentence.back() != '?') sentence += '.';
  return sentence;
}

}  // namespace

const Verb* find_verb(std::string_view name) {
  for (const Verb& verb : program().verbs) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

std::string verb_list() {
  std::ostringstream text;
  text << program().name << ' ' << kVersion << ": " << program().summary << "\n\nUsage: " << program().name
       << " VERB [FLAGS]\n\n";
  std::size_t width = 10;
  for (const Verb& verb : program().verbs) width = std::max(width, verb.name.size());
  for (const Verb& verb : program().verbs) {
    text << "  " << std::left << std::setw(static_cast<int>(width)) << verb.name << ' ' << verb.summary << '\n';
  }
  text << "\n`" << program().name << " VERB --help` explains a verb. Every verb takes --json.\n"
       << program().start_with << '\n';
  return text.str();
}

Result<std::string> verb_help(const std::string& name) {
  const Verb* verb = find_verb(name);
  if (verb == nullptr) return caller_error(unknown_verb(name));
  if (verb->registration == nullptr) {
    return caller_error("The verb '" + name + "' is not part of this program; was it built with retort-torch?");
  }
  return set_up(*verb)->app->help();
}

bool belongs_to_companion(std::span<const std::string> arguments) {
  if (arguments.empty()) return false;
  const Verb* verb = find_verb(arguments[0]);
  if (verb == nullptr || verb->registration != nullptr) return false;
  // The bare list needs nothing.
  return !(verb->name == "help" && arguments.size() == 1);
}

int run_program(std::span<const std::string> arguments, Context& context, std::ostream& errors) {
  if (arguments.empty()) {
    errors << verb_list();
    return 2;
  }
  const std::string& name = arguments[0];
  if (name == "--version" || name == "version") {
    context.out << program().name << ' ' << kVersion << '\n';
    return 0;
  }
  if (name == "--help" || name == "-h" || (name == "help" && arguments.size() == 1)) {
    context.out << verb_list();
    return 0;
  }
  const Verb* verb = find_verb(name);
  if (verb == nullptr && name == "help" && arguments.size() == 2) {
    const Result<std::string> page = verb_help(arguments[1]);
    if (page) context.out << *page;
    if (!page) errors << program().name << ": " << page.error().message << '\n';
    return page ? 0 : 2;
  }
  if (verb == nullptr) {
    errors << program().name << ": " << unknown_verb(name) << '\n';
    return 2;
  }
  if (verb->registration == nullptr) {
    errors << program().name << ": the verb '" << name << "' is not part of this build.\n";
    return 2;
  }
  const std::unique_ptr<ParsedVerb> parsed = set_up(*verb);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend() - 1);  // CLI11 takes them back to front
    parsed->app->parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    context.out << parsed->app->help();
    return 0;
  } catch (const CLI::ParseError& error) {
    errors << program().name << ' ' << name << ": " << usage_sentence(error, *parsed->app) << " `" << program().name
           << ' ' << name << " --help` lists what it takes.\n";
    return 2;
  }
  context.json = parsed->json;
  const Result<void> result = parsed->setup->action(context);
  context.out << std::flush;
  if (!result) {
    errors << program().name << ' ' << name << ": " << result.error().message << '\n';
    return exit_code(result.error().fault);
  }
  if (!context.out.good()) {
    errors << program().name << ' ' << name
           << ": The result could not be written to standard output (is the disk full?).\n";
    return 1;
  }
  return 0;
}

}  // namespace retort::app
