// `retort-guard sealing`: the ring of keys that reasoning is sealed with.
#include "evidence/exchange_records.h"
#include "frame/verb.h"
#include "guard/rules.h"
#include "retort-guard/subverbs.h"
#include "sealing/key_ring.h"

namespace retort::app {
namespace {

Result<std::filesystem::path> ring_of(const std::string& configuration, const Context& context) {
  RETORT_ASSIGN(const auto rules, guard::load_rules(configuration, context.environment));
  if (rules->options.sealing.keys.empty()) {
    return caller_error(configuration + " seals nothing; name the file of keys under sealing.keys.");
  }
  return rules->path(rules->options.sealing.keys);
}

Result<void> print(const sealing::KeyRing& ring, Context& context) {
  Json keys = Json::array();
  for (const sealing::KeyRing::Key& key : ring.keys()) {
    const bool seals = key.id == ring.sealing_key().id;
    keys.push_back({{"id", key.id}, {"created", key.created}, {"seals", seals}});
    if (!context.json) context.out << key.id << "  made " << key.created << (seals ? ", seals" : ", opens") << '\n';
  }
  if (context.json) context.emit({{"keys", keys}});
  return {};
}

}  // namespace

void register_sealing(VerbSetup& verb) {
  struct Flags {
    std::string configuration;
    std::string id;
  };
  const auto flags = std::make_shared<Flags>();
  Subverbs verbs(verb);
  CLI::App& rotate = verbs.add("rotate", "Add a key, which seals from now on; the older ones still open");
  rotate.add_option("configuration", flags->configuration, "guard.yaml")->type_name("GUARD.yaml")->required();
  rotate.add_option("id", flags->id, "What to call it (default: the time)");
  verbs.run(rotate, [flags](Context& context) -> Result<void> {
    RETORT_ASSIGN(const auto path, ring_of(flags->configuration, context));
    const std::int64_t now = context.clock.unix_ms();
    std::string id = flags->id.empty() ? evidence::rfc3339_ms(now).substr(0, 19) : flags->id;
    for (char& c : id) {
      if (c == ':') c = '-';
    }
    RETORT_ASSIGN(const sealing::KeyRing ring, sealing::KeyRing::add(path, id, now));
    return print(ring, context);
  });
  CLI::App& list = verbs.add("list", "The keys, without their secrets");
  list.add_option("configuration", flags->configuration, "guard.yaml")->type_name("GUARD.yaml")->required();
  verbs.run(list, [flags](Context& context) -> Result<void> {
    RETORT_ASSIGN(const auto path, ring_of(flags->configuration, context));
    RETORT_ASSIGN(const sealing::KeyRing ring, sealing::KeyRing::read(path));
    return print(ring, context);
  });
}

}  // namespace retort::app
