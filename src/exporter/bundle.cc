#include "exporter/bundle.h"

#include <algorithm>
#include <set>
#include <system_error>

#include "base/digest.h"
#include "base/files.h"
#include "dataset/dataset.h"
#include "exporter/bundle_files.h"
#include "exporter/duties.h"
#include "gguf/file.h"

namespace retort::exporter {
namespace {

namespace fs = std::filesystem;

// A hard link where the file system has them (the run keeps its file, no second copy on disk), else a copy.
Result<void> place_file(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (!error) return {};
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (error) {
    return world_error("'" + from.string() + "' can't be copied to '" + to.string() + "' (" + error.message() +
                       "). Check free space and permissions.");
  }
  return {};
}

Result<void> check_model_lineage(const gguf::File& model, const Lineage& expected) {
  RETORT_ASSIGN(const auto text, model.metadata().get<std::string>("retort.lineage"));
  if (text == canonical_json(to_json(expected))) return {};
  return caller_error(model.path().string() + ": the file's own lineage isn't the bundle's; export it again.");
}

Result<void> fill(const BundleInput& input, const fs::path& folder) {
  CardFacts card = input.card;
  card.files.clear();
  std::set<std::string> names = {kCardFile,   kLineageFile, kDatasetFile, kRecipeFile, kScorecardFile,
                                 kBundleFile, kSumsFile,    kNoticeFile,  kApacheFile, kMitFile};
  Json models = Json::array();
  for (const fs::path& path : input.models) {
    RETORT_ASSIGN(const gguf::File model, gguf::File::open(path));
    RETORT_TRY(check_model_lineage(model, card.lineage));
    const std::string name = path.filename().string();
    if (!names.insert(name).second) return caller_error("Two files of the bundle would be called '" + name + "'.");
    card.files.push_back({name, model.file_type_name(), model.size_bytes()});
    models.push_back({{"file", name}, {"type", model.file_type_name()}});
    RETORT_TRY(place_file(path, folder / name));
  }
  std::error_code error;
  if (!input.hugging_face.empty()) {
    RETORT_TRY(make_folder(folder / kHuggingFaceFolder));
    for (const auto& entry : fs::directory_iterator(input.hugging_face, error)) {
      RETORT_TRY(place_file(entry.path(), folder / kHuggingFaceFolder / entry.path().filename()));
    }
    if (error) return world_error("'" + input.hugging_face.string() + "' can't be listed (" + error.message() + ").");
  }
  RETORT_ASSIGN(const dataset::Dataset data, dataset::load(input.dataset));
  if (dataset::dataset_digest(data) != card.lineage.dataset) {
    return caller_error(input.dataset.string() + ": this isn't the dataset that the student's lineage names.");
  }
  RETORT_ASSIGN(const std::string dataset_text, read_file(input.dataset));
  if (sha256(input.recipe_yaml) != card.lineage.recipe) {
    return caller_error("The recipe isn't the one that the student's lineage names.");
  }
  RETORT_TRY(write_file(folder / kDatasetFile, dataset_text));
  RETORT_TRY(write_file(folder / kRecipeFile, input.recipe_yaml));
  RETORT_TRY(write_file(folder / kLineageFile, canonical_json(to_json(card.lineage))));
  if (card.scorecard) RETORT_TRY(write_file(folder / kScorecardFile, to_json(*card.scorecard).dump(2) + "\n"));
  RETORT_TRY(write_file(folder / kCardFile, model_card(card)));
  for (const NoticeFile& file : notice_files(card.lineage)) RETORT_TRY(write_file(folder / file.name, file.text));
  const Json bundle = {{"format", kBundleFormat},   {"version", kBundleVersion},
                       {"name", card.lineage.name}, {"code_version", card.lineage.code_version},
                       {"models", models},          {"proof", input.proof}};
  RETORT_TRY(write_file(folder / kBundleFile, bundle.dump(2) + "\n"));

  std::vector<std::string> listed;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    if (!entry.is_directory()) listed.push_back(entry.path().lexically_relative(folder).generic_string());
  }
  if (error) return world_error("'" + folder.string() + "' can't be listed (" + error.message() + ").");
  std::sort(listed.begin(), listed.end());
  std::string sums;
  for (const std::string& name : listed) {
    RETORT_ASSIGN(const Digest digest, sha256_file(folder / name));
    sums += digest.hex() + "  " + name + "\n";
  }
  return write_file(folder / kSumsFile, sums);
}

}  // namespace

Result<void> write_bundle(const BundleInput& input, const fs::path& folder) {
  if (input.models.empty()) return caller_error("A bundle needs at least one model file.");
  fs::path partial = folder;
  partial += ".partial";
  fs::path old = folder;
  old += ".old";
  std::error_code error;
  fs::remove_all(partial, error);
  RETORT_TRY(make_folder(partial));
  if (auto filled = fill(input, partial); !filled) {
    fs::remove_all(partial, error);
    return filled;
  }
  fs::remove_all(old, error);
  if (fs::exists(folder)) fs::rename(folder, old, error);
  if (!error) fs::rename(partial, folder, error);
  if (error) {
    return world_error("The finished bundle '" + partial.string() + "' can't be renamed to '" + folder.string() +
                       "' (" + error.message() + "). Check permissions and run the same command again.");
  }
  fs::remove_all(old, error);
  return {};
}

}  // namespace retort::exporter
