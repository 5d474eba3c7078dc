// Which models stand under which terms, by name. Sizes inside a family differ, so a family whose name alone doesn't say
// has no texts, and its sizes have their own rows.

#include "terms/facts.h"

namespace retort::terms {
namespace {

constexpr std::string_view kReadme = "deepseek-ai/DeepSeek-R1: README.md section 7";
constexpr std::string_view kTag = "the model's licence tag on Hugging Face (quoted in public notes)";

std::vector<Family> open_families() {
  return {
      // Meta. Also as other hosts spell the version: llama3-1, llama-v3p1.
      {.name = "llama-2", .texts = {"llama2"}},
      {.name = "llama-v2", .texts = {"llama2"}},
      {.name = "codellama", .texts = {"llama2"}},
      {.name = "code-llama", .texts = {"llama2"}},
      {.name = "llama-3", .texts = {"llama3"}},
      {.name = "llama-v3", .texts = {"llama3"}},
      {.name = "llama-3.1", .texts = {"llama3.1"}},
      {.name = "llama-3-1", .texts = {"llama3.1"}},
      {.name = "llama-v3.1", .texts = {"llama3.1"}},
      {.name = "llama-3.2", .texts = {"llama3.2"}},
      {.name = "llama-3.2", .size = "11b", .texts = {"llama3.2"}, .multimodal = true},
      {.name = "llama-3.2", .size = "90b", .texts = {"llama3.2"}, .multimodal = true},
      {.name = "llama-3-2", .texts = {"llama3.2"}},
      {.name = "llama-3-2", .size = "11b", .texts = {"llama3.2"}, .multimodal = true},
      {.name = "llama-3-2", .size = "90b", .texts = {"llama3.2"}, .multimodal = true},
      {.name = "llama-v3.2", .texts = {"llama3.2"}},
      {.name = "llama-v3.2", .size = "11b", .texts = {"llama3.2"}, .multimodal = true},
      {.name = "llama-v3.2", .size = "90b", .texts = {"llama3.2"}, .multimodal = true},
      {.name = "llama-3.3", .texts = {"llama3.3"}},
      {.name = "llama-3-3", .texts = {"llama3.3"}},
      {.name = "llama-v3.3", .texts = {"llama3.3"}},
      {.name = "llama-4", .texts = {"llama4"}, .multimodal = true},
      {.name = "llama-v4", .texts = {"llama4"}, .multimodal = true},
      {.name = "tinyllama", .texts = {"apache-2.0"}},

      // Google.
      {.name = "gemma-2b", .texts = {"gemma"}},
      {.name = "gemma-7b", .texts = {"gemma"}},
      {.name = "gemma-1", .texts = {"gemma"}},
      {.name = "gemma-1.1", .texts = {"gemma"}},
      {.name = "gemma-2", .texts = {"gemma"}},
      {.name = "gemma-3", .texts = {"gemma"}},
      {.name = "gemma-3n", .texts = {"gemma"}},
      {.name = "gemma-4",
       .texts = {"apache-2.0"},
       .source = "https://ai.google.dev/gemma/docs/gemma_4_license (quoted in public notes)"},
      {.name = "codegemma", .texts = {"gemma"}},
      {.name = "recurrentgemma", .texts = {"gemma"}},
      {.name = "shieldgemma", .texts = {"gemma"}},
      {.name = "paligemma", .texts = {"gemma"}},

      // DeepSeek.
      {.name = "deepseek-r1", .texts = {"mit"}, .maker = "deepseek", .source = kReadme, .primary = true},
      {.name = "deepseek-r1-distill-llama", .texts = {}},
      {.name = "deepseek-r1-distill-llama",
       .size = "8b",
       .texts = {"mit", "llama3.1"},
       .source = kReadme,
       .primary = true},
      {.name = "deepseek-r1-distill-llama",
       .size = "70b",
       .texts = {"mit", "llama3.3"},
       .source = kReadme,
       .primary = true},
      {.name = "deepseek-r1-distill-qwen", .texts = {"mit", "apache-2.0"}, .source = kReadme, .primary = true},
      {.name = "deepseek-v3-0324", .texts = {"mit"}, .maker = "deepseek"},
      {.name = "deepseek-v3.1", .texts = {"mit"}, .maker = "deepseek"},
      {.name = "deepseek-v3.2", .texts = {"mit"}, .maker = "deepseek"},
      {.name = "deepseek-v3", .texts = {"deepseek"}, .maker = "deepseek"},
      {.name = "deepseek-v2", .texts = {"deepseek"}, .maker = "deepseek"},
      {.name = "deepseek-v2.5", .texts = {"deepseek"}, .maker = "deepseek"},
      {.name = "deepseek-llm", .texts = {"deepseek"}},
      {.name = "deepseek-coder", .texts = {"deepseek"}},
      {.name = "deepseek-math", .texts = {"deepseek"}},
      {.name = "deepseek-moe", .texts = {"deepseek"}},

      // Alibaba.
      {.name = "qwen3", .texts = {"apache-2.0"}},
      {.name = "qwen3.5", .texts = {"apache-2.0"}},
      {.name = "qwq-32b", .texts = {"apache-2.0"}},
      {.name = "qwen2.5", .texts = {}},
      {.name = "qwen2.5", .size = "0.5b", .texts = {"apache-2.0"}},
      {.name = "qwen2.5", .size = "1.5b", .texts = {"apache-2.0"}},
      {.name = "qwen2.5", .size = "3b", .texts = {"qwen-research"}},
      {.name = "qwen2.5", .size = "7b", .texts = {"apache-2.0"}},
      {.name = "qwen2.5", .size = "14b", .texts = {"apache-2.0"}},
      {.name = "qwen2.5", .size = "32b", .texts = {"apache-2.0"}},
      {.name = "qwen2.5", .size = "72b", .texts = {"qwen"}},
      {.name = "qwen2", .texts = {}},
      {.name = "qwen2", .size = "0.5b", .texts = {"apache-2.0"}},
      {.name = "qwen2", .size = "1.5b", .texts = {"apache-2.0"}},
      {.name = "qwen2", .size = "7b", .texts = {"apache-2.0"}},
      {.name = "qwen2", .size = "72b", .texts = {"tongyi-qianwen"}},
      {.name = "qwen1.5", .texts = {}},
      {.name = "qwen1.5", .size = "7b", .texts = {"tongyi-qianwen"}},
      {.name = "qwen1.5", .size = "14b", .texts = {"tongyi-qianwen"}},
      {.name = "qwen1.5", .size = "32b", .texts = {"tongyi-qianwen"}},
      {.name = "qwen1.5", .size = "72b", .texts = {"tongyi-qianwen"}},
      {.name = "qwen1.5", .size = "110b", .texts = {"tongyi-qianwen"}},
      {.name = "qwen-7b", .texts = {"tongyi-qianwen"}},
      {.name = "qwen-14b", .texts = {"tongyi-qianwen"}},
      {.name = "qwen-72b", .texts = {"tongyi-qianwen"}},
      {.name = "tongyi-qianwen", .texts = {"tongyi-qianwen"}},
      // Served only, under terms that no table has.
      {.name = "qwen3-max", .texts = {}},
      {.name = "qwen3-plus", .texts = {}},
      {.name = "qwen3-coder-plus", .texts = {}},
      {.name = "qwen3-coder-flash", .texts = {}},
      {.name = "qwen3-vl-plus", .texts = {}},
      {.name = "qwen3-vl-flash", .texts = {}},
      {.name = "qwen3.5-plus", .texts = {}},
      {.name = "qwen3.5-flash", .texts = {}},
      {.name = "qwen3.5-max", .texts = {}},

      // Mistral.
      {.name = "mistral-7b", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "mixtral", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "mistral-nemo", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "mistral-small-24b", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "mistral-small-3.1", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "mistral-small-3.2", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "mathstral", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "pixtral-12b", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "devstral-small", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "magistral-small", .texts = {"apache-2.0"}, .maker = "mistral"},
      {.name = "mistral-large", .texts = {}, .maker = "mistral"},
      {.name = "mistral-large-instruct", .texts = {"mrl"}, .maker = "mistral"},
      {.name = "mistral-large-2407", .texts = {"mrl"}, .maker = "mistral"},
      {.name = "mistral-large-2411", .texts = {"mrl"}, .maker = "mistral"},
      {.name = "mistral-small-instruct-2409", .texts = {"mrl"}, .maker = "mistral"},
      {.name = "mistral-small-2409", .texts = {"mrl"}, .maker = "mistral"},
      {.name = "ministral-8b", .texts = {"mrl"}, .maker = "mistral"},
      {.name = "pixtral-large", .texts = {"mrl"}, .maker = "mistral"},
      {.name = "codestral-22b", .texts = {"mnpl"}, .maker = "mistral"},

      // Others.
      {.name = "smollm-135m", .texts = {"apache-2.0"}},
      {.name = "smollm-360m", .texts = {"apache-2.0"}},
      {.name = "smollm-1.7b", .texts = {"apache-2.0"}},
      {.name = "smollm2", .texts = {"apache-2.0"}},
      {.name = "smollm3", .texts = {"apache-2.0"}},
      {.name = "gpt-oss", .texts = {"apache-2.0"}},
      {.name = "phi-1.5", .texts = {"mit"}},
      {.name = "phi-2", .texts = {"mit"}},
      {.name = "phi-3", .texts = {"mit"}},
      {.name = "phi-3.5", .texts = {"mit"}},
      {.name = "phi-4", .texts = {"mit"}},
      {.name = "nemotron", .texts = {"nvidia-open-model"}},
      {.name = "llama-3.1-nemotron", .texts = {"nvidia-open-model", "llama3.1"}},
      {.name = "llama-3-1-nemotron", .texts = {"nvidia-open-model", "llama3.1"}},
      {.name = "llama-3.3-nemotron", .texts = {"nvidia-open-model", "llama3.3"}},
      {.name = "llama-3-3-nemotron", .texts = {"nvidia-open-model", "llama3.3"}},
      {.name = "kimi-k2", .texts = {"modified-mit"}},
      {.name = "minimax-m2", .texts = {"minimax-m2"}},
      {.name = "hunyuan", .texts = {"tencent-hunyuan"}},
  };
}

// Models that nobody but their maker gives, and those whose weights' terms don't settle it.
std::vector<Family> served_families() {
  const std::vector<std::string_view> openai = {"openai-services-agreement"};
  const std::vector<std::string_view> mistral = {"mistral-terms"};
  const std::vector<std::string_view> aws = {"aws-service-terms"};
  const std::vector<std::string_view> cohere = {"cohere-terms"};
  return {
      {.name = "gpt-#", .texts = openai, .maker = "openai"},
      {.name = "chatgpt", .texts = openai, .maker = "openai"},
      {.name = "o#", .texts = openai, .maker = "openai", .leads = true},
      {.name = "davinci", .texts = openai, .maker = "openai"},
      {.name = "gpt-2", .texts = {}},
      {.name = "gpt4all", .texts = {}},
      {.name = "claude", .texts = {"anthropic-usage-policy", "anthropic-commercial-terms"}, .maker = "anthropic"},
      {.name = "gemini", .texts = {"google-gemini-api-terms"}, .maker = "google"},
      {.name = "grok", .texts = {"xai-terms"}, .maker = "xai"},
      {.name = "mistral-large-latest", .texts = mistral, .maker = "mistral"},
      {.name = "mistral-medium", .texts = mistral, .maker = "mistral"},
      {.name = "mistral-small-latest", .texts = mistral, .maker = "mistral"},
      {.name = "magistral-medium", .texts = mistral, .maker = "mistral"},
      {.name = "devstral-medium", .texts = mistral, .maker = "mistral"},
      {.name = "codestral-latest", .texts = mistral, .maker = "mistral"},
      {.name = "ministral-3b", .texts = mistral, .maker = "mistral"},
      {.name = "ministral-8b-latest", .texts = mistral, .maker = "mistral"},
      {.name = "amazon-nova", .texts = aws, .maker = "aws"},
      {.name = "amazon-titan", .texts = aws, .maker = "aws"},
      {.name = "nova-pro", .texts = aws, .maker = "aws", .leads = true},
      {.name = "nova-lite", .texts = aws, .maker = "aws", .leads = true},
      {.name = "nova-micro", .texts = aws, .maker = "aws", .leads = true},
      {.name = "nova-premier", .texts = aws, .maker = "aws", .leads = true},
      {.name = "jamba", .texts = {"ai21-terms"}, .maker = "ai21"},
      {.name = "command-r", .texts = cohere, .maker = "cohere"},
      {.name = "command-a", .texts = cohere, .maker = "cohere"},
      {.name = "command-light", .texts = cohere, .maker = "cohere"},
      {.name = "command-nightly", .texts = cohere, .maker = "cohere"},
      {.name = "aya", .texts = cohere, .maker = "cohere"},
      {.name = "deepseek-chat", .texts = {"deepseek-api-terms"}, .maker = "deepseek"},
      {.name = "deepseek-reasoner", .texts = {"deepseek-api-terms"}, .maker = "deepseek"},
      {.name = "hunyuan-lite", .texts = {}},
      {.name = "hunyuan-standard", .texts = {}},
      {.name = "hunyuan-pro", .texts = {}},
      {.name = "hunyuan-turbo", .texts = {}},
      {.name = "hunyuan-turbos", .texts = {}},
  };
}

}  // namespace

std::span<const Family> families() {
  static const std::vector<Family> table = [] {
    std::vector<Family> all = open_families();
    // A general licence says nothing of the model: that it stands under it was read elsewhere.
    for (Family& family : all) {
      const bool general =
          !family.texts.empty() && (family.texts.front() == "apache-2.0" || family.texts.front() == "mit");
      if (general && family.source.empty()) family.source = kTag;
    }
    for (Family& family : served_families()) all.push_back(std::move(family));
    return all;
  }();
  return table;
}

}  // namespace retort::terms
