// What a policy may say: tiers with what they expose and how much, prices, steps. Read from guard.yaml.
//
// Plain values; the shapes are immutable. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "recipe/map_shape.h"
#include "recipe/option_set.h"

namespace retort::policy {

// What a tier may have. What it may not is withheld or refused, and said to the caller.
struct Exposure {
  bool operator==(const Exposure&) const = default;
  std::vector<std::string> models;        // names or prefixes with '*'; empty: every model of the upstreams
  std::string reasoning = "full";         // full | summary | none: texts of reasoning; opaque blobs are sealed
  std::string summary_model;              // for `summary`: the upstream model that writes it
  std::int64_t logprobs = 0;              // alternatives a place; 0: none at all
  bool logit_bias_with_logprobs = false;  // both together give the logits away
  std::int64_t n = 1;                     // completions a request
  bool seed = true;
  bool tools = true;
  bool batch = false;   // /v1/batches, /v1/messages/batches
  bool files = false;   // uploads, which batches are made of
  bool stored = false;  // answers kept by the provider and fetched again
  bool embeddings = true;
  bool other_paths = false;                       // what this program doesn't know under /v1/
  std::optional<std::int64_t> max_output_tokens;  // of one answer, reasoning with it
  std::string excess = "withhold";                // withhold | refuse: what happens to a wish beyond it
};

struct Limits {
  bool operator==(const Limits&) const = default;
  std::optional<std::int64_t> requests_per_minute;
  std::optional<std::int64_t> tokens_per_minute;  // input and output, as upstream counts them
  std::optional<double> usd_per_day;              // UTC days; settled and reserved together never exceed it
};

struct TierPolicy {
  Exposure expose;
  Limits limits;
};

struct Price {
  double input_per_mtok = 0;                      // US dollars a million tokens
  std::optional<double> cached_input_per_mtok;    // read from the provider's cache; absent: as other input
  std::optional<double> cache_write_per_mtok;     // written into it; absent: as other input
  double output_per_mtok = 0;                     // reasoning is output
  std::optional<std::int64_t> max_output_tokens;  // of one answer, where neither request nor tier bounds it
  double batch_factor = 1;                        // what tokens of batches cost, of the prices above
};

struct StepOptions {
  bool operator==(const StepOptions&) const = default;
  std::string automatic_up_to = "ask_verification";  // the strongest step that may be taken without a person
  std::int64_t slow_ms = 2000;                       // what `slow` waits before a request is sent on
  double cap_share = 0.1;                            // what `cap` leaves of a tier's limits
};

// Whether a filter that fails lets pass: a filter that fails is not a decision.
struct FailModes {
  bool operator==(const FailModes&) const = default;
  std::string network = "open";
};

const recipe::MapShape<Exposure>& exposure_shape();
const recipe::MapShape<Limits>& limits_shape();
const recipe::MapShape<TierPolicy>& tier_shape();
const recipe::MapShape<Price>& price_shape();
const recipe::MapShape<StepOptions>& step_shape();
const recipe::MapShape<FailModes>& fail_shape();

struct PolicyOptions {
  std::map<std::string, TierPolicy> tiers;
  std::map<std::string, Price> prices;
  StepOptions steps;
  FailModes fail;
};
const recipe::OptionSet<PolicyOptions>& policy_option_set();

}  // namespace retort::policy

namespace retort::recipe {
template <>
struct Codec<policy::Exposure> : MapCodec<policy::Exposure, &policy::exposure_shape> {};
template <>
struct Codec<policy::Limits> : MapCodec<policy::Limits, &policy::limits_shape> {};
template <>
struct Codec<policy::StepOptions> : MapCodec<policy::StepOptions, &policy::step_shape> {};
template <>
struct Codec<policy::FailModes> : MapCodec<policy::FailModes, &policy::fail_shape> {};
template <>
struct Codec<std::map<std::string, policy::TierPolicy>> : NamedMapCodec<policy::TierPolicy, &policy::tier_shape> {};
template <>
struct Codec<std::map<std::string, policy::Price>> : NamedMapCodec<policy::Price, &policy::price_shape> {};
}  // namespace retort::recipe
