#include "collect/teacher_terms.h"

#include <variant>

#include "base/clock.h"

namespace retort::collect {

terms::Authorisation authorisation_of(const AuthorisationOptions& options) {
  return {options.by, options.document, options.scope, options.expires, options.from_licensor};
}

terms::Query terms_query(const TeacherOptions& teacher, const TermsOptions& accepted, std::int64_t unix_ms) {
  terms::Query query;
  query.model = teacher.model;
  query.route = teacher.route;
  if (query.route.empty() && teacher.served()) {
    for (const EndpointOptions& endpoint : teacher.endpoints) {
      if (query.route.empty() || query.route == "own") query.route = terms::route_of_endpoint(endpoint.url);
    }
  }
  const TeacherTermsOptions& options = teacher.terms;
  // The option set allows these four words alone.
  query.purpose = terms::purpose_from_name(options.purpose).value_or(terms::Purpose::kInternal);
  query.distributed = options.distributed;
  query.commercial = options.commercial;
  query.region = options.region;
  query.monthly_users = options.monthly_users;
  query.acceptance = {accepted.accepted_by, accepted.accepted_licence};
  query.authorisation = authorisation_of(options.authorisation);
  query.today = iso_time(unix_ms).substr(0, 10);
  return query;
}

Result<terms::Declared> declared_by(const gguf::File& file) {
  const gguf::Metadata& metadata = file.metadata();
  terms::Declared declared;
  RETORT_ASSIGN(declared.licence, metadata.get_or<std::string>("general.license", ""));
  RETORT_ASSIGN(declared.licence_name, metadata.get_or<std::string>("general.license.name", ""));
  RETORT_ASSIGN(declared.licence_link, metadata.get_or<std::string>("general.license.link", ""));
  RETORT_ASSIGN(declared.model_name, metadata.get_or<std::string>("general.name", ""));
  declared.other_names.push_back(file.path().stem().string());
  for (const auto& [key, value] : metadata.entries()) {
    const bool origin =
        key.starts_with("general.base_model.") && (key.ends_with(".name") || key.ends_with(".repo_url"));
    if (const auto* name = std::get_if<std::string>(&value); origin && name != nullptr) {
      declared.other_names.push_back(*name);
    }
  }
  return declared;
}

}  // namespace retort::collect
