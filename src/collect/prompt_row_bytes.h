// A PromptRow as bytes and back, for files that only this program reads. Internal to the module; pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "collect/prompts.h"

namespace retort::collect {

void append_bytes(const PromptRow& row, std::string& bytes);
// Error (kWorld): these are not the bytes of a row.
Result<PromptRow> row_from_bytes(std::string_view bytes);

}  // namespace retort::collect
