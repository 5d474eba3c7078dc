// `retort verify`: every digest of a bundle, and the walk back to its teacher.
#include "exporter/bundle.h"
#include "exporter/bundle_files.h"
#include "retort/verb.h"
#include "store/exchange_store.h"

namespace retort::app {
namespace {

namespace fs = std::filesystem;

// Where a run keeps its exchanges, seen from its bundle.
constexpr const char* kStoreOfRun = "collect/exchanges.sqlite";

const char* mark(exporter::CheckState state) {
  switch (state) {
    case exporter::CheckState::kPassed: return "ok      ";
    case exporter::CheckState::kFailed: return "FAILED  ";
    case exporter::CheckState::kNotChecked: return "-       ";
  }
  return "";
}

}  // namespace

void register_verify(VerbSetup& verb) {
  struct Flags {
    std::string bundle, store, teacher;
  };
  const auto flags = std::make_shared<Flags>();
  verb.app.add_option("bundle", flags->bundle, "A bundle's folder, or the folder of a run that made one")
      ->type_name("FOLDER")
      ->required();
  verb.app
      .add_option("--store", flags->store,
                  "The store of exchanges to check against; the run's own is found when the bundle is still in its run")
      ->type_name("FILE");
  verb.app
      .add_option("--teacher", flags->teacher, "The teacher's file, or its name in the catalogue, to check its digest")
      ->type_name("MODEL");
  verb.action = [flags](Context& context) -> Result<void> {
    fs::path folder = flags->bundle;
    std::error_code error;
    if (!fs::exists(folder / exporter::kBundleFile, error) &&
        fs::exists(folder / "bundle" / exporter::kBundleFile, error)) {
      folder /= "bundle";
    }
    fs::path store_path = flags->store;
    if (store_path.empty()) {
      const fs::path of_run = fs::absolute(folder, error).lexically_normal().parent_path() / kStoreOfRun;
      if (fs::exists(of_run, error)) store_path = of_run;
    }
    std::optional<store::ExchangeStore> store;
    if (!store_path.empty()) {
      RETORT_ASSIGN(store, store::ExchangeStore::open_read_only(store_path));
    }
    std::optional<fs::path> teacher;
    if (!flags->teacher.empty()) {
      RETORT_ASSIGN(teacher, model_path(context, flags->teacher));
    }
    RETORT_ASSIGN(const exporter::VerifyReport report,
                  exporter::verify_bundle(folder, store ? &*store : nullptr, teacher, context.progress));
    std::size_t failed = 0;
    for (const exporter::Check& check : report.checks) {
      failed += check.state == exporter::CheckState::kFailed ? 1 : 0;
      if (!context.json) context.out << mark(check.state) << check.subject << ": " << check.sentence << '\n';
    }
    if (context.json) context.emit(exporter::to_json(report));
    if (failed != 0) {
      return caller_error(std::to_string(failed) + " of " + std::to_string(report.checks.size()) +
                          " checks failed: this bundle isn't what was made. Get it again from where it came.");
    }
    return {};
  };
}

}  // namespace retort::app
