#include "collect/teacher_terms.h"

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

}  // namespace retort::collect
