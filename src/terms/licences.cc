// What is known about licences of open weights used as a teacher. Facts in our own words; `source` says where the text
// stands, `read_on` when it was read, `primary` whether the licence itself was read or only quotations of it.

#include "base/text.h"
#include "terms/terms.h"

namespace retort::terms {
namespace {

constexpr std::string_view kReadOn = "2026-11-21";

const std::vector<Licence>& table() {
  using enum Verdict;
  static const std::vector<Licence> licences_known = {
      {.id = "apache-2.0",
       .name = "Apache License 2.0",
       .aliases = {"apache", "apache2", "apache-2", "apache license 2.0", "apache license, version 2.0",
                   "apache license version 2.0"},
       .outputs = kAllowed,
       .derivative = kAllowedWithObligations,
       .clause = "Sections 2 and 4: use, modification and redistribution are permitted; what the model puts out is not "
                 "restricted.",
       .obligations = {"Ship a copy of the Apache License 2.0 with the student.",
                       "State that the files were changed, and keep copyright, patent and attribution notices and the "
                       "NOTICE file if there is one."},
       .source = "https://www.apache.org/licenses/LICENSE-2.0",
       .read_on = kReadOn,
       .primary = true},
      {.id = "mit",
       .name = "MIT License",
       .aliases = {"mit license", "expat"},
       .outputs = kAllowed,
       .derivative = kAllowedWithObligations,
       .clause = "Use, modification and redistribution are permitted; what the model puts out is not restricted "
                 "(DeepSeek-R1's page names distillation as allowed).",
       .obligations = {"Ship the copyright notice and the MIT permission notice with the student."},
       .source = "https://opensource.org/license/mit; deepseek-ai/DeepSeek-R1 README section 7",
       .read_on = kReadOn,
       .primary = true},
      {.id = "llama2",
       .name = "Llama 2 Community License",
       .aliases = {"llama-2", "llama 2", "llama 2 community license", "llama2 community license"},
       .outputs = kRefused,
       .derivative = kAllowedWithObligations,
       .clause = "Materials and outputs must not improve any other large language model, except Llama 2 and its "
                 "derivatives.",
       .obligations = {"Ship the agreement and its notice file.",
                       "A separate licence is needed above 700 million monthly active users."},
       .source = "meta-llama/llama-models: models/llama2/LICENSE",
       .read_on = kReadOn,
       .primary = true},
      {.id = "llama3",
       .name = "Meta Llama 3 Community License",
       .aliases = {"llama-3", "llama 3", "llama 3 community license", "meta llama 3 community license"},
       .outputs = kRefused,
       .derivative = kAllowedWithObligations,
       .clause = "Materials and outputs must not improve any other large language model, except Llama 3 and its "
                 "derivatives.",
       .obligations = {"The student's name starts with \"Llama 3\".", "Show \"Built with Meta Llama 3\".",
                       "Ship the agreement and its notice file.",
                       "A separate licence is needed above 700 million monthly active users."},
       .source = "meta-llama/llama-models: models/llama3/LICENSE",
       .read_on = kReadOn,
       .primary = true},
      {.id = "llama3.1",
       .name = "Llama 3.1 Community License",
       .aliases = {"llama-3.1", "llama 3.1", "llama 3.1 community license"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause =
           "Materials or outputs may create or improve another model that is distributed, if its name starts with "
           "\"Llama\".",
       .obligations = {"The student's name starts with \"Llama\".",
                       "Products that contain the materials show \"Built with Llama\".",
                       "Ship the agreement and its notice file.",
                       "A separate licence is needed above 700 million monthly active users."},
       .source = "meta-llama/llama-models: models/llama3_1/LICENSE",
       .read_on = kReadOn,
       .primary = true},
      {.id = "llama3.2",
       .name = "Llama 3.2 Community License",
       .aliases = {"llama-3.2", "llama 3.2", "llama 3.2 community license"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause = "As Llama 3.1; the use policy withholds the multimodal models from the EU.",
       .obligations = {"The student's name starts with \"Llama\".",
                       "Products that contain the materials show \"Built with Llama\".",
                       "Ship the agreement and its notice file.",
                       "A separate licence is needed above 700 million monthly active users."},
       .source = "meta-llama/llama-models: models/llama3_2/LICENSE, USE_POLICY.md",
       .read_on = kReadOn,
       .primary = true},
      {.id = "llama3.3",
       .name = "Llama 3.3 Community License",
       .aliases = {"llama-3.3", "llama 3.3", "llama 3.3 community license"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause = "As Llama 3.1; the use policy withholds multimodal models from the EU.",
       .obligations = {"The student's name starts with \"Llama\".",
                       "Products that contain the materials show \"Built with Llama\".",
                       "Ship the agreement and its notice file.",
                       "A separate licence is needed above 700 million monthly active users."},
       .source = "meta-llama/llama-models: models/llama3_3/LICENSE, USE_POLICY.md",
       .read_on = kReadOn,
       .primary = true},
      {.id = "llama4",
       .name = "Llama 4 Community License",
       .aliases = {"llama-4", "llama 4", "llama 4 community license"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause = "As Llama 3.1; the use policy withholds multimodal models from the EU.",
       .obligations = {"The student's name starts with \"Llama\".",
                       "Products that contain the materials show \"Built with Llama\".",
                       "Ship the agreement and its notice file.",
                       "A separate licence is needed above 700 million monthly active users."},
       .source = "meta-llama/llama-models: models/llama4/LICENSE, USE_POLICY.md",
       .read_on = kReadOn,
       .primary = true},
      {.id = "gemma",
       .name = "Gemma Terms of Use (Gemma 1 to 3n)",
       .aliases = {"gemma terms", "gemma terms of use", "gemma license"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause =
           "A student made by distillation or from synthetic data is a Model Derivative and falls under the terms; "
           "outputs alone do not. Google may restrict use.",
       .obligations = {"Pass the use restrictions on as enforceable terms.", "Ship the terms and the notice."},
       .source = "https://ai.google.dev/gemma/terms (last modified 2026-04-01; read in public copies)",
       .read_on = kReadOn,
       .primary = false},
      {.id = "deepseek",
       .name = "DeepSeek Model License 1.0",
       .aliases = {"deepseek-license", "deepseek license", "deepseek model license", "deepseek license agreement"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause = "Distilled students are Derivatives of the Model: its use restrictions flow down to them.",
       .obligations = {"Include the use restrictions in the student's terms.", "Ship the licence."},
       .source = "DeepSeek License Agreement 1.0; https://deepseeklicense.github.io",
       .read_on = kReadOn,
       .primary = false},
      {.id = "qwen",
       .name = "Qwen License (e.g. Qwen2.5-72B)",
       .aliases = {"qwen license", "qwen-license", "qwen license agreement"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause = "Models built or improved with Qwen or its outputs may be distributed if they say so.",
       .obligations = {"Say \"Built with Qwen\" or \"Improved using Qwen\" in the documentation.",
                       "A separate licence is needed above 100 million monthly active users."},
       .source = "Qwen2.5-72B LICENSE (read in quotations)",
       .read_on = kReadOn,
       .primary = false},
      {.id = "qwen-research",
       .name = "Qwen Research License (e.g. Qwen2.5-3B)",
       .aliases = {"qwen research license", "qwen research license agreement"},
       .outputs = kNeedsAuthorisation,
       .derivative = kNeedsAuthorisation,
       .clause = "Non-commercial research only.",
       .obligations = {"Use the student for non-commercial research only.",
                       "Say \"Built with Qwen\" or \"Improved using Qwen\" in the documentation."},
       .source = "Qwen2.5-3B LICENSE (read in quotations)",
       .read_on = kReadOn,
       .primary = false},
      {.id = "tongyi-qianwen",
       .name = "Tongyi Qianwen License Agreement (2023)",
       .aliases = {"tongyi qianwen license agreement", "tongyi-qianwen-research", "tongyi qianwen"},
       .outputs = kRefused,
       .derivative = kAllowedWithObligations,
       .clause =
           "5.b: materials and outputs must not improve any other large language model, except Tongyi Qianwen and "
           "its derivatives.",
       .obligations = {"Ship the agreement and its notice file.",
                       "A separate licence is needed above 100 million monthly active users."},
       .source = "QwenLM/Qwen: Tongyi Qianwen LICENSE AGREEMENT",
       .read_on = kReadOn,
       .primary = true},
      {.id = "mrl",
       .name = "Mistral AI Research License",
       .aliases = {"mistral research license", "mistral ai research license", "mistral-research"},
       .outputs = kNeedsAuthorisation,
       .derivative = kNeedsAuthorisation,
       .clause = "Research only: models, derivatives and outputs.",
       .obligations = {"Use the student for research only, or have a licence from Mistral AI."},
       .source = "https://mistral.ai/licenses (read in quotations)",
       .read_on = kReadOn,
       .primary = false},
      {.id = "mnpl",
       .name = "Mistral AI Non-Production License",
       .aliases = {"mistral non-production license", "mistral ai non-production license"},
       .outputs = kNeedsAuthorisation,
       .derivative = kNeedsAuthorisation,
       .clause = "Non-production use only; outputs are not derivatives.",
       .obligations = {"Keep the student out of production, or have a licence from Mistral AI."},
       .source = "https://mistral.ai/licenses (read in quotations)",
       .read_on = kReadOn,
       .primary = false},
      {.id = "nvidia-open-model",
       .name = "NVIDIA Nemotron Open Model License",
       .aliases = {"nvidia-open-model-license", "nvidia open model license", "nvidia nemotron open model license"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause = "Derivatives are permitted; NVIDIA claims nothing in outputs.",
       .obligations = {"Ship the notice that begins \"Licensed by NVIDIA\"."},
       .source = "licence of 2025-12-15 (read in quotations)",
       .read_on = kReadOn,
       .primary = false},
      {.id = "modified-mit",
       .name = "Modified MIT (Kimi K2)",
       .aliases = {"modified mit", "kimi-modified-mit"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause = "MIT, with attribution in the user interface of very large products.",
       .obligations =
           {"Above 100 million monthly active users or 20 million US dollars a month, show the model's name in "
            "the user interface.",
            "Ship the copyright and permission notice."},
       .source = "licence text (read in quotations)",
       .read_on = kReadOn,
       .primary = false},
      {.id = "tencent-hunyuan",
       .name = "Tencent Hunyuan Community License",
       .aliases = {"tencent-hunyuan-community", "hunyuan", "tencent hunyuan community license agreement"},
       .outputs = kAllowedWithObligations,
       .derivative = kAllowedWithObligations,
       .clause = "A student trained on outputs is a Model Derivative and falls under the agreement.",
       .obligations = {"Pass the agreement and its use restrictions on."},
       .source = "licence text in Tencent's public repositories",
       .read_on = kReadOn,
       .primary = false},
  };
  return licences_known;
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

std::span<const Licence> licences() { return table(); }

const Licence* find_licence(std::string_view text) {
  const std::string key = key_of(text);
  if (key.empty()) return nullptr;
  for (const Licence& licence : table()) {
    if (key_of(licence.id) == key) return &licence;
    for (const std::string_view alias : licence.aliases) {
      if (key_of(alias) == key) return &licence;
    }
  }
  return nullptr;
}

}  // namespace retort::terms
