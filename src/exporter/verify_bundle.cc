#include <algorithm>
#include <map>
#include <set>
#include <system_error>

#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"
#include "dataset/dataset.h"
#include "exporter/bundle.h"
#include "exporter/bundle_files.h"
#include "gguf/architecture.h"
#include "gguf/file.h"

namespace retort::exporter {
namespace {

namespace fs = std::filesystem;

class Walk {
 public:
  Walk(const fs::path& folder, const store::ExchangeStore* store, const std::optional<fs::path>& teacher,
       Progress& progress)
      : folder_(folder), store_(store), teacher_(teacher), progress_(progress) {}

  Result<VerifyReport> run() {
    RETORT_TRY(read_bundle_file());
    check_sums();
    check_lineage();
    check_models();
    check_recipe();
    check_dataset();
    check_exchanges();
    check_teacher();
    not_checked("weights", "the checkpoint " + (lineage_ ? lineage_->weights.short_hex() : std::string("?")) +
                               "… of training isn't shipped; its digest is named");
    return std::move(report_);
  }

 private:
  void passed(std::string subject, std::string sentence) {
    add(std::move(subject), CheckState::kPassed, std::move(sentence));
  }
  void failed(std::string subject, std::string sentence) {
    add(std::move(subject), CheckState::kFailed, std::move(sentence));
  }
  void not_checked(std::string subject, std::string sentence) {
    add(std::move(subject), CheckState::kNotChecked, std::move(sentence));
  }
  void add(std::string subject, CheckState state, std::string sentence) {
    report_.checks.push_back({std::move(subject), state, std::move(sentence)});
  }

  // Over the API where the teacher was asked there, else by its file.
  static bool answered_by(const TeacherOrigin& teacher, const Provenance& provenance) {
    if (teacher.served) {
      return provenance.served && provenance.served->model == teacher.served->model &&
             provenance.served->api.starts_with(teacher.served->api);
    }
    return provenance.model && provenance.model->file_digest == teacher.file_digest;
  }

  // Of a file in the bundle or in its Hugging Face folder: anything else would lead out of it.
  static bool leads_out(const std::string& name) {
    const std::string folder = std::string(kHuggingFaceFolder) + "/";
    const std::string plain = name.starts_with(folder) ? name.substr(folder.size()) : name;
    return plain.find('/') != std::string::npos || plain == ".." || plain.empty();
  }

  // Whether this is a bundle at all, of a version that can be read.
  Result<void> read_bundle_file() {
    const fs::path path = folder_ / kBundleFile;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) {
      return caller_error("'" + folder_.string() + "' is no bundle: it has no " + kBundleFile +
                          ". Expected a folder such as runs/NAME/bundle.");
    }
    RETORT_ASSIGN(const std::string text, read_file(path));
    RETORT_ASSIGN(bundle_, parse_json(text, path.string()));
    if (!bundle_.is_object() || bundle_.value("format", Json()) != Json(kBundleFormat)) {
      return caller_error(path.string() + ": this is no bundle of Retort (its 'format' isn't " + kBundleFormat + ").");
    }
    RETORT_ASSIGN(const auto version, member<std::int64_t>(bundle_, "version", path.string()));
    if (version != kBundleVersion) {
      return caller_error(path.string() + ": the bundle is of version " + std::to_string(version) +
                          "; this program reads version " + std::to_string(kBundleVersion) +
                          ". Use the program that wrote it, or a newer one.");
    }
    return {};
  }

  void check_sums() {
    const auto text = read_file(folder_ / kSumsFile);
    if (!text) return failed(kSumsFile, text.error().message);
    std::map<std::string, Digest> listed;
    for (const std::string& line : split(*text, '\n')) {
      if (line.empty()) continue;
      const auto digest = line.size() > 66 && line.substr(64, 2) == "  " ? Digest::from_hex(line.substr(0, 64))
                                                                         : Result<Digest>(caller_error(""));
      const std::string name = line.size() > 66 ? line.substr(66) : "";
      if (!digest || leads_out(name) || !listed.emplace(name, *digest).second) {
        return failed(kSumsFile, "the line '" + line.substr(0, 100) + "' isn't 'DIGEST  NAME'");
      }
    }
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(folder_, error)) {
      if (entry.is_directory()) continue;
      const std::string name = entry.path().lexically_relative(folder_).generic_string();
      if (name != kSumsFile && listed.count(name) == 0) failed(name, "isn't listed in " + std::string(kSumsFile));
    }
    for (const char* name : {kBundleFile, kLineageFile, kDatasetFile, kRecipeFile, kCardFile}) {
      if (listed.count(name) == 0) failed(name, "isn't listed in " + std::string(kSumsFile));
    }
    double total = 0;
    for (const auto& [name, digest] : listed) {
      const auto size = fs::file_size(folder_ / name, error);
      if (!error) total += static_cast<double>(size);
    }
    progress_.begin("verify", total, "bytes");
    double done = 0;
    for (const auto& [name, digest] : listed) {
      const auto actual = sha256_file(folder_ / name);
      const auto size = fs::file_size(folder_ / name, error);
      if (!error) done += static_cast<double>(size);
      progress_.advance(done, name);
      if (!actual) {
        failed(name, "is missing or can't be read");
      } else if (*actual != digest) {
        failed(name, "was changed: its digest is " + actual->short_hex() + "…, listed is " + digest.short_hex() + "…");
      } else {
        passed(name, "digest " + digest.short_hex() + "…");
      }
    }
    progress_.end(std::to_string(listed.size()) + " files");
  }

  void check_lineage() {
    const auto text = read_file(folder_ / kLineageFile);
    if (!text) return failed("lineage", text.error().message);
    const auto json = parse_json(*text, kLineageFile);
    if (!json) return failed("lineage", json.error().message);
    auto lineage = lineage_from_json(*json, kLineageFile);
    if (!lineage) return failed("lineage", lineage.error().message);
    lineage_text_ = *text;
    lineage_ = std::move(*lineage);
    passed("lineage", "'" + lineage_->name + "' from '" + lineage_->teacher.name + "', " + start_text(*lineage_));
  }

  void check_models() {
    const auto models = bundle_.find("models");
    if (models == bundle_.end() || !models->is_array() || models->empty()) {
      return failed("models", std::string(kBundleFile) + " names no model");
    }
    for (const Json& entry : *models) {
      const auto name = entry.is_object() ? member<std::string>(entry, "file", kBundleFile)
                                          : Result<std::string>(caller_error("a model has no file name"));
      if (!name || name->find('/') != std::string::npos) {
        failed("models", name ? "the name '" + *name + "' leads out of the bundle" : name.error().message);
        continue;
      }
      check_model(*name);
    }
  }

  void check_model(const std::string& name) {
    const std::string subject = name + " (model)";
    const auto model = gguf::File::open(folder_ / name);
    if (!model) return failed(subject, model.error().message);
    if (const auto checked = gguf::check_model(*model); !checked) return failed(subject, checked.error().message);
    if (const auto finite = model->check_finite(); !finite) return failed(subject, finite.error().message);
    const auto own = model->metadata().get<std::string>("retort.lineage");
    if (!own) return failed(subject, own.error().message);
    if (*own != lineage_text_) return failed(subject, "the lineage inside the model isn't that of lineage.json");
    const auto recipe = model->metadata().get<std::string>("retort.recipe");
    if (!recipe || (lineage_ && sha256(*recipe) != lineage_->recipe)) {
      return failed(subject, "the recipe inside the model isn't the one that the lineage names");
    }
    const auto chat_template = model->metadata().find<std::string>("tokenizer.chat_template");
    if (lineage_ && chat_template && *chat_template && sha256(**chat_template) != lineage_->origin().template_digest) {
      return failed(subject, "its chat template isn't that of '" + lineage_->origin().name + "'");
    }
    const auto layers = model->metadata().get<std::int64_t>(model->architecture().value_or("") + ".block_count");
    if (lineage_ && (!layers || *layers != static_cast<std::int64_t>(lineage_->layers.size()))) {
      return failed(subject, "it doesn't have as many layers as the lineage says");
    }
    passed(subject, model->file_type_name() + ", carries this lineage and recipe");
  }

  void check_recipe() {
    if (!lineage_) return;
    const auto digest = sha256_file(folder_ / kRecipeFile);
    if (!digest) return failed("recipe", digest.error().message);
    if (*digest != lineage_->recipe) return failed("recipe", "recipe.yaml isn't the recipe that the lineage names");
    passed("recipe", "is the one the lineage names");
  }

  void check_dataset() {
    if (!lineage_) return;
    auto data = dataset::load(folder_ / kDatasetFile);
    if (!data) return failed("dataset", data.error().message);
    if (dataset::dataset_digest(*data) != lineage_->dataset) {
      return failed("dataset", "dataset.json isn't the dataset that the lineage names");
    }
    if (static_cast<std::int64_t>(data->train.size()) != lineage_->train_exchanges ||
        static_cast<std::int64_t>(data->held_out.size()) != lineage_->held_out_exchanges) {
      return failed("dataset", "its numbers of exchanges aren't those of the lineage");
    }
    passed("dataset", std::to_string(data->train.size()) + " exchanges to train on, " +
                          std::to_string(data->held_out.size()) + " held out");
    dataset_ = std::move(*data);
  }

  void check_exchanges() {
    if (!dataset_) return;
    std::vector<Digest> ids = dataset_->train;
    ids.insert(ids.end(), dataset_->held_out.begin(), dataset_->held_out.end());
    if (store_ == nullptr) {
      return not_checked("exchanges", "exchanges absent: " + std::to_string(ids.size()) + " ids named, not checked");
    }
    std::int64_t from_file = 0;
    std::set<Digest> train_prompts;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto exchange = store_->get(ids[i]);
      if (!exchange) return failed("exchanges", exchange.error().message);
      const Provenance& provenance = exchange->provenance;
      if (provenance.generated_by == GeneratedBy::kFile) {
        ++from_file;
      } else if (!answered_by(lineage_->teacher, provenance)) {
        return failed("exchanges",
                      "the exchange " + ids[i].short_hex() + "… was answered by another model than the teacher");
      }
      const Digest prompt = prompt_digest(exchange->prompt);
      if (i < dataset_->train.size()) {
        train_prompts.insert(prompt);
      } else if (train_prompts.count(prompt) != 0) {
        return failed("exchanges",
                      "the prompt of the held-out exchange " + ids[i].short_hex() + "… was trained on too");
      }
    }
    passed("exchanges",
           std::to_string(ids.size()) + " exchanges in the store, digests right, " +
               (from_file == 0 ? "all" : std::to_string(static_cast<std::int64_t>(ids.size()) - from_file)) +
               " answered by the teacher" + (from_file == 0 ? "" : ", " + std::to_string(from_file) + " from a file"));
  }

  void check_teacher() {
    if (!lineage_) return;
    if (!lineage_->teacher.has_file() && lineage_->teacher.served) {
      const ServedOrigin& served = *lineage_->teacher.served;
      not_checked("teacher", "'" + served.model + "' answered over the " + served.api + " API, which nobody can check");
    }
    const TeacherOrigin& origin = lineage_->origin();
    const std::string subject = lineage_->base ? "base" : "teacher";
    const std::string named = origin.file + " " + origin.file_digest.short_hex() + "…";
    if (!teacher_) return not_checked(subject, subject + " absent: " + named + " named, not checked");
    const auto digest = sha256_file(*teacher_);
    if (!digest) return failed(subject, digest.error().message);
    if (*digest != origin.file_digest) {
      return failed(subject, teacher_->string() + " isn't the " + subject + " that the lineage names (" + named + ")");
    }
    passed(subject, named);
  }

  const fs::path& folder_;
  const store::ExchangeStore* store_;
  const std::optional<fs::path>& teacher_;
  Progress& progress_;
  Json bundle_;
  std::string lineage_text_;
  std::optional<Lineage> lineage_;
  std::optional<dataset::Dataset> dataset_;
  VerifyReport report_;
};

}  // namespace

std::string_view name_of(CheckState state) {
  switch (state) {
    case CheckState::kPassed: return "passed";
    case CheckState::kFailed: return "failed";
    case CheckState::kNotChecked: return "not_checked";
  }
  return "";
}

bool VerifyReport::passed() const {
  return std::none_of(checks.begin(), checks.end(),
                      [](const Check& check) { return check.state == CheckState::kFailed; });
}

Json to_json(const VerifyReport& report) {
  Json checks = Json::array();
  for (const Check& check : report.checks) {
    checks.push_back(
        {{"subject", check.subject}, {"state", std::string(name_of(check.state))}, {"sentence", check.sentence}});
  }
  return {{"passed", report.passed()}, {"checks", checks}};
}

Result<VerifyReport> verify_bundle(const fs::path& folder, const store::ExchangeStore* store,
                                   const std::optional<fs::path>& teacher, Progress& progress) {
  return Walk(folder, store, teacher, progress).run();
}

}  // namespace retort::exporter
