// Licences of open weights, in our own words. `date` is the text's own where it has one, else the day it was read.

#include "base/text.h"
#include "terms/facts.h"

namespace retort::terms {
namespace {

using enum Verdict;
using enum ObligationKind;
using enum Purpose;

constexpr std::string_view kRead = "2026-11-21";
constexpr std::int64_t kMetaUsers = 700'000'000;
constexpr std::int64_t kAlibabaUsers = 100'000'000;
constexpr std::string_view kShipped = "the model, or a product that contains it, is made available to others";
constexpr std::string_view kPassedOn = "the model is passed on";

std::vector<Text> permissive() {
  return {
      {.id = "apache-2.0",
       .name = "Apache License 2.0",
       .aliases = {"apache", "apache2", "apache-2", "apache license 2.0", "apache license, version 2.0",
                   "apache license version 2.0"},
       .rules = {{.verdict = kAllowed,
                  .quote = "Sections 2 and 4: use, change and redistribution are permitted; what the model puts out is "
                           "not restricted."}},
       .duties = {{.kind = kNotice,
                   .value = "Ship a copy of the Apache License 2.0, say that the files were changed, and keep the "
                            "copyright, patent and attribution notices and the NOTICE file if there is one.",
                   .binds = kPassedOn}},
       .source = "https://www.apache.org/licenses/LICENSE-2.0",
       .date = "2004-01-01",
       .primary = true},
      {.id = "mit",
       .name = "MIT License",
       .aliases = {"mit license", "expat"},
       .rules = {{.verdict = kAllowed,
                  .quote = "Use, change and redistribution are permitted; what the model puts out is not restricted. "
                           "DeepSeek-R1's page names distillation for training other models."}},
       .duties = {{.kind = kNotice,
                   .value = "Ship the copyright line and the MIT permission notice.",
                   .binds = kPassedOn}},
       .source = "https://opensource.org/license/mit; deepseek-ai/DeepSeek-R1: README.md section 7",
       .date = kRead,
       .primary = true},
      {.id = "nvidia-open-model",
       .name = "NVIDIA Nemotron Open Model License",
       .aliases = {"nvidia-open-model-license", "nvidia open model license", "nvidia nemotron open model license"},
       .rules = {{.verdict = kAllowed, .quote = "Derivatives are permitted; NVIDIA claims nothing in outputs."}},
       .duties = {{.kind = kNotice,
                   .value = "Ship the agreement and the notice that begins \"Licensed by NVIDIA\".",
                   .binds = kPassedOn}},
       .source = "NVIDIA Nemotron Open Model License (read in public notes)",
       .date = "2025-12-15"},
      {.id = "modified-mit",
       .name = "Modified MIT (Kimi K2)",
       .aliases = {"modified mit", "kimi-modified-mit", "kimi-k2"},
       .rules = {{.verdict = kAllowed,
                  .quote = "MIT, with the model's name in the user interface of very large products."}},
       .duties = {{.kind = kDisplay,
                   .value = "Kimi K2",
                   .binds = "the product has more than 100 million monthly users or earns more than USD 20 million a "
                            "month: in its user interface"},
                  {.kind = kNotice, .value = "Ship the copyright line and the permission notice.", .binds = kPassedOn}},
       .source = "Kimi K2, modified MIT licence (read in public notes)",
       .date = kRead},
      {.id = "minimax-m2",
       .name = "MiniMax-M2 licence (modified MIT)",
       .aliases = {"minimax", "minimax-m2-license"},
       .rules = {{.verdict = kAllowed,
                  .quote = "MIT, with the model's name in the user interface of products of very large companies."}},
       .duties = {{.kind = kDisplay,
                   .value = "MiniMax M2",
                   .binds = "the product earns more than USD 30 million a year: in its user interface"},
                  {.kind = kNotice, .value = "Ship the copyright line and the permission notice.", .binds = kPassedOn}},
       .source = "MiniMax-M2 licence (read in public notes)",
       .date = kRead},
  };
}

// Llama 2 and Llama 3: outputs improve no other model.
Text closed_llama(std::string_view id, std::string_view name, std::vector<std::string_view> aliases,
                  std::string_view source, std::string_view date) {
  return {
      .id = id,
      .name = name,
      .aliases = std::move(aliases),
      .rules = {{.when = {.derivative = false},
                 .verdict = kRefused,
                 .quote = "Materials and outputs must not improve any other large language model, except this Llama "
                          "and its derivatives."},
                {.when = {.users_above = kMetaUsers},
                 .verdict = kNeedsAuthorisation,
                 .quote = "Above 700 million monthly active users a licence must be asked of Meta."},
                {.verdict = kAllowed,
                 .quote = "Derivatives may be made, used and distributed under the agreement, and improved with "
                          "its outputs."}},
      .duties = {{.kind = kNotice,
                  .value = "Ship a copy of the agreement, and a file named Notice with Meta's attribution line.",
                  .binds = kShipped},
                 {.kind = kMauLimit,
                  .value = "700000000",
                  .quote = "Above 700 million monthly active users a licence must be asked of Meta."}},
      .source = source,
      .date = date,
      .primary = true};
}

// Llama 3.1 and later: outputs may, and the name says so. `eu`: its use policy limits multimodal models there.
Text open_llama(std::string_view id, std::string_view name, std::vector<std::string_view> aliases,
                std::string_view source, std::string_view date, bool eu) {
  Text text = {
      .id = id,
      .name = name,
      .aliases = std::move(aliases),
      .rules = {{.when = {.users_above = kMetaUsers},
                 .verdict = kNeedsAuthorisation,
                 .quote = "Above 700 million monthly active users a licence must be asked of Meta."},
                {.verdict = kAllowed,
                 .quote = "Materials and outputs may create or improve another model; one that is distributed starts "
                          "its name with \"Llama\"."}},
      .duties = {{.when = {.distributed = true}, .kind = kNamePrefix, .value = "Llama"},
                 {.when = {.derivative = true},
                  .kind = kDisplay,
                  .value = "Built with Llama",
                  .binds = kShipped,
                  .quote =
                      "Products that contain the materials show \"Built with Llama\" and carry the agreement and a "
                      "Notice file."},
                 {.when = {.derivative = true},
                  .kind = kNotice,
                  .value = "Ship a copy of the agreement, and a file named Notice with Meta's attribution line.",
                  .binds = kShipped},
                 {.kind = kMauLimit,
                  .value = "700000000",
                  .quote = "Above 700 million monthly active users a licence must be asked of Meta."}},
      .source = source,
      .date = date,
      .primary = true};
  if (eu) {
    text.rules.insert(text.rules.begin(),
                      {.when = {.multimodal = true, .regions = {"EU"}},
                       .verdict = kRefused,
                       .quote = "The use policy grants no rights in the multimodal models to people "
                                "and companies of the European Union."});
  }
  return text;
}

std::vector<Text> llama() {
  Text llama3 = closed_llama("llama3", "Meta Llama 3 Community License",
                             {"llama-3", "llama 3", "llama 3 community license", "meta llama 3 community license"},
                             "meta-llama/llama-models: models/llama3/LICENSE", "2024-04-18");
  llama3.duties.insert(llama3.duties.begin(),
                       {{.when = {.distributed = true},
                         .kind = kNamePrefix,
                         .value = "Llama 3",
                         .quote = "A distributed model made with the materials starts its name with \"Llama 3\"."},
                        {.kind = kDisplay, .value = "Built with Meta Llama 3", .binds = kShipped}});
  return {
      closed_llama("llama2", "Llama 2 Community License",
                   {"llama-2", "llama 2", "llama 2 community license", "llama2 community license"},
                   "meta-llama/llama-models: models/llama2/LICENSE", "2023-07-18"),
      std::move(llama3),
      open_llama("llama3.1", "Llama 3.1 Community License", {"llama-3.1", "llama 3.1", "llama 3.1 community license"},
                 "meta-llama/llama-models: models/llama3_1/LICENSE", "2024-07-23", false),
      open_llama("llama3.2", "Llama 3.2 Community License", {"llama-3.2", "llama 3.2", "llama 3.2 community license"},
                 "meta-llama/llama-models: models/llama3_2/LICENSE, USE_POLICY.md", "2024-09-25", true),
      open_llama("llama3.3", "Llama 3.3 Community License", {"llama-3.3", "llama 3.3", "llama 3.3 community license"},
                 "meta-llama/llama-models: models/llama3_3/LICENSE, USE_POLICY.md", "2024-12-06", true),
      open_llama("llama4", "Llama 4 Community License", {"llama-4", "llama 4", "llama 4 community license"},
                 "meta-llama/llama-models: models/llama4/LICENSE, USE_POLICY.md", "2025-04-05", true)};
}

std::vector<Text> alibaba() {
  constexpr std::string_view kDisplayed = "Built with Qwen";
  constexpr std::string_view kWhere =
      "the model is distributed: in its documentation (\"Improved using Qwen\" is as good)";
  constexpr std::string_view kAbove =
      "Above 100 million monthly active users a licence must be asked of Alibaba Cloud.";
  return {
      {.id = "qwen",
       .name = "Qwen License (Qwen2.5-72B)",
       .aliases = {"qwen license", "qwen-license", "qwen license agreement"},
       .rules = {{.when = {.users_above = kAlibabaUsers}, .verdict = kNeedsAuthorisation, .quote = kAbove},
                 {.verdict = kAllowed,
                  .quote = "Models built or improved with Qwen or its outputs may be distributed if they say so."}},
       .duties = {{.kind = kDisplay, .value = kDisplayed, .binds = kWhere},
                  {.kind = kNotice,
                   .value = "Ship a copy of the agreement and its attribution line in a Notice file.",
                   .binds = kPassedOn},
                  {.kind = kMauLimit, .value = "100000000", .quote = kAbove}},
       .source = "Qwen2.5-72B LICENSE (read in quotations)",
       .date = "2024-09-19"},
      {.id = "qwen-research",
       .name = "Qwen Research License (Qwen2.5-3B)",
       .aliases = {"qwen research license", "qwen research license agreement"},
       .rules = {{.when = {.commercial = true}, .verdict = kRefused, .quote = "Non-commercial use only."},
                 {.when = {.purposes = {kProduct}}, .verdict = kRefused, .quote = "Non-commercial use only."},
                 {.verdict = kAllowed, .quote = "Non-commercial use only; models improved with it say so."}},
       .duties = {{.kind = kDisplay, .value = kDisplayed, .binds = kWhere},
                  {.kind = kNotice,
                   .value = "Ship a copy of the agreement and its attribution line in a Notice file; the student too "
                            "is for non-commercial use only.",
                   .binds = kPassedOn}},
       .source = "Qwen2.5-3B LICENSE (read in quotations)",
       .date = "2024-09-19"},
      {.id = "tongyi-qianwen",
       .name = "Tongyi Qianwen License Agreement (2023)",
       .aliases = {"tongyi qianwen license agreement", "tongyi qianwen"},
       .rules = {{.when = {.derivative = false},
                  .verdict = kRefused,
                  .quote = "5.b: materials and outputs must not improve any other large language model, except Tongyi "
                           "Qianwen and its derivatives."},
                 {.when = {.users_above = kAlibabaUsers}, .verdict = kNeedsAuthorisation, .quote = kAbove},
                 {.verdict = kAllowed, .quote = "5.b excepts Tongyi Qianwen and its derivatives."}},
       .duties = {{.kind = kNotice, .value = "Ship a copy of the agreement and its Notice file.", .binds = kPassedOn},
                  {.kind = kMauLimit, .value = "100000000", .quote = kAbove}},
       .source = "QwenLM/Qwen: Tongyi Qianwen LICENSE AGREEMENT",
       .date = "2023-08-03",
       .primary = true},
  };
}

std::vector<Text> mistral() {
  constexpr std::string_view kResearch = "Research only: models, derivatives and outputs.";
  constexpr std::string_view kNonProduction = "Non-production use only; outputs are not derivatives.";
  return {
      {.id = "mrl",
       .name = "Mistral AI Research License",
       .aliases = {"mistral research license", "mistral ai research license", "mistral-research",
                   "mistral-ai-research-license"},
       .rules = {{.when = {.commercial = true}, .verdict = kRefused, .quote = kResearch},
                 {.when = {.purposes = {kInternal, kProduct, kClassifier}}, .verdict = kRefused, .quote = kResearch},
                 {.verdict = kAllowed, .quote = kResearch}},
       .duties = {{.kind = kNotice,
                   .value = "Ship a copy of the licence; the student and what it puts out are for research only.",
                   .binds = kPassedOn}},
       .source = "https://mistral.ai/licenses (read in public notes)",
       .date = kRead},
      {.id = "mnpl",
       .name = "Mistral AI Non-Production License",
       .aliases = {"mistral non-production license", "mistral ai non-production license", "mnpl-0.1"},
       .rules = {{.when = {.derivative = true, .commercial = true}, .verdict = kRefused, .quote = kNonProduction},
                 {.when = {.derivative = true, .purposes = {kProduct}}, .verdict = kRefused, .quote = kNonProduction},
                 {.when = {.commercial = true}, .verdict = kNeedsAuthorisation, .quote = kNonProduction},
                 {.when = {.purposes = {kProduct}}, .verdict = kNeedsAuthorisation, .quote = kNonProduction},
                 {.verdict = kAllowed, .quote = kNonProduction}},
       .duties = {{.kind = kNotice, .value = "Ship a copy of the licence and its notices.", .binds = kPassedOn}},
       .source = "https://mistral.ai/licenses (read in public notes)",
       .date = kRead},
  };
}

// A student trained on outputs is itself a derivative: restrictions of use flow down to it.
std::vector<Text> flowing_down() {
  constexpr std::string_view kTerritory = "The licence isn't given for the EU, the United Kingdom and South Korea.";
  constexpr std::string_view kTencentUsers =
      "Above 100 million monthly active users a licence must be asked of Tencent.";
  return {
      {.id = "gemma",
       .name = "Gemma Terms of Use (Gemma 1 to 3n)",
       .aliases = {"gemma terms", "gemma terms of use", "gemma license"},
       .rules = {{.verdict = kAllowed,
                  .quote = "A student made by distillation or from synthetic data is a Model Derivative and stands "
                           "under the terms; outputs alone do not. Google may restrict use."}},
       .duties = {{.kind = kPassThrough,
                   .value =
                       "Pass the use restrictions of the Gemma terms on, as terms that can be enforced, and hold to "
                       "them.",
                   .binds = kPassedOn},
                  {.kind = kNotice,
                   .value = "Give every recipient a copy of the Gemma terms, and ship a Notice file that names them.",
                   .binds = kPassedOn}},
       .source = "https://ai.google.dev/gemma/terms",
       .date = "2026-04-01",
       .primary = true},
      {.id = "deepseek",
       .name = "DeepSeek Model License 1.0 (DeepSeek-V3 of 2024 and earlier)",
       .aliases = {"deepseek-license", "deepseek license", "deepseek model license", "deepseek license agreement",
                   "deepseek model license 1.0"},
       .rules = {{.verdict = kAllowed,
                  .quote = "Distillation is allowed, and distilled students are Derivatives: the use restrictions flow "
                           "down to them. One site says otherwise, so read the text."}},
       .duties = {{.kind = kPassThrough,
                   .value = "Put the licence's use restrictions into the terms of the student.",
                   .binds = kPassedOn},
                  {.kind = kNotice, .value = "Ship a copy of the licence.", .binds = kPassedOn}},
       .source = "DeepSeek License Agreement 1.0; https://deepseeklicense.github.io",
       .date = kRead},
      {.id = "tencent-hunyuan",
       .name = "Tencent Hunyuan Community License",
       .aliases = {"tencent-hunyuan-community", "hunyuan", "tencent hunyuan community license agreement"},
       .rules = {{.when = {.regions = {"EU", "GB", "KR"}}, .verdict = kRefused, .quote = kTerritory},
                 {.when = {.users_above = 100'000'000}, .verdict = kNeedsAuthorisation, .quote = kTencentUsers},
                 {.verdict = kAllowed,
                  .quote = "A student trained on outputs is a Model Derivative and stands under the agreement."}},
       .duties = {{.kind = kPassThrough,
                   .value =
                       "Pass the agreement and its use restrictions on, outside the EU, the United Kingdom and South "
                       "Korea.",
                   .binds = kPassedOn,
                   .quote = kTerritory},
                  {.kind = kNotice, .value = "Ship a copy of the agreement and its notice.", .binds = kPassedOn},
                  {.kind = kMauLimit, .value = "100000000", .quote = kTencentUsers}},
       .source = "Tencent Hunyuan Community License Agreement, in Tencent's public repositories",
       .date = kRead,
       .primary = true},
  };
}

std::vector<Text> all_licences() {
  std::vector<Text> all;
  for (std::vector<Text> part : {permissive(), llama(), alibaba(), mistral(), flowing_down()}) {
    for (Text& text : part) all.push_back(std::move(text));
  }
  return all;
}

// "Apache License, Version 2.0" -> "apachelicenseversion2.0": letters, digits and dots.
std::string key_of(std::string_view text) {
  std::string key;
  for (const char c : to_lower_ascii(trim(text))) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.') key += c;
  }
  return key;
}

}  // namespace

std::span<const Text> licences() {
  static const std::vector<Text> table = all_licences();
  return table;
}

const Text* find_licence(std::string_view text) {
  const std::string key = key_of(text);
  if (key.empty()) return nullptr;
  for (const Text& licence : licences()) {
    if (key_of(licence.id) == key) return &licence;
    for (const std::string_view alias : licence.aliases) {
      if (key_of(alias) == key) return &licence;
    }
  }
  return nullptr;
}

}  // namespace retort::terms
