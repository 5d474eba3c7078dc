// What a collection will ask, read and checked once, before anything starts.
//
// One thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "collect/collect_options.h"
#include "collect/prompt_spool.h"
#include "pipeline/local_model.h"
#include "recipe/recipe.h"

namespace retort::pipeline {

// Looks at prompts, one by one in their order, as the local model counts them. Borrows both.
class PromptCheck {
 public:
  PromptCheck(const collect::CollectOptions& options, const LocalModel& local) : options_(options), local_(local) {}
  // The tokens of its prompt; 0 for a row beyond collect.count. Errors (kCaller): longer than the context with its
  // answer, or nothing that the template can be given; by line.
  Result<std::size_t> see(const collect::PromptRow& row);
  // Of a sequence of the collection: the longest prompt and its answer. Error (kCaller): self-generated turns that
  // don't fit.
  Result<std::size_t> needed_tokens() const;

 private:
  const collect::CollectOptions& options_;
  const LocalModel& local_;
  std::size_t longest_ = 0;
  std::int64_t seen_ = 0;
};

struct CheckedPrompts {
  std::optional<collect::PromptSpool> spool;  // none: self-generated
  std::size_t needed_tokens = 0;              // of a sequence
  const collect::PromptSpool* rows() const { return spool ? &*spool : nullptr; }
};
// `folder`: for the spool, which leaves nothing there. Errors: of the file, by line; of PromptCheck.
Result<CheckedPrompts> check_prompts(const recipe::Recipe& recipe, const LocalModel& local,
                                     const std::filesystem::path& folder);

}  // namespace retort::pipeline
