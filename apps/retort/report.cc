// `retort report RUN`: the page of a finished run, written again from what the run left. No engine is opened.
#include <filesystem>

#include "pipeline/pipeline.h"
#include "retort/verb.h"

namespace retort::app {

void register_report(VerbSetup& verb) {
  struct Flags {
    std::string run;
  };
  const auto flags = std::make_shared<Flags>();
  verb.app.add_option("run", flags->run, "The run: its folder, or its name under runs/")->type_name("RUN")->required();
  verb.action = [flags](Context& context) -> Result<void> {
    std::filesystem::path folder = flags->run;
    std::error_code error;
    const std::filesystem::path named = std::filesystem::path("runs") / flags->run;
    if (!std::filesystem::exists(folder, error) && std::filesystem::exists(named, error)) folder = named;
    RETORT_ASSIGN(const std::filesystem::path page, pipeline::write_report(folder));
    if (context.json) {
      context.emit({{"report", page.string()}});
    } else {
      context.out << page.string() << '\n';
    }
    return {};
  };
}

}  // namespace retort::app
