// What `retort inspect` shows of things that aren't models: one function a kind. Each prints to context.out, as text or
// (context.json) as one document.
#pragma once

#include <filesystem>
#include <string>

#include "retort/verb.h"

namespace retort::app {

struct InspectFlags {
  std::string target;
  std::string model;  // whose tokenizer shows token ids as text; empty: ids
  std::string store;  // where exchanges are; empty: looked for beside the target
  std::string supervise = "assistant";
  std::int64_t count = 3;  // examples or exchanges to show
  bool tensors = false;
};

Result<void> inspect_exchange_file(const InspectFlags& flags, Context& context);
Result<void> inspect_exchange_id(const InspectFlags& flags, Context& context);
Result<void> inspect_store(const InspectFlags& flags, Context& context);
Result<void> inspect_dataset(const std::filesystem::path& path, const InspectFlags& flags, Context& context);
Result<void> inspect_weights(const InspectFlags& flags, Context& context);
// A folder: a bundle or a run.
Result<void> inspect_folder(const InspectFlags& flags, Context& context);

}  // namespace retort::app
