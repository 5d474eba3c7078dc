#include "pipeline/prompt_check.h"

#include <algorithm>
#include <string>
#include <utility>

namespace retort::pipeline {
namespace {

// Room for a template's scaffold and default system message around a self-generated user's turn.
constexpr std::size_t kScaffoldTokens = 128;

}  // namespace

Result<std::size_t> PromptCheck::see(const collect::PromptRow& row) {
  // The whole file is read, so that a broken row is told before anything is asked, also one beyond collect.count.
  if (options_.count > 0 && seen_++ >= options_.count) return std::size_t{0};
  const auto answer = static_cast<std::size_t>(options_.max_tokens);
  const auto most = static_cast<std::size_t>(local_.config.context);
  const auto ids = local_.format.prompt_ids(row.prompt);
  const std::string where = options_.prompts_file() + ", line " + std::to_string(row.line);
  if (!ids) return with_context(ids.error(), where);
  const std::size_t needed = ids->size() + (row.answer ? 0 : answer);
  if (needed > most) {
    return caller_error(where + ": the prompt has " + std::to_string(ids->size()) +
                        " tokens, which with an answer of " + std::to_string(answer) +
                        " is more than the context of '" + local_.name + "', " + std::to_string(most) +
                        ". Shorten it, or lower collect.max_tokens.");
  }
  longest_ = std::max(longest_, needed);
  return ids->size();
}

Result<std::size_t> PromptCheck::needed_tokens() const {
  if (!options_.self_generated()) return longest_;
  const auto answer = static_cast<std::size_t>(options_.max_tokens);
  const auto most = static_cast<std::size_t>(local_.config.context);
  const std::size_t needed = kScaffoldTokens + static_cast<std::size_t>(options_.max_user_tokens) + answer;
  if (needed > most) {
    return caller_error("collect.max_tokens and collect.max_user_tokens need a context of " + std::to_string(needed) +
                        " tokens with the template's own; '" + local_.name + "' has " + std::to_string(most) +
                        ". Make them smaller.");
  }
  return needed;
}

Result<CheckedPrompts> check_prompts(const recipe::Recipe& recipe, const LocalModel& local,
                                     const std::filesystem::path& folder) {
  const auto options = recipe.get(collect::collect_option_set());
  PromptCheck check(options, local);
  CheckedPrompts checked;
  if (!options.self_generated()) {
    RETORT_ASSIGN(checked.spool,
                  collect::PromptSpool::make(options, folder, [&](const collect::PromptRow& row) -> Result<void> {
                    RETORT_TRY(check.see(row));
                    return {};
                  }));
  }
  RETORT_ASSIGN(checked.needed_tokens, check.needed_tokens());
  return checked;
}

}  // namespace retort::pipeline
