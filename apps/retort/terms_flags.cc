#include "retort/terms_flags.h"

#include <algorithm>

#include "base/files.h"
#include "collect/teacher_terms.h"
#include "recipe/yaml_reader.h"

namespace retort::app {
namespace {

// A YAML file with the parts of the recipe's teacher.terms.authorisation: by, document, scope, expires, from_licensor.
Result<terms::Authorisation> read_authorisation(const std::string& path) {
  RETORT_ASSIGN(const std::string text, read_file(path));
  std::vector<recipe::YamlFault> faults;
  const auto node = recipe::read_yaml(text, faults);
  if (!node) return with_context(node.error(), path);
  if (!faults.empty()) {
    return caller_error(path + ", line " + std::to_string(faults.front().line) + ": " + faults.front().key + " " +
                        faults.front().sentence);
  }
  const auto options = recipe::Codec<collect::AuthorisationOptions>::parse(*node, {});
  if (!options) return caller_error(path + " is " + recipe::describe(*node) + "; expected " + options.error() + ".");
  return collect::authorisation_of(*options);
}

std::string spaced(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

}  // namespace

void add_terms_flags(CLI::App& app, TermsFlags& flags) {
  app.add_option(
         "--route", flags.route,
         "Through whom it is asked: own, openai, anthropic, google, xai, mistral, aws, …; own: your own endpoint "
         "of open weights")
      ->type_name("ROUTE");
  app.add_option("--purpose", flags.purpose,
                 "What the student is for: research, internal (the default), product or "
                 "classifier")
      ->type_name("PURPOSE")
      ->check(CLI::IsMember({"research", "internal", "product", "classifier"}));
  app.add_option("--relation", flags.relation,
                 "What of the teacher goes into it: outputs, logprobs, or weights (it is made of them)")
      ->type_name("RELATION")
      ->check(CLI::IsMember({"outputs", "logprobs", "weights"}));
  app.add_flag("--distributed", flags.distributed, "The student leaves the house");
  app.add_flag("--commercial", flags.commercial, "It is used or sold commercially");
  app.add_option("--region", flags.region, "Where it is used: a country's two letters, or EU")->type_name("REGION");
  app.add_option("--monthly-users", flags.monthly_users, "Monthly users of the product")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--student", flags.student, "What the student begins as, when it isn't the teacher")
      ->type_name("MODEL");
  app.add_option("--authorisation", flags.authorisation,
                 "A YAML file that records a permission: by, document (its SHA-256), scope, expires, from_licensor")
      ->type_name("FILE");
  app.add_option("--accepted-by", flags.accepted_by, "Who says under which licence a model that says nothing is")
      ->type_name("NAME");
  app.add_option("--accepted-licence", flags.accepted_licence, "That licence")->type_name("LICENCE");
}

Result<void> apply_terms_flags(const TermsFlags& flags, const Clock& clock, terms::Query& query) {
  query.today = iso_time(clock.unix_ms()).substr(0, 10);
  if (!flags.route.empty()) query.route = flags.route;
  if (!flags.purpose.empty()) {
    RETORT_ASSIGN(query.purpose, terms::purpose_from_name(flags.purpose));
  }
  if (!flags.relation.empty()) {
    RETORT_ASSIGN(query.relation, terms::relation_from_name(flags.relation));
  }
  if (flags.distributed) query.distributed = true;
  if (flags.commercial) query.commercial = true;
  if (!flags.region.empty()) query.region = flags.region;
  if (flags.monthly_users >= 0) query.monthly_users = flags.monthly_users;
  if (!flags.student.empty()) query.student = flags.student;
  if (!flags.authorisation.empty()) {
    RETORT_ASSIGN(query.authorisation, read_authorisation(flags.authorisation));
  }
  if (!flags.accepted_by.empty()) query.acceptance.by = flags.accepted_by;
  if (!flags.accepted_licence.empty()) query.acceptance.licence = flags.accepted_licence;
  return {};
}

void print_decision(std::ostream& out, const terms::Decision& decision) {
  const terms::Query& query = decision.query;
  out << query.model << ": " << spaced(name_of(decision.verdict)) << "\n  learning from its " << name_of(query.relation)
      << (query.route.empty() ? "" : ", route " + query.route) << ", purpose " << name_of(query.purpose)
      << (query.distributed ? ", distributed" : ", not distributed")
      << (query.commercial ? ", commercial" : ", not commercial");
  if (!query.region.empty()) out << ", in " << query.region;
  if (query.monthly_users > 0) out << ", " << query.monthly_users << " monthly users";
  out << '\n';
  if (!decision.obligations.empty()) out << "\nWhat is asked\n";
  for (const terms::Obligation& obligation : decision.obligations) {
    out << "  " << spaced(name_of(obligation.kind)) << ": " << obligation.value
        << (obligation.when.empty() ? "" : " (when " + obligation.when + ")") << '\n';
  }
  if (!decision.clauses.empty()) out << "\nWhat the terms say, in short\n";
  for (const terms::Clause& clause : decision.clauses) {
    out << "  " << clause.quote << "\n    " << clause.source << ", " << clause.date
        << (clause.primary ? ", read in the original\n" : ", not read in the original\n");
  }
  if (decision.authorisation) {
    out << "\nAuthorised by " << decision.authorisation->by << ": " << decision.authorisation->scope << '\n';
  }
  if (!decision.may_proceed()) out << '\n' << decision.explanation << '\n';
  out << "\nTerms as of " << terms::kTermsVersion << ". This is not legal advice: read the terms (docs/TERMS.md).\n";
}

}  // namespace retort::app
