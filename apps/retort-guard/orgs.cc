// `retort-guard orgs`: organisations, who owns them, who is listed, and what resellers sign with.
#include <algorithm>

#include "base/files.h"
#include "base/text.h"
#include "callers/lines.h"
#include "retort-guard/admin_flags.h"
#include "retort-guard/subverbs.h"

namespace retort::app {
namespace {

void print_line(const Json& line, Context& context) {
  context.out << line["organisation"].get<std::string>() << (line["listed"].get<bool>() ? " (counts as listed)" : "")
              << '\n';
  for (const Json& owner : line["owners"]) {
    context.out << "  " << owner["percent"].get<std::string>() << " % " << owner["owner"].get<std::string>() << '\n';
  }
  if (line.contains("why")) context.out << "  " << line["why"].get<std::string>() << '\n';
}

Result<void> add(const AdminFlags& flags, const callers::Organisation& organisation, Context& context) {
  const callers::By by = change_by(flags, context);
  RETORT_ASSIGN(callers::Registry registry, open_callers(flags));
  RETORT_TRY(registry.add_organisation(by, organisation));
  if (context.json) {
    context.emit({{"organisation", organisation.id}, {"created", iso_time(by.at_unix_ms)}});
  } else {
    context.out << "Added " << organisation.id << ".\n";
  }
  return {};
}

Result<void> list(const AdminFlags& flags, Context& context) {
  RETORT_ASSIGN(const CallersPlace place, callers_place(flags));
  RETORT_ASSIGN(const callers::Registry registry, callers::Registry::open(place.paths));
  RETORT_ASSIGN(std::vector<Json> lines, callers::ownership_lines(registry, place.rule));
  if (context.json) {
    context.emit({{"organisations", std::move(lines)}});
  } else {
    for (const Json& line : lines) print_line(line, context);
  }
  return {};
}

struct OwnersFlags : AdminFlags {
  std::string entity;
  std::vector<std::string> owners;  // NAME=PERCENT
  bool none = false;
};

Result<void> owners(const OwnersFlags& flags, Context& context) {
  std::vector<callers::Stake> stakes;
  for (const std::string& text : flags.owners) {
    // Names may hold a '='; percentages don't.
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos) {
      return caller_error("'" + text +
                          "' says no stake; expected an owner and a percentage such as \"Holding Ltd=50.0\".");
    }
    RETORT_ASSIGN(const callers::Percent percent, callers::Percent::parse(text.substr(equals + 1)));
    stakes.push_back({text.substr(0, equals), percent});
  }
  RETORT_ASSIGN(const CallersPlace place, callers_place(flags));
  RETORT_ASSIGN(callers::Registry registry, callers::Registry::open(place.paths));
  if (!stakes.empty() || flags.none) {
    if (!stakes.empty() && flags.none) return caller_error("Give either owners or --none.");
    const callers::By by = change_by(flags, context);
    RETORT_TRY(registry.set_owners(by, flags.entity, std::move(stakes)));
  }
  RETORT_ASSIGN(const callers::OwnershipGraph graph, registry.ownership());
  RETORT_ASSIGN(const auto named, registry.named_entities());
  const callers::Listings listings = callers::listed_entities(graph, named, place.rule);
  const Json line = callers::ownership_line(flags.entity, graph, listings, place.rule);
  if (context.json) {
    context.emit(line);
  } else {
    print_line(line, context);
  }
  return {};
}

struct ListedFlags : AdminFlags {
  std::string name;
  std::string path;
  std::string date;
};

// One entity a line; '#' begins a comment.
Result<void> listed(const ListedFlags& flags, Context& context) {
  const callers::By by = change_by(flags, context);
  RETORT_ASSIGN(const std::string bytes, read_file(flags.path));
  callers::EntityList list{.name = flags.name, .date = flags.date, .digest = sha256(bytes), .entities = {}};
  for (const std::string& written : split(bytes, '\n')) {
    const std::string_view line = trim(written);
    if (!line.empty() && line.front() != '#') list.entities.emplace_back(line);
  }
  if (list.entities.empty()) {
    return caller_error("The list '" + flags.path + "' is empty; expected a name a line. Fetch it again.");
  }
  RETORT_ASSIGN(callers::Registry registry, open_callers(flags));
  RETORT_TRY(registry.set_list(by, list));
  if (context.json) {
    context.emit(
        {{"list", list.name}, {"date", list.date}, {"digest", list.digest.hex()}, {"entities", list.entities.size()}});
  } else {
    context.out << "The list '" << list.name << "' of " << list.date << " names " << list.entities.size()
                << " entities.\n";
  }
  return {};
}

Result<void> attest(const AdminFlags& flags, const std::string& organisation, const std::string& ed25519,
                    Context& context) {
  const callers::By by = change_by(flags, context);
  RETORT_ASSIGN(callers::Registry registry, open_callers(flags));
  if (!ed25519.empty()) {
    RETORT_TRY(registry.register_attestation_key(by, organisation, ed25519));
    if (context.json) {
      context.emit({{"organisation", organisation}, {"ed25519", ed25519}});
    } else {
      context.out << organisation << " attests its end customers by that Ed25519 key.\n";
    }
    return {};
  }
  RETORT_ASSIGN(const std::string secret, registry.issue_attestation_secret(by, organisation));
  if (context.json) {
    context.emit({{"organisation", organisation}, {"secret", secret}});
  } else {
    context.out << "Secret with which " << organisation << " signs end customers, shown this once:\n\n  " << secret
                << "\n";
  }
  return {};
}

}  // namespace

void register_orgs(VerbSetup& verb) {
  Subverbs subverbs(verb);
  {
    struct Flags : AdminFlags {
      callers::Organisation organisation;
    };
    const auto flags = std::make_shared<Flags>();
    CLI::App& app = subverbs.add("add", "A new organisation");
    add_admin_flags(app, *flags);
    app.add_option("id", flags->organisation.id, "Its id, by which owners and lists name it too")->required();
    app.add_option("--name", flags->organisation.name, "For people");
    app.add_option("--kind", flags->organisation.kind, "What it says it is, such as company or university");
    app.add_flag("--reseller", flags->organisation.reseller, "It resells to end customers");
    subverbs.run(app, [flags](Context& context) { return add(*flags, flags->organisation, context); });
  }
  {
    const auto flags = std::make_shared<AdminFlags>();
    CLI::App& app = subverbs.add("list", "Organisations and entities, their owners, and whether they count as listed");
    add_admin_flags(app, *flags);
    subverbs.run(app, [flags](Context& context) { return list(*flags, context); });
  }
  {
    const auto flags = std::make_shared<OwnersFlags>();
    CLI::App& app = subverbs.add("owners", "Show who owns an entity, or set it");
    add_admin_flags(app, *flags);
    app.add_option("entity", flags->entity, "An organisation or any other name")->required();
    app.add_option("owners", flags->owners, "All its owners: \"Holding Ltd=50.0\" …; none given: only shows")
        ->type_name("OWNER=PERCENT");
    app.add_flag("--none", flags->none, "Forget its owners");
    subverbs.run(app, [flags](Context& context) { return owners(*flags, context); });
  }
  {
    const auto flags = std::make_shared<ListedFlags>();
    CLI::App& app = subverbs.add("listed", "Replace a list of entities that count as listed");
    add_admin_flags(app, *flags);
    app.add_option("name", flags->name, "What the list is called")->required();
    app.add_option("file", flags->path, "Its entities, one a line")->type_name("FILE")->required();
    app.add_option("--date", flags->date, "Of this edition, as its publisher writes it")->required();
    subverbs.run(app, [flags](Context& context) { return listed(*flags, context); });
  }
  {
    struct Flags : AdminFlags {
      std::string organisation;
      std::string ed25519;
    };
    const auto flags = std::make_shared<Flags>();
    CLI::App& app = subverbs.add("attest", "Give a reseller what it signs end customers with");
    add_admin_flags(app, *flags);
    app.add_option("organisation", flags->organisation, "The reseller")->required();
    app.add_option("--ed25519", flags->ed25519, "Its own public key, 64 hexadecimal digits; else a secret is made")
        ->type_name("HEX");
    subverbs.run(app,
                 [flags](Context& context) { return attest(*flags, flags->organisation, flags->ed25519, context); });
  }
}

}  // namespace retort::app
