// Organisations, people, traits, ownership, lists, and what resellers sign with.
#include <algorithm>

#include "callers/registry_state.h"
#include "callers/traits.h"

namespace retort::callers {
namespace {

Json json_of(const std::vector<Stake>& stakes) {
  Json list = Json::array();
  for (const Stake& stake : stakes) list.push_back({{"owner", stake.owner}, {"percent", stake.percent.text()}});
  return list;
}

Result<Organisation> expect_organisation(const Registry& registry, const std::string& id) {
  RETORT_ASSIGN(const std::vector<Organisation> organisations, registry.organisations());
  std::vector<std::string> known;
  for (const Organisation& organisation : organisations) {
    if (organisation.id == id) return organisation;
    known.push_back(organisation.id);
  }
  return caller_error("There is no organisation '" + id + "'" + hint(id, known) + " Add it with `orgs add`.");
}

Result<Organisation> expect_reseller(const Registry& registry, const std::string& id) {
  RETORT_ASSIGN(Organisation organisation, expect_organisation(registry, id));
  if (!organisation.reseller) {
    return caller_error("The organisation '" + id +
                        "' is no reseller, and only resellers attest end customers; add it with --reseller.");
  }
  return organisation;
}

std::string secret_text(const Organisation& organisation, std::int64_t generation) {
  return "attestation/1\n" + organisation.id + "\n" + std::to_string(generation);
}

}  // namespace

Result<void> Registry::add_organisation(const By& by, const Organisation& organisation) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_TRY(check_name(organisation.id, "id of the organisation"));
    if (!organisation.name.empty()) RETORT_TRY(check_name(organisation.name, "name of the organisation"));
    if (!organisation.kind.empty()) RETORT_TRY(check_word(organisation.kind, "kind"));
    RETORT_ASSIGN(const bool taken, state_->has("SELECT 1 FROM organisations WHERE id = ?1", organisation.id));
    if (taken) return caller_error("There is an organisation '" + organisation.id + "' already; choose another id.");
    const Json after = {{"name", organisation.name}, {"kind", organisation.kind}, {"reseller", organisation.reseller}};
    return state_->audited(by, "organisation.add", organisation.id, Json(), after, [&]() -> Result<void> {
      RETORT_ASSIGN(Statement insert,
                    state_->database.prepare("INSERT INTO organisations VALUES (?1, ?2, ?3, ?4, '', 0, '', ?5)"));
      insert.bind_text(1, organisation.id).bind_text(2, organisation.name).bind_text(3, organisation.kind);
      RETORT_TRY(insert.bind(4, organisation.reseller ? 1 : 0).bind(5, by.at_unix_ms).step());
      return {};
    });
  });
}

Result<std::vector<Organisation>> Registry::organisations() const {
  return state_->rows(
      "SELECT id, name, kind, reseller, attestation, attestation_generation, attestation_public_key, "
      "created_unix_ms FROM organisations ORDER BY id",
      [](Statement& row) {
        return Organisation{.id = std::string(row.text(0)),
                            .name = std::string(row.text(1)),
                            .kind = std::string(row.text(2)),
                            .reseller = row.integer(3) != 0,
                            .attestation = std::string(row.text(4)),
                            .attestation_generation = row.integer(5),
                            .attestation_public_key = std::string(row.text(6)),
                            .created_unix_ms = row.integer(7)};
      });
}

Result<void> Registry::add_person(const By& by, const Person& person) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_TRY(check_name(person.id, "id of the person"));
    if (!person.role.empty()) RETORT_TRY(check_name(person.role, "role"));
    RETORT_TRY(expect_organisation(*this, person.organisation));
    RETORT_ASSIGN(const bool taken, state_->has("SELECT 1 FROM people WHERE id = ?1", person.id));
    if (taken) return caller_error("There is a person '" + person.id + "' already; choose another id.");
    const Json after = {{"organisation", person.organisation}, {"role", person.role}};
    return state_->audited(by, "person.add", person.id, Json(), after, [&]() -> Result<void> {
      RETORT_ASSIGN(Statement insert, state_->database.prepare("INSERT INTO people VALUES (?1, ?2, ?3, ?4)"));
      insert.bind_text(1, person.id).bind_text(2, person.organisation).bind_text(3, person.role);
      RETORT_TRY(insert.bind(4, by.at_unix_ms).step());
      return {};
    });
  });
}

Result<std::vector<Person>> Registry::people() const {
  return state_->rows("SELECT id, organisation, role, created_unix_ms FROM people ORDER BY id", [](Statement& row) {
    return Person{.id = std::string(row.text(0)),
                  .organisation = std::string(row.text(1)),
                  .role = std::string(row.text(2)),
                  .created_unix_ms = row.integer(3)};
  });
}

Result<void> Registry::add_trait(const By& by, const Subject& subject, std::string_view kind, std::string_view value) {
  RETORT_ASSIGN(const std::string normal, normalised_trait(kind, value));
  const char* const tables[] = {"accounts", "organisations", "people"};
  const std::string known_sql =
      std::string("SELECT 1 FROM ") + tables[static_cast<std::size_t>(subject.kind)] + " WHERE id = ?1";
  RETORT_ASSIGN(const bool known, state_->has(known_sql, subject.id));
  if (!known) {
    return caller_error("There is no " + std::string(text_of(subject.kind)) + " '" + subject.id + "'; add it first.");
  }
  const auto payment = payment_kinds();
  const TraitPurpose purpose = std::find(payment.begin(), payment.end(), kind) != payment.end()
                                   ? TraitPurpose::kPayment
                                   : TraitPurpose::kRegistration;
  const Trait trait{.subject = subject,
                    .purpose = purpose,
                    .kind = std::string(kind),
                    .hash = state_->trait_key.hash("trait/1 " + std::string(kind) + "\n" + normal)};
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(Statement insert,
                  state_->database.prepare("INSERT INTO traits VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING"));
    insert.bind(1, static_cast<std::int64_t>(subject.kind)).bind_text(2, subject.id);
    insert.bind(3, static_cast<std::int64_t>(purpose)).bind_text(4, trait.kind).bind_blob(5, bytes_of(trait.hash));
    RETORT_TRY(insert.step());
    if (sqlite3_changes(state_->database.handle()) == 0) return {};
    return state_->note(by, "trait.add", subject.id, Json(),
                        {{"subject", text_of(subject.kind)}, {"trait", trait.text()}});
  });
}

Result<std::vector<Trait>> Registry::traits() const {
  return state_->rows("SELECT subject_kind, subject, purpose, kind, hash FROM traits", [](Statement& row) {
    return Trait{.subject = {static_cast<SubjectKind>(row.integer(0)), std::string(row.text(1))},
                 .purpose = static_cast<TraitPurpose>(row.integer(2)),
                 .kind = std::string(row.text(3)),
                 .hash = digest_of_blob(row.blob(4))};
  });
}

Result<void> Registry::set_owners(const By& by, const std::string& entity, std::vector<Stake> owners) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_TRY(check_name(entity, "name of the entity"));
    for (const Stake& stake : owners) RETORT_TRY(check_name(stake.owner, "name of an owner of '" + entity + "'"));
    RETORT_ASSIGN(OwnershipGraph graph, ownership());
    const auto found = graph.owners().find(entity);
    const Json before = found == graph.owners().end() ? Json() : json_of(found->second);
    RETORT_TRY(graph.set_owners(entity, owners));
    return state_->audited(by, "ownership.set", entity, before, json_of(owners), [&]() -> Result<void> {
      RETORT_ASSIGN(Statement remove, state_->database.prepare("DELETE FROM stakes WHERE entity = ?1"));
      RETORT_TRY(remove.bind_text(1, entity).step());
      RETORT_ASSIGN(Statement insert, state_->database.prepare("INSERT INTO stakes VALUES (?1, ?2, ?3)"));
      for (const Stake& stake : owners) {
        const std::string percent = stake.percent.text();
        RETORT_TRY(insert.bind_text(1, entity).bind_text(2, stake.owner).bind_text(3, percent).step());
        insert.reset();
      }
      return {};
    });
  });
}

Result<OwnershipGraph> Registry::ownership() const {
  std::map<std::string, std::vector<Stake>> all;
  RETORT_ASSIGN(Statement select, state_->database.prepare("SELECT entity, owner, percent FROM stakes"));
  while (true) {
    RETORT_ASSIGN(const bool there, select.step());
    if (!there) break;
    RETORT_ASSIGN(const Percent percent, Percent::parse(select.text(2)));
    all[std::string(select.text(0))].push_back({std::string(select.text(1)), percent});
  }
  OwnershipGraph graph;
  for (auto& [entity, owners] : all) RETORT_TRY(graph.set_owners(entity, std::move(owners)));
  return graph;
}

Result<void> Registry::set_list(const By& by, const EntityList& list) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_TRY(check_name(list.name, "name of the list"));
    RETORT_TRY(check_name(list.date, "date of the list"));
    for (const std::string& entity : list.entities) RETORT_TRY(check_name(entity, "name of an entity of the list"));
    Json before;
    RETORT_ASSIGN(const std::vector<EntityList> all, lists());
    for (const EntityList& old : all) {
      if (old.name == list.name) {
        before = {{"date", old.date}, {"digest", old.digest.hex()}, {"entities", old.entities.size()}};
      }
    }
    const Json after = {{"date", list.date}, {"digest", list.digest.hex()}, {"entities", list.entities.size()}};
    return state_->audited(by, "list.set", list.name, before, after, [&]() -> Result<void> {
      RETORT_ASSIGN(Statement remove, state_->database.prepare("DELETE FROM listed WHERE list = ?1"));
      RETORT_TRY(remove.bind_text(1, list.name).step());
      RETORT_ASSIGN(Statement head, state_->database.prepare("INSERT OR REPLACE INTO lists VALUES (?1, ?2, ?3)"));
      RETORT_TRY(head.bind_text(1, list.name).bind_text(2, list.date).bind_blob(3, bytes_of(list.digest)).step());
      RETORT_ASSIGN(Statement insert,
                    state_->database.prepare("INSERT INTO listed VALUES (?1, ?2) ON CONFLICT DO NOTHING"));
      for (const std::string& entity : list.entities) {
        RETORT_TRY(insert.bind_text(1, list.name).bind_text(2, entity).step());
        insert.reset();
      }
      return {};
    });
  });
}

Result<std::vector<EntityList>> Registry::lists() const {
  RETORT_ASSIGN(std::vector<EntityList> all,
                state_->rows("SELECT name, date, digest FROM lists ORDER BY name", [](Statement& row) {
                  return EntityList{.name = std::string(row.text(0)),
                                    .date = std::string(row.text(1)),
                                    .digest = digest_of_blob(row.blob(2)),
                                    .entities = {}};
                }));
  RETORT_ASSIGN(Statement select, state_->database.prepare("SELECT list, entity FROM listed ORDER BY list, entity"));
  while (true) {
    RETORT_ASSIGN(const bool there, select.step());
    if (!there) return all;
    const auto list = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.name == select.text(0); });
    if (list != all.end()) list->entities.emplace_back(select.text(1));
  }
}

Result<std::map<std::string, std::string, std::less<>>> Registry::named_entities() const {
  std::map<std::string, std::string, std::less<>> named;
  RETORT_ASSIGN(const std::vector<EntityList> all, lists());
  for (const EntityList& list : all) {
    for (const std::string& entity : list.entities) named.emplace(entity, list.name);
  }
  return named;
}

Result<std::string> Registry::issue_attestation_secret(const By& by, const std::string& organisation) {
  std::string secret;
  const Result<void> done = state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(const Organisation reseller, expect_reseller(*this, organisation));
    const std::int64_t generation = reseller.attestation_generation + 1;
    RETORT_ASSIGN(Statement update, state_->database.prepare(
                                        "UPDATE organisations SET attestation = 'hmac', attestation_generation = ?1, "
                                        "attestation_public_key = '' WHERE id = ?2"));
    RETORT_TRY(update.bind(1, generation).bind_text(2, organisation).step());
    secret = state_->pepper.hash(secret_text(reseller, generation)).hex();
    return state_->note(by, "attestation.issue", organisation,
                        {{"key", reseller.attestation}, {"generation", reseller.attestation_generation}},
                        {{"key", "hmac"}, {"generation", generation}});
  });
  if (!done) return Failure(done.error());
  return secret;
}

Result<void> Registry::register_attestation_key(const By& by, const std::string& organisation,
                                                std::string_view ed25519_hex) {
  return state_->database.transaction([&]() -> Result<void> {
    RETORT_ASSIGN(const Organisation reseller, expect_reseller(*this, organisation));
    const Result<Digest> key = Digest::from_hex(ed25519_hex);  // as many bytes as an Ed25519 public key
    if (!key) return caller_error("That is no Ed25519 public key; expected its 32 bytes as 64 hexadecimal digits.");
    const std::string text = key->hex();
    return state_->audited(by, "attestation.register", organisation, {{"key", reseller.attestation}},
                           {{"key", "ed25519"}, {"public", text}}, [&]() -> Result<void> {
                             RETORT_ASSIGN(Statement update,
                                           state_->database.prepare("UPDATE organisations SET attestation = 'ed25519', "
                                                                    "attestation_public_key = ?1 WHERE id = ?2"));
                             RETORT_TRY(update.bind_text(1, text).bind_text(2, organisation).step());
                             return {};
                           });
  });
}

std::optional<AttestationKey> Registry::attestation_key(const Organisation& organisation) const {
  AttestationKey key;
  key.reseller = organisation.id;
  if (organisation.attestation == "hmac") {
    const Digest secret = state_->pepper.hash(secret_text(organisation, organisation.attestation_generation));
    key.hmac = std::make_shared<const HmacKey>(HmacKey::from_bytes(secret.bytes));
    return key;
  }
  if (organisation.attestation != "ed25519") return std::nullopt;
  const Result<Digest> bytes = Digest::from_hex(organisation.attestation_public_key);
  if (!bytes) return std::nullopt;
  key.ed25519 = bytes->bytes;
  return key;
}

}  // namespace retort::callers
