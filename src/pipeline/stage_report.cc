// report: the page, from what the other stages left.
#include "base/files.h"
#include "base/text.h"
#include "pipeline/pipeline.h"
#include "pipeline/report_document.h"
#include "pipeline/run_facts.h"
#include "pipeline/run_files.h"
#include "pipeline/stage.h"
#include "report/report.h"

namespace retort::pipeline {

Result<std::filesystem::path> write_report(const std::filesystem::path& run_folder) {
  RETORT_ASSIGN(const RunFacts facts, load_run_facts(run_folder));
  const Json document = report_document(facts);
  RETORT_ASSIGN(const std::string html, report::render_html(document));
  std::filesystem::path path = run_folder / "report.html";
  RETORT_TRY(write_file(path, html));
  return path;
}

Result<StageResult> run_report(StageContext& context) {
  RETORT_ASSIGN(const std::filesystem::path path, write_report(context.folder.path()));
  StageResult result;
  result.content = {"report.html"};
  result.summary = path.string();
  return result;
}

}  // namespace retort::pipeline
