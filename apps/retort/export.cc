// `retort export`: trained weights as a GGUF file of any type, proved against the weights.
#include "base/files.h"
#include "base/text.h"
#include "base/version.h"
#include "collect/teacher_terms.h"
#include "exporter/duties.h"
#include "exporter/proof.h"
#include "exporter/student_file.h"
#include "llama/engine.h"
#include "model/decoder.h"
#include "model/torch_scorer.h"
#include "model/weights.h"
#include "retort/terms_flags.h"
#include "retort/verb.h"
#include "tokens/tokenizer.h"

namespace retort::app {
namespace {

namespace fs = std::filesystem;

// What a run leaves, seen from its folder.
constexpr const char* kWeightsOfRun = "train/student.safetensors";
constexpr const char* kLineageOfRun = "export/lineage.json";
constexpr const char* kRecipeOfRun = "export/recipe.yaml";

// What the file is proved on: any text will do, since both sides read the same.
constexpr const char* kProofText =
    "A retort is a vessel in which substances are distilled or decomposed by heat. It consists of a round bulb with a "
    "long neck that points downwards, so that the vapours condense along it and are collected in a receiver. Before "
    "the "
    "nineteenth century almost every chemist owned several, of glass, of stoneware or of iron. In one hour, 12 of them "
    "gave 3.5 litres; how many litres do 30 give in two hours? Answer: the rate is 3.5 / 12 litres an hour for each.";

struct Flags {
  std::string source, teacher, output, type = "Q8_0", name, lineage, recipe;
  TermsFlags terms;
};

// The gate once more: on this day, for what the run said or the flags say, by what the teacher's file says of itself.
Result<terms::Decision> admit(const Flags& flags, const gguf::File& teacher, const exporter::Lineage& lineage,
                              const Context& context) {
  terms::Query query = terms::query_from_json(lineage.terms);
  // Without a run's word, layers kept of the teacher say that the student is made of its weights.
  if (lineage.terms.empty())
    query.relation = lineage.layers.empty() ? terms::Relation::kLogprobs : terms::Relation::kWeights;
  RETORT_ASSIGN(query.declared, collect::declared_by(teacher));
  if (query.model.empty()) {
    query.model = query.declared->model_name.empty() ? teacher.path().stem().string() : query.declared->model_name;
  }
  RETORT_TRY(apply_terms_flags(flags.terms, context.clock, query));
  return terms::admit(query);
}

// The papers of the file: those of the run, or what can be said without one.
Result<exporter::StudentMetadata> papers(const Flags& flags, const fs::path& weights, const gguf::File& teacher,
                                         const model::DecoderConfig& config, const Context& context) {
  exporter::StudentMetadata metadata;
  if (!flags.recipe.empty()) {
    RETORT_ASSIGN(metadata.recipe_yaml, read_file(flags.recipe));
  }
  if (!flags.lineage.empty()) {
    RETORT_ASSIGN(const std::string text, read_file(flags.lineage));
    RETORT_ASSIGN(const Json json, parse_json(text, flags.lineage));
    RETORT_ASSIGN(metadata.lineage, exporter::lineage_from_json(json, flags.lineage));
  } else {
    exporter::Lineage& lineage = metadata.lineage;
    lineage.name = weights.stem().string();
    lineage.code_version = kVersion;
    RETORT_ASSIGN(lineage.teacher.name,
                  teacher.metadata().get_or<std::string>("general.name", teacher.path().filename().string()));
    lineage.teacher.file = teacher.path().filename().string();
    lineage.teacher.type = teacher.file_type_name();
    RETORT_ASSIGN(lineage.teacher.repository, teacher.metadata().get_or<std::string>("general.repo_url", ""));
    RETORT_ASSIGN(lineage.teacher.licence, teacher.metadata().get_or<std::string>("general.license", ""));
    RETORT_ASSIGN(const model::DecoderConfig whole, model::decoder_config(teacher));
    lineage.teacher.layers = whole.layers;
    RETORT_ASSIGN(lineage.teacher.file_digest, sha256_file(teacher.path()));
    RETORT_ASSIGN(const auto chat, teacher.metadata().get_or<std::string>("tokenizer.chat_template", ""));
    lineage.teacher.template_digest = sha256(chat);
    lineage.layers = config.source_layers;
    lineage.recipe = sha256(metadata.recipe_yaml);
  }
  if (!flags.name.empty()) metadata.lineage.name = flags.name;
  RETORT_ASSIGN(const terms::Decision decision, admit(flags, teacher, metadata.lineage, context));
  metadata.lineage.terms = terms::to_json(decision);
  metadata.lineage.name = exporter::shipped_name(metadata.lineage.terms, metadata.lineage.name);
  metadata.lineage.duties = exporter::to_json(exporter::carry_out(metadata.lineage.terms, metadata.lineage.name));
  RETORT_ASSIGN(const Digest digest, sha256_file(weights));
  if (!flags.lineage.empty() && metadata.lineage.weights != digest) {
    return caller_error("The lineage '" + flags.lineage + "' is of other weights than '" + weights.string() +
                        "'. Export the run again with `retort run`.");
  }
  metadata.lineage.weights = digest;
  return metadata;
}

Result<exporter::Agreement> prove(const fs::path& weights, const fs::path& file, Context& context) {
  RETORT_TRY(exporter::check_file(file));
  RETORT_ASSIGN(const model::LoadedWeights loaded, model::load_weights(weights));
  RETORT_ASSIGN(model::Decoder decoder,
                model::Decoder::from_tensors(loaded.config, loaded.tensors, model::ComputeType::kFloat32));
  model::TorchScorer trained(std::move(decoder));
  RETORT_ASSIGN(const tokens::Tokenizer tokenizer, tokens::Tokenizer::load(file));
  RETORT_ASSIGN(std::vector<TokenId> ids, tokenizer.encode(kProofText));
  ids.resize(std::min<std::size_t>(ids.size(), 240));
  llama::EngineOptions options;
  options.context_tokens = 256;
  options.parallel = 1;
  options.kv = llama::KvType::kF32;
  options.flash_attention = false;
  RETORT_ASSIGN(const auto engine, llama::Engine::open(file, options));
  const std::vector<std::vector<TokenId>> sequences = {std::move(ids)};
  return exporter::compare(trained, *engine, sequences, context.progress, context.stop);
}

Result<void> carry_out(Flags flags, Context& context) {
  fs::path weights = flags.source;
  std::error_code error;
  if (fs::is_directory(weights, error)) {
    const fs::path run = weights;
    weights = run / kWeightsOfRun;
    if (flags.lineage.empty() && fs::exists(run / kLineageOfRun, error)) flags.lineage = (run / kLineageOfRun).string();
    if (flags.recipe.empty() && fs::exists(run / kRecipeOfRun, error)) flags.recipe = (run / kRecipeOfRun).string();
  }
  RETORT_ASSIGN(const gguf::TensorType type, gguf::tensor_type_from_name(flags.type));
  RETORT_ASSIGN(const fs::path teacher_path, model_path(context, flags.teacher));
  RETORT_ASSIGN(const gguf::File teacher, gguf::File::open(teacher_path));
  RETORT_ASSIGN(const exporter::Student student, exporter::student_from_checkpoint(weights));
  RETORT_ASSIGN(const exporter::StudentMetadata metadata, papers(flags, weights, teacher, student.config, context));
  fs::path output = flags.output;
  if (output.empty())
    output = exporter::file_stem(metadata.lineage.name) + "-" + std::string(gguf::name_of(type)) + ".gguf";
  RETORT_TRY(exporter::write_student(teacher, student, metadata, type, output));
  auto agreement = prove(weights, output, context);
  if (agreement) {
    if (const auto checked = exporter::check_agreement(*agreement, type, output.string()); !checked) {
      agreement = Failure(checked.error());
    }
  }
  if (!agreement) {
    // A file that isn't proved doesn't stay.
    fs::remove(output, error);
    return Failure(agreement.error());
  }
  const auto size = fs::file_size(output, error);
  // Beside the file, as in a bundle: what must be kept goes where the file goes.
  for (const exporter::NoticeFile& notice : exporter::notice_files(metadata.lineage)) {
    RETORT_TRY(write_file(output.parent_path() / (output.filename().string() + "." + notice.name), notice.text));
  }
  const std::vector<exporter::CarriedDuty> duties = exporter::duties_from_json(metadata.lineage.duties);
  if (context.json) {
    context.emit({{"file", output.string()},
                  {"type", std::string(gguf::name_of(type))},
                  {"size_bytes", size},
                  {"agreement", exporter::to_json(*agreement)},
                  {"name", metadata.lineage.name},
                  {"obligations", metadata.lineage.duties}});
  } else {
    context.out << output.string() << "  " << gguf::name_of(type) << "  " << human_bytes(size)
                << "\nProved against the trained weights over " << agreement->positions
                << " tokens: |difference of logprobs| " << agreement->mean_difference << " on average, "
                << agreement->max_difference << " at most, KL " << agreement->mean_kl << " nats.\n";
    for (const exporter::CarriedDuty& duty : duties) {
      context.out << (duty.state == exporter::DutyState::kDone ? "Terms, done: " : "Terms, left to you: ")
                  << duty.sentence << '\n';
    }
  }
  return {};
}

}  // namespace

void register_export(VerbSetup& verb) {
  const auto flags = std::make_shared<Flags>();
  verb.app.add_option("source", flags->source, "A run's folder, or a checkpoint's weights (student.safetensors)")
      ->type_name("PATH")
      ->required();
  verb.app
      .add_option("--teacher", flags->teacher,
                  "The GGUF file it was cut from, or its name in the catalogue: gives tokenizer and template")
      ->type_name("MODEL")
      ->required();
  verb.app.add_option("-o,--output", flags->output, "File to write; NAME-TYPE.gguf when not given")->type_name("FILE");
  verb.app.add_option("--type", flags->type, "F32, F16, BF16, Q8_0, Q4_0, …")->type_name("TYPE")->capture_default_str();
  verb.app.add_option("--name", flags->name, "Name of the model, when the run's isn't wanted")->type_name("NAME");
  verb.app.add_option("--lineage", flags->lineage, "lineage.json to put into the file; a run's own is found")
      ->type_name("FILE");
  verb.app.add_option("--recipe", flags->recipe, "Recipe to put into the file; a run's own is found")
      ->type_name("FILE");
  add_terms_flags(verb.app, flags->terms);
  verb.action = [flags](Context& context) { return carry_out(*flags, context); };
}

}  // namespace retort::app
