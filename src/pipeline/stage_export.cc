// export: the student as trained and as it began, as GGUF files, proved against the trained weights.
//
// Leaves export/NAME-F16.gguf, export/NAME-<quantize>.gguf, export/before-<quantize>.gguf, recipe.yaml (the effective
// recipe as it went into the files), export/huggingface where it was asked for, lineage.json and files.json (what is
// what, and the proof).
#include <algorithm>
#include <cstdio>

#include "base/files.h"
#include "base/text.h"
#include "base/version.h"
#include "dataset/dataset.h"
#include "exporter/duties.h"
#include "exporter/export_options.h"
#include "exporter/lineage.h"
#include "exporter/proof.h"
#include "exporter/student_file.h"
#include "llama/engine.h"
#include "model/compute_probe.h"
#include "model/decoder.h"
#include "model/torch_scorer.h"
#include "model/weights.h"
#include "pipeline/run_files.h"
#include "pipeline/run_options.h"
#include "pipeline/stage.h"
#include "pipeline/student_start.h"
#include "train/train_options.h"

namespace retort::pipeline {
namespace {

// What the files are proved on: enough positions for a mean, few enough for seconds.
constexpr std::size_t kProofSequences = 8;
constexpr std::size_t kProofTokens = 128;

// A user name and a key have no business in papers.
std::string without_credentials(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t host = scheme == std::string::npos ? 0 : scheme + 3;
  const std::size_t end = url.find_first_of("/?#", host);
  const std::size_t at = url.rfind('@', end);
  return at == std::string::npos || at < host ? url : url.substr(0, host) + url.substr(at + 1);
}

// Of a model's file.
Result<exporter::TeacherOrigin> origin_of(const LocalModel& local, const terms::Decision& decision) {
  exporter::TeacherOrigin origin;
  origin.name = local.name;
  origin.file = local.file.path().filename().string();
  origin.type = local.file.file_type_name();
  RETORT_ASSIGN(origin.repository, local.file.metadata().get_or<std::string>("general.repo_url", ""));
  origin.licence = decision.licence_id;
  origin.layers = local.config.layers;
  origin.file_digest = local.digest;
  origin.template_digest = local.format.template_digest();
  return origin;
}

// Who taught, and what the student was cut from where that is another.
Result<void> name_origins(const StageContext& context, exporter::Lineage& lineage) {
  const Teacher& teacher = context.teacher;
  if (teacher.at_hand) {
    RETORT_ASSIGN(lineage.teacher, origin_of(context.local, teacher.terms));
  } else {
    lineage.teacher.name = teacher.name;
    lineage.teacher.licence = teacher.terms.licence_id;
    RETORT_ASSIGN(lineage.base, origin_of(context.local, *context.local.own_terms));
    lineage.base_terms = terms::to_json(*context.local.own_terms);
  }
  lineage.terms = terms::to_json(teacher.terms);
  if (!teacher.served()) return {};
  exporter::ServedOrigin served{teacher.asked.api, teacher.asked.model, {}};
  for (const collect::EndpointOptions& endpoint : teacher.asked.endpoints) {
    served.endpoints.push_back(without_credentials(endpoint.url));
  }
  lineage.teacher.served = std::move(served);
  return {};
}

// As the terms ask: the teacher's, and those of the weights where they are another model's.
void name_and_duties(const std::string& run_name, exporter::Lineage& lineage) {
  lineage.name = exporter::shipped_name(lineage.base_terms, exporter::shipped_name(lineage.terms, run_name));
  std::vector<exporter::CarriedDuty> duties = exporter::carry_out(lineage.terms, lineage.name);
  for (exporter::CarriedDuty& duty : exporter::carry_out(lineage.base_terms, lineage.name)) {
    const bool said = std::any_of(duties.begin(), duties.end(), [&](const exporter::CarriedDuty& other) {
      return other.kind == duty.kind && other.state == duty.state && other.sentence == duty.sentence;
    });
    if (!said) duties.push_back(std::move(duty));
  }
  lineage.duties = exporter::to_json(duties);
}

Result<exporter::Lineage> lineage_of(StageContext& context, const std::string& recipe_yaml) {
  exporter::Lineage lineage;
  lineage.code_version = kVersion;
  RETORT_TRY(name_origins(context, lineage));
  name_and_duties(context.recipe.get(run_option_set()).name, lineage);
  RETORT_ASSIGN(lineage.layers, read_kept_layers(context.folder));
  RETORT_ASSIGN(lineage.start, start_of_lineage(context));
  lineage.tokenizer_fingerprint = context.local.format.tokenizer().fingerprint();
  RETORT_ASSIGN(lineage.weights, sha256_file(context.folder.of(kStudentWeightsFile)));
  RETORT_ASSIGN(const dataset::Dataset dataset, dataset::load(context.folder.of(kDatasetFile)));
  lineage.dataset = dataset::dataset_digest(dataset);
  lineage.train_exchanges = static_cast<std::int64_t>(dataset.train.size());
  lineage.held_out_exchanges = static_cast<std::int64_t>(dataset.held_out.size());
  lineage.recipe = sha256(recipe_yaml);
  RETORT_ASSIGN(const Json summary, read_json(context.folder, kTrainSummaryFile));
  const auto options = context.recipe.get(train::train_option_set());
  lineage.training = {{"objective", train::describe(train::objective_mix(options))}, {"supervise", options.supervise}};
  if (options.lora_rank > 0) lineage.training["lora_rank"] = options.lora_rank;
  for (const char* key : {"steps", "tokens", "supervised_tokens"}) {
    RETORT_ASSIGN(const std::int64_t count, member<std::int64_t>(summary, key, kTrainSummaryFile));
    lineage.training[key] = count;
  }
  return lineage;
}

Result<std::vector<std::vector<TokenId>>> proof_sequences(StageContext& context) {
  RETORT_ASSIGN(const dataset::Dataset dataset, dataset::load(context.folder.of(kDatasetFile)));
  std::vector<Digest> ids = dataset.held_out.empty() ? dataset.train : dataset.held_out;
  ids.resize(std::min(ids.size(), kProofSequences));
  RETORT_ASSIGN(const std::vector<Exchange> exchanges, read_exchanges(context.folder, context.local, ids));
  std::vector<std::vector<TokenId>> sequences;
  for (const Exchange& exchange : exchanges) {
    const std::vector<TokenId>& all = exchange.tokens.ids;
    sequences.emplace_back(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), kProofTokens)));
  }
  return sequences;
}

struct Proof {
  exporter::Agreement agreement;
  gguf::TensorType type;
};

// Reopens the files in llama.cpp, at its highest precision, and compares them with the trained FP32 weights.
Result<std::vector<Proof>> prove(StageContext& context,
                                 const std::vector<std::pair<gguf::TensorType, std::string>>& files) {
  RETORT_ASSIGN(const auto sequences, proof_sequences(context));
  RETORT_ASSIGN(const model::LoadedWeights weights, model::load_weights(context.folder.of(kStudentWeightsFile)));
  RETORT_ASSIGN(model::Decoder decoder,
                model::Decoder::from_tensors(weights.config, weights.tensors, model::ComputeType::kFloat32));
  // The reference is computed as exactly as libtorch can.
  model::set_onednn_float32(false);
  model::TorchScorer trained(std::move(decoder));
  std::vector<Proof> proofs;
  for (const auto& [type, relative] : files) {
    RETORT_TRY(exporter::check_file(context.folder.of(relative)));
    llama::EngineOptions options;
    std::int64_t reach = std::min<std::int64_t>(256, std::min(context.local.config.context, weights.config.context));
    if (weights.config.window > 0) reach = std::min(reach, weights.config.window);
    options.context_tokens = static_cast<std::size_t>(reach);
    options.parallel = 1;
    options.kv = llama::KvType::kF32;
    options.flash_attention = false;
    RETORT_ASSIGN(const auto engine, llama::Engine::open(context.folder.of(relative), options));
    RETORT_ASSIGN(const exporter::Agreement agreement,
                  exporter::compare(trained, *engine, sequences, context.progress, context.stop));
    RETORT_TRY(exporter::check_agreement(agreement, type, relative));
    proofs.push_back({agreement, type});
  }
  return proofs;
}

std::string sentence(const std::vector<Proof>& proofs) {
  std::string text = "Reopened by llama.cpp and compared with the trained FP32 weights";
  for (std::size_t i = 0; i < proofs.size(); ++i) {
    const exporter::Agreement& agreement = proofs[i].agreement;
    char part[240];
    std::snprintf(part, sizeof(part),
                  "%s %s: |difference of logprobs| %.4f on average, %.3f at most, KL %.5f nats over %lld tokens",
                  i == 0 ? ":" : ";", std::string(gguf::name_of(proofs[i].type)).c_str(), agreement.mean_difference,
                  agreement.max_difference, agreement.mean_kl, static_cast<long long>(agreement.positions));
    text += part;
  }
  return text + ".";
}

}  // namespace

Result<StageResult> run_export(StageContext& context) {
  RETORT_ASSIGN(const gguf::TensorType quantised,
                gguf::tensor_type_from_name(context.recipe.get(exporter::export_option_set()).quantize));
  const std::string recipe_yaml = context.recipe.effective_yaml();
  RETORT_TRY(write_file(context.folder.of(kExportRecipeFile), recipe_yaml));
  RETORT_ASSIGN(const exporter::Lineage lineage, lineage_of(context, recipe_yaml));
  RETORT_TRY(write_json(context.folder, kLineageFile, exporter::to_json(lineage)));
  const std::string stem = exporter::file_stem(lineage.name);

  RETORT_ASSIGN(const exporter::Student student,
                exporter::student_from_checkpoint(context.folder.of(kStudentWeightsFile)));
  std::vector<std::pair<gguf::TensorType, std::string>> files;
  for (const gguf::TensorType type : {gguf::TensorType::kF16, quantised}) {
    if (!files.empty() && type == gguf::TensorType::kF16) continue;  // quantize: F16 makes one file
    files.emplace_back(type, "export/" + stem + "-" + std::string(gguf::name_of(type)) + ".gguf");
    RETORT_TRY(exporter::write_student(context.local.file, student, {lineage, recipe_yaml}, type,
                                       context.folder.of(files.back().second)));
  }
  const std::filesystem::path start = context.folder.of(kStartFile);
  const bool cut = !is_there(start);
  RETORT_ASSIGN(const exporter::Student before, cut ? exporter::student_from_teacher(context.local.file, lineage.layers)
                                                    : exporter::student_from_checkpoint(start));
  exporter::Lineage before_lineage = lineage;
  before_lineage.name = lineage.name + " (before training)";
  before_lineage.weights = context.local.digest;
  if (!cut) {
    RETORT_ASSIGN(before_lineage.weights, sha256_file(start));
  }
  before_lineage.training = Json::object();
  const std::string before_file = "export/before-" + std::string(gguf::name_of(quantised)) + ".gguf";
  RETORT_TRY(exporter::write_student(context.local.file, before, {before_lineage, recipe_yaml}, quantised,
                                     context.folder.of(before_file)));
  const bool hugging_face = context.recipe.get(exporter::export_option_set()).huggingface;
  if (hugging_face) {
    RETORT_TRY(exporter::write_hugging_face_folder(student, lineage, context.folder.of(kHuggingFaceFolder)));
  }
  RETORT_ASSIGN(const std::vector<Proof> proofs, prove(context, files));

  Json models = Json::array();
  Json proof = Json::object();
  for (std::size_t i = 0; i < files.size(); ++i) {
    models.push_back({{"role", "student"},
                      {"type", gguf::name_of(files[i].first)},
                      {"file", files[i].second},
                      {"shipped", files[i].first == quantised}});
    proof[std::filesystem::path(files[i].second).filename().string()] = exporter::to_json(proofs[i].agreement);
  }
  models.push_back({{"role", "before"}, {"type", gguf::name_of(quantised)}, {"file", before_file}, {"shipped", false}});
  RETORT_TRY(write_json(context.folder, kExportFile,
                        {{"models", models},
                         {"agreement", proof},
                         {"proof", sentence(proofs)},
                         {"parameters", model::parameter_count(student.config)}}));

  StageResult result;
  result.content = {kExportFile, kLineageFile, kExportRecipeFile, before_file};
  for (const auto& [type, file] : files) result.content.push_back(file);
  for (const char* file : {"/config.json", "/model.safetensors"}) {
    if (hugging_face) result.content.push_back(std::string(kHuggingFaceFolder) + file);
  }
  std::error_code error;
  const std::string& shipped = files.back().second;
  char text[200];
  std::snprintf(text, sizeof(text), "%s (%s), proved: KL %.5f nats from the trained weights", shipped.c_str(),
                human_bytes(std::filesystem::file_size(context.folder.of(shipped), error)).c_str(),
                proofs.back().agreement.mean_kl);
  result.summary = text;
  return result;
}

}  // namespace retort::pipeline
