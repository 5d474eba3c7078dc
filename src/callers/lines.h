// Callers and ownership as lines of JSON: what `keys list`, `orgs` and later readers see (docs/formats/callers.md).
//
// What isn't known is absent. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "callers/directory.h"

namespace retort::callers {

// {"account","organisation","tier","kind","kind_verified","created","payment":[…],"registration":[…],"plan_usd_month",
//  "reseller","attested"}, with tier and verification as they are at `now_unix_ms`.
Json caller_line(const Caller& caller, std::int64_t now_unix_ms);

// {"organisation","owners":[{"owner","percent":"50.0"}],"listed"}; "why" beside it when it is listed.
Json ownership_line(const std::string& entity, const OwnershipGraph& graph, const Listings& listings,
                    const OwnershipRule& rule);

// One for every organisation, every entity whose owners are known and every name on a list, sorted.
Result<std::vector<Json>> ownership_lines(const Registry& registry, const OwnershipRule& rule);

// {"id","account","note","created","expires","revoked"}: without the secret, which is kept nowhere.
Json key_line(const ApiKey& key);
// {"number","subject","id","tier","kind","state","document","expires","steps":[{"state","who","at","note"}]}
Json verification_line(const Verification& verification);
// {"sequence","at","who","what","subject","before","after"}
Result<Json> audit_line(const AuditEntry& entry);

}  // namespace retort::callers
