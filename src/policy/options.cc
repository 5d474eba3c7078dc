#include "policy/options.h"

#include "policy/steps.h"

namespace retort::policy {

const recipe::MapShape<Exposure>& exposure_shape() {
  static const auto shape = recipe::MapShape<Exposure>()
                                .add("models", &Exposure::models)
                                .add("reasoning", &Exposure::reasoning, {.choices = {"full", "summary", "none"}})
                                .add("summary_model", &Exposure::summary_model)
                                .add("logprobs", &Exposure::logprobs, {.minimum = 0, .maximum = 20})
                                .add("logit_bias_with_logprobs", &Exposure::logit_bias_with_logprobs)
                                .add("n", &Exposure::n, {.minimum = 1, .maximum = 128})
                                .add("seed", &Exposure::seed)
                                .add("tools", &Exposure::tools)
                                .add("batch", &Exposure::batch)
                                .add("files", &Exposure::files)
                                .add("stored", &Exposure::stored)
                                .add("embeddings", &Exposure::embeddings)
                                .add("other_paths", &Exposure::other_paths)
                                .add("max_output_tokens", &Exposure::max_output_tokens, {.minimum = 1})
                                .add("excess", &Exposure::excess, {.choices = {"withhold", "refuse"}});
  return shape;
}

const recipe::MapShape<Limits>& limits_shape() {
  static const auto shape = recipe::MapShape<Limits>()
                                .add("requests_per_minute", &Limits::requests_per_minute, {.minimum = 1})
                                .add("tokens_per_minute", &Limits::tokens_per_minute, {.minimum = 1})
                                .add("usd_per_day", &Limits::usd_per_day, {.minimum = 0});
  return shape;
}

const recipe::MapShape<TierPolicy>& tier_shape() {
  static const auto shape =
      recipe::MapShape<TierPolicy>().add("expose", &TierPolicy::expose).add("limits", &TierPolicy::limits);
  return shape;
}

const recipe::MapShape<Price>& price_shape() {
  static const auto shape = recipe::MapShape<Price>()
                                .add("input_per_mtok", &Price::input_per_mtok, {.minimum = 0, .required = true})
                                .add("output_per_mtok", &Price::output_per_mtok, {.minimum = 0, .required = true})
                                .add("cached_input_per_mtok", &Price::cached_input_per_mtok, {.minimum = 0})
                                .add("cache_write_per_mtok", &Price::cache_write_per_mtok, {.minimum = 0})
                                .add("max_output_tokens", &Price::max_output_tokens, {.minimum = 1})
                                .add("batch_factor", &Price::batch_factor, {.minimum = 0, .maximum = 1});
  return shape;
}

const recipe::MapShape<StepOptions>& step_shape() {
  static const auto shape =
      recipe::MapShape<StepOptions>()
          .add("automatic_up_to", &StepOptions::automatic_up_to,
               {.choices = {"flag", "slow", "strip_logprobs", "strip_reasoning", "cap", "ask_verification"}})
          .add("slow_ms", &StepOptions::slow_ms, {.minimum = 1, .maximum = 60'000})
          .add("cap_share", &StepOptions::cap_share, {.minimum = 0, .maximum = 1, .above_minimum = true});
  return shape;
}

const recipe::MapShape<FailModes>& fail_shape() {
  static const std::vector<std::string> modes = {"open", "closed"};
  static const auto shape = recipe::MapShape<FailModes>().add("network", &FailModes::network, {.choices = modes});
  return shape;
}

const recipe::OptionSet<PolicyOptions>& policy_option_set() {
  static const auto set =
      recipe::OptionSet<PolicyOptions>("", "What each tier may have.")
          .add("tiers", &PolicyOptions::tiers,
               {.help = "What a tier exposes and how much of it, by the tier's name; built in are anonymous, verified, "
                        "attested_reseller and own. A caller whose tier isn't here is refused."})
          .add("prices", &PolicyOptions::prices,
               {.help = "What models cost, by name; needed where a tier has usd_per_day."})
          .add("steps", &PolicyOptions::steps, {.help = "How steps of response work."})
          .add("fail", &PolicyOptions::fail,
               {.help = "Whether requests pass (open) or are refused (closed) while a filter can't do its work."})
          .check([](const PolicyOptions& options, recipe::Problems& problems) {
            for (const auto& [name, tier] : options.tiers) {
              if (tier.expose.reasoning == "summary" && tier.expose.summary_model.empty()) {
                problems.add("tiers", "asks in '" + name +
                                          "' for summaries of reasoning without saying who writes them; expected "
                                          "expose.summary_model, a model of one of the upstreams");
              }
              if (!tier.limits.usd_per_day) continue;
              if (options.prices.empty()) {
                problems.add("prices",
                             "is empty while tier '" + name + "' has usd_per_day; expected the models' prices");
              }
              for (const auto& [model, price] : options.prices) {
                if (tier.expose.max_output_tokens || price.max_output_tokens) continue;
                problems.add("prices",
                             "gives '" + model + "' no max_output_tokens, and tier '" + name +
                                 "' has none either; with usd_per_day one of them must bound what an answer costs");
              }
            }
          });
  return set;
}

}  // namespace retort::policy
