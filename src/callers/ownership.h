// Who owns whom, and who therefore counts as listed.
//
// The rule (the 50 percent rule of OFAC, FAQs 399 and 401, and that of the Entity List): an entity that listed persons
// own in the aggregate at or above the threshold counts as wholly listed itself, and so its whole stake in others
// counts in the next step. What comes out is the least fixed point: nothing counts as listed but by a chain that begins
// at a name on a list, also where companies own each other in a circle. ">= 50 %" and "> 50 %" are two rules.
//
// Plain values; any thread. Entities are named by text, compared exactly.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "callers/percent.h"

namespace retort::callers {

struct Stake {
  std::string owner;
  Percent percent;
  bool operator==(const Stake&) const = default;
};

class OwnershipGraph {
 public:
  // Replaces the owners of `entity`. Error: an owner twice, a stake of nothing, or more than 100 % together.
  Result<void> set_owners(const std::string& entity, std::vector<Stake> owners);

  using Owners = std::map<std::string, std::vector<Stake>, std::less<>>;
  const Owners& owners() const { return owners_; }

 private:
  Owners owners_;
};

struct OwnershipRule {
  Percent threshold = Percent::whole(50);
  bool or_more = true;  // ">= threshold"; false: "> threshold"

  bool met_by(Percent aggregate) const { return or_more ? aggregate >= threshold : aggregate > threshold; }
  std::string text() const;  // ">= 50.0 %"
  bool operator==(const OwnershipRule&) const = default;
};

// Why an entity counts as listed.
struct Listing {
  std::string list;            // the list that names it; empty: by its owners
  int step = 0;                // 0: named; n: reached in the n-th step
  Percent aggregate;           // of `through`
  std::vector<Stake> through;  // its owners that counted as listed before this step
};

// Entity -> why, for every entity that counts as listed.
using Listings = std::map<std::string, Listing, std::less<>>;

// `named`: who stands on a list, and on which. Linear in the number of stakes.
Listings listed_entities(const OwnershipGraph& graph, const std::map<std::string, std::string, std::less<>>& named,
                         const OwnershipRule& rule);

// The chain in words, each entity once: "C: 25.0 % by A + 25.0 % by B = 50.0 % (rule >= 50.0 %); A: 50.0 % by X = …; X
// is named by the list 'sdn'". Empty when it isn't listed.
std::string explain(const Listings& listings, std::string_view entity, const OwnershipRule& rule);

}  // namespace retort::callers
