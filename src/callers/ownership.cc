#include "callers/ownership.h"

#include <deque>
#include <set>
#include <unordered_map>
#include <utility>

namespace retort::callers {

Result<void> OwnershipGraph::set_owners(const std::string& entity, std::vector<Stake> owners) {
  Percent sum;
  std::set<std::string_view> seen;
  for (const Stake& stake : owners) {
    if (stake.owner.empty())
      return caller_error("An owner of '" + entity + "' has no name; give every stake its owner.");
    if (stake.percent == Percent()) {
      return caller_error("'" + stake.owner + "' owns 0 % of '" + entity + "'; leave out who owns nothing.");
    }
    if (!seen.insert(stake.owner).second) {
      return caller_error("'" + stake.owner + "' is named twice among the owners of '" + entity +
                          "'; add their stakes up.");
    }
    sum += stake.percent;
  }
  if (sum > Percent::whole(100)) {
    return caller_error("The owners of '" + entity + "' have " + sum.text() +
                        " % together; expected at most 100. Correct the stakes.");
  }
  if (owners.empty()) {
    owners_.erase(entity);
  } else {
    owners_[entity] = std::move(owners);
  }
  return {};
}

std::string OwnershipRule::text() const { return (or_more ? ">= " : "> ") + threshold.text() + " %"; }

Listings listed_entities(const OwnershipGraph& graph, const std::map<std::string, std::string, std::less<>>& named,
                         const OwnershipRule& rule) {
  struct Holding {
    std::string_view entity;
    Percent percent;
  };
  std::unordered_map<std::string_view, std::vector<Holding>> holdings;  // by owner
  for (const auto& [entity, owners] : graph.owners()) {
    for (const Stake& stake : owners) holdings[stake.owner].push_back({entity, stake.percent});
  }

  Listings listings;
  std::vector<std::string_view> fresh;  // listed in the step before
  for (const auto& [entity, list] : named) {
    listings[entity] = Listing{.list = list, .step = 0, .aggregate = {}, .through = {}};
    fresh.push_back(entity);
  }
  std::unordered_map<std::string_view, Listing> counted;  // of entities that aren't listed yet
  for (int step = 1; !fresh.empty(); ++step) {
    std::set<std::string_view> touched;
    for (const std::string_view owner : fresh) {
      const auto held = holdings.find(owner);
      if (held == holdings.end()) continue;
      for (const Holding& holding : held->second) {
        if (listings.contains(holding.entity)) continue;
        Listing& so_far = counted[holding.entity];
        so_far.aggregate += holding.percent;
        so_far.through.push_back({std::string(owner), holding.percent});
        touched.insert(holding.entity);
      }
    }
    fresh.clear();
    // All of a step is judged by what held before it: the chain of a listing never leads back to itself.
    for (const std::string_view entity : touched) {
      Listing& so_far = counted[entity];
      if (!rule.met_by(so_far.aggregate)) continue;
      so_far.step = step;
      listings.emplace(entity, std::move(so_far));
      fresh.push_back(entity);
    }
  }
  return listings;
}

std::string explain(const Listings& listings, std::string_view entity, const OwnershipRule& rule) {
  std::string text;
  std::set<std::string, std::less<>> said;
  std::deque<std::string> next = {std::string(entity)};
  while (!next.empty()) {
    const std::string name = std::move(next.front());
    next.pop_front();
    const auto found = listings.find(name);
    if (found == listings.end() || !said.insert(name).second) continue;
    const Listing& listing = found->second;
    if (!text.empty()) text += "; ";
    if (listing.step == 0) {
      text += name + " is named by the list '" + listing.list + "'";
      continue;
    }
    text += name + ": ";
    for (const Stake& stake : listing.through) {
      if (&stake != &listing.through.front()) text += " + ";
      text += stake.percent.text() + " % by " + stake.owner;
      next.push_back(stake.owner);
    }
    text += " = " + listing.aggregate.text() + " % (rule " + rule.text() + ")";
  }
  return text;
}

}  // namespace retort::callers
