#include "collect/prompt_intake.h"

#include <utility>

#include "base/json.h"

namespace retort::collect {
namespace {

Json to_json(const PromptRow& row) {
  Json json = {{"line", row.line}, {"prompt", prompt_digest(row.prompt).hex()}};
  if (row.answer) json["answer"] = *row.answer;
  if (!row.answer_tool_calls.empty()) json["calls"] = row.answer_tool_calls;
  return json;
}

PersonalDataCounts mask(PromptRow& row) {
  PersonalDataCounts counts = mask_personal_data(row.prompt);
  if (row.answer) counts += mask_personal_data(*row.answer);
  counts += mask_personal_data_in_json(row.answer_tool_calls);
  return counts;
}

void add_system(PromptRow& row, const std::string& system) {
  std::vector<Message>& messages = row.prompt.messages;
  if (system.empty() || messages.front().role == Role::kSystem) return;
  messages.insert(messages.begin(), Message{Role::kSystem, system});
}

}  // namespace

Result<PromptIntake> for_each_taken_prompt(const CollectOptions& options, const PromptVisitor& visit) {
  RETORT_CHECK(!options.self_generated());
  const bool keep = options.personal_data == "keep";
  const bool drop = options.personal_data == "drop";
  PromptIntake intake;
  Sha256 alterations;
  bool altered = false;
  const auto alter = [&](const Json& what) {
    altered = true;
    alterations.update(canonical_json(what)).update("\n");
  };
  std::int64_t taken = 0;
  auto report = for_each_prompt(options.prompts, [&](PromptRow row) -> Result<void> {
    PromptRow original;
    if (keep) original = row;  // counted on a copy that is thrown away
    const PersonalDataCounts counts = mask(row);
    if (keep) row = std::move(original);
    if (counts.total() > 0) {
      intake.personal_data += counts;
      ++intake.rows_with_personal_data;
      if (drop) {
        ++intake.rows_dropped;
        alter({{"line", row.line}, {"dropped", true}});
        return {};
      }
      if (!keep) alter(to_json(row));
    }
    ++taken;
    add_system(row, options.system);
    return visit(std::move(row));
  });
  if (!report) return Failure(std::move(report.error()));
  intake.file = std::move(*report);
  intake.file.rows = taken;
  if (taken == 0) {
    return caller_error(options.prompts_file() + ": every row has personal data or secrets (" +
                        intake.personal_data.words() +
                        "), and collect.personal_data is drop; expected a row without, or mask.");
  }
  // Reasons are shown and stored, so they are cleared like everything else.
  for (BrokenRow& broken : intake.file.first_skipped) mask_personal_data(broken.why);
  if (intake.file.skipped > 0) alter({{"skipped", intake.file.skipped}});
  if (!intake.file.column.empty()) alter({{"column", intake.file.column}});
  if (!intake.file.as_guessed) alter({{"format", static_cast<int>(intake.file.format)}});
  if (altered) intake.altered = alterations.finish();
  return intake;
}

Result<TakenPrompts> take_prompts(const CollectOptions& options) {
  TakenPrompts taken;
  RETORT_ASSIGN(taken.intake, for_each_taken_prompt(options, [&](PromptRow row) -> Result<void> {
                  taken.rows.push_back(std::move(row));
                  return {};
                }));
  return taken;
}

}  // namespace retort::collect
