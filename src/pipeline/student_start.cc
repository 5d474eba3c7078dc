#include "pipeline/student_start.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <optional>
#include <utility>

#include "base/digest.h"
#include "base/files.h"
#include "model/decoder.h"
#include "model/kl_judge.h"
#include "model/layer_choice.h"
#include "model/layer_fit.h"
#include "model/packed_text.h"
#include "model/weights.h"
#include "model/width_choice.h"
#include "pipeline/run_files.h"
#include "pipeline/run_options.h"
#include "pipeline/teacher.h"
#include "tokens/hugging_face_vocabulary.h"
#include "tokens/tokenizer.h"

namespace retort::pipeline {
namespace fs = std::filesystem;

Result<void> check_same_tokenizer(const model::HuggingFaceFolder& folder, const gguf::File& file,
                                  const tokens::Tokenizer& tokenizer) {
  const fs::path path = folder.path() / "tokenizer.json";
  if (is_there(path)) {
    RETORT_ASSIGN(const std::string text, read_file(path));
    RETORT_ASSIGN(const Json json, parse_json(text, path.string()));
    return tokens::check_same_vocabulary(file.metadata(), json, "'" + path.string() + "'");
  }
  const std::string noted = folder.note().value("tokenizer", "");
  if (noted == tokenizer.fingerprint().hex()) return {};
  return caller_error("'" + folder.path().string() + "' " +
                      (noted.empty() ? "has no tokenizer.json, so nobody can say which tokens it knows"
                                     : "was trained with another tokenizer than the teacher's") +
                      ". Expected the teacher's vocabulary: put the tokenizer.json of its model there, or start from "
                      "another checkpoint.");
}

namespace {

// What the recipe says of the student. Where the teacher gives its text alone, student.from names the run's local
// model, and the student is cut from that like any other.
StudentOptions student_options(const recipe::Recipe& recipe) {
  StudentOptions options = recipe.get(student_option_set());
  if (gives_text_alone(recipe.get(run_option_set()).teacher)) options.from.clear();
  return options;
}

// `whole`: what the student is made from.
bool is_fitted(const StudentOptions& options, const model::DecoderConfig& whole, const model::DecoderConfig& student) {
  return options.fit_tokens > 0 && !options.fresh.any() && (student.layers < whole.layers || options.narrower());
}

// Layers 0, 1, … of as many.
std::vector<std::int64_t> first_layers(std::int64_t count) {
  std::vector<std::int64_t> layers(static_cast<std::size_t>(count));
  std::iota(layers.begin(), layers.end(), 0);
  return layers;
}

model::WidthOptions width_options(const StudentOptions& options) {
  return {options.intermediate, options.kv_heads, options.measured_tokens};
}

// The fresh student's shape: what isn't said is the teacher's.
Result<model::DecoderConfig> fresh_config(const StudentOptions& options, const model::DecoderConfig& teacher) {
  model::DecoderConfig config = teacher;
  const auto take = [](std::int64_t& target, std::int64_t value) {
    if (value > 0) target = value;
  };
  take(config.layers, options.fresh.layers);
  take(config.hidden, options.fresh.hidden);
  take(config.heads, options.fresh.heads);
  take(config.kv_heads, options.fresh.kv_heads);
  take(config.intermediate, options.fresh.intermediate);
  if (options.fresh.hidden > 0 || options.fresh.heads > 0) config.head_dim = config.hidden / config.heads;
  config.source_layers = first_layers(config.layers);
  const bool divides = config.hidden % config.heads == 0 || config.head_dim == teacher.head_dim;
  if (!divides || config.heads % config.kv_heads != 0 || config.head_dim % 2 != 0) {
    return caller_error("The fresh student would have " + std::to_string(config.heads) + " heads and " +
                        std::to_string(config.kv_heads) + " key-value heads in a width of " +
                        std::to_string(config.hidden) +
                        " (student.fresh); expected heads that divide by key-value heads, and a width that divides by "
                        "heads into even parts.");
  }
  // Factors of the teacher's frequencies belong to its head width.
  if (config.head_dim != teacher.head_dim) config.rope_factors.clear();
  return config;
}

// What llama.cpp couldn't run must not be trained first.
Result<void> check_runs(const model::DecoderConfig& config) {
  if (config.architecture != "qwen2" || config.heads * config.head_dim == config.hidden) return {};
  return caller_error("The student would have " + std::to_string(config.heads) + " heads of " +
                      std::to_string(config.head_dim) + " values in a width of " + std::to_string(config.hidden) +
                      "; llama.cpp computes models of the architecture qwen2 only where heads make up the width. Leave "
                      "student.kv_heads out.");
}

std::vector<model::MeasuredSequence> sequences_of(const std::vector<dataset::Example>& examples,
                                                  std::int64_t measured_tokens) {
  std::vector<model::MeasuredSequence> sequences;
  std::int64_t tokens = 0;
  for (const dataset::Example& example : examples) {
    if (tokens >= measured_tokens) break;
    if (example.ids.empty()) continue;
    tokens += static_cast<std::int64_t>(example.ids.size());
    model::MeasuredSequence sequence{example.ids, std::vector<std::uint8_t>(example.ids.size(), 0)};
    // What is learnt is judged: the distribution before each target.
    for (std::size_t i = 0; i + 1 < example.ids.size(); ++i) sequence.judged[i] = example.supervised[i + 1];
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

// `whole`: the model whose layers they are.
Result<std::vector<std::int64_t>> layers_for(StageContext& context, const model::Decoder& whole,
                                             const std::vector<model::MeasuredSequence>& sequences) {
  if (is_there(context.folder.of(kLayersFile))) return read_kept_layers(context.folder);
  const auto options = student_options(context.recipe);
  Result<model::LayerChoice> choice = [&]() -> Result<model::LayerChoice> {
    if (options.layers.is_list() || options.layers.count() == 0) {
      const std::vector<std::int64_t> list =
          options.layers.is_list() ? options.layers.list() : first_layers(whole.config().layers);
      return model::given_layers(whole, sequences, list, options.measured_tokens);
    }
    model::LayerChoiceOptions choice_options;
    RETORT_ASSIGN(choice_options.method, model::layer_method_from_name(options.layer_method));
    choice_options.keep = options.layers.count();
    choice_options.max_tokens = options.measured_tokens;
    return model::choose_layers(whole, sequences, choice_options, context.progress, context.stop);
  }();
  if (!choice) return Failure(std::move(choice.error()));
  RETORT_TRY(write_json(context.folder, kLayersFile, model::to_json(*choice)));
  return choice->kept;
}

Result<model::Decoder> fresh_student(StageContext& context, const StudentOptions& options) {
  RETORT_ASSIGN(const model::DecoderConfig config, fresh_config(options, context.local.config));
  RETORT_ASSIGN(model::Decoder fresh, model::Decoder::fresh(config, static_cast<std::uint64_t>(options.fresh.seed),
                                                            model::ComputeType::kFloat32));
  RETORT_ASSIGN(const model::LayerChoice all, model::given_layers(fresh, {}, config.source_layers, 0));
  RETORT_TRY(write_json(context.folder, kLayersFile, model::to_json(all)));
  return fresh;
}

// Of the held-out exchanges, for the KL of what was fitted.
constexpr std::int64_t kJudgedText = 2048;

Result<void> fit(StageContext& context, const StudentOptions& options, const model::Decoder& whole,
                 model::Decoder& student, const std::vector<dataset::Example>& examples,
                 const std::vector<dataset::Example>& held_out) {
  const auto judged = sequences_of(held_out, kJudgedText);
  std::optional<model::PackedText> text;
  std::optional<model::KlJudge> judge;
  std::optional<double> kl_before;
  if (!judged.empty()) {
    RETORT_ASSIGN(text, model::pack_text(judged, student.config(), kJudgedText));
    judge.emplace(whole, *text);
    kl_before = judge->of(student, *text);
  }
  const model::LayerFitOptions fit_options{.max_tokens = options.fit_tokens};
  RETORT_ASSIGN(model::LayerFit fit, model::fit_layers(whole, student, sequences_of(examples, options.fit_tokens),
                                                       fit_options, context.progress, context.stop));
  if (judge) {
    fit.kl_before = kl_before;
    fit.kl_after = judge->of(student, *text);
  }
  return write_json(context.folder, kFitFile, model::to_json(fit));
}

}  // namespace

Result<StudentSource> open_student_source(const std::string& path, const LocalModel& local) {
  StudentSource source;
  if (fs::is_directory(path)) {
    RETORT_ASSIGN(source.folder, model::HuggingFaceFolder::open(path));
    source.config = source.folder->config();
    RETORT_TRY(check_same_tokenizer(*source.folder, local.file, local.format.tokenizer()));
  } else {
    RETORT_ASSIGN(source.file, gguf::File::open(path));
    RETORT_ASSIGN(source.config, model::decoder_config(*source.file));
    RETORT_ASSIGN(const tokens::Tokenizer tokenizer, tokens::Tokenizer::load(*source.file));
    if (tokenizer.fingerprint() != local.format.tokenizer().fingerprint()) {
      return caller_error(
          "'" + path + "' (student.from) has another tokenizer than the teacher, and a student learns " +
          "the teacher's distribution only over the same tokens. Take a student of the same family, or " +
          "cut one from the teacher.");
    }
  }
  if (source.config.vocabulary != local.config.vocabulary) {
    return caller_error("'" + path + "' (student.from) has " + std::to_string(source.config.vocabulary) +
                        " rows of embeddings and the teacher " + std::to_string(local.config.vocabulary) +
                        "; expected as many. Take a student of the same family and padding.");
  }
  return source;
}

Result<Json> student_source_digests(const recipe::Recipe& recipe) {
  const std::string from = student_options(recipe).from;
  Json files = Json::object();
  if (from.empty()) return files;
  if (!fs::is_directory(from)) {
    RETORT_ASSIGN(const Digest digest, sha256_file(from));
    files["from"] = digest.hex();
    return files;
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(from, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".safetensors") && !name.ends_with(".json")) continue;
    RETORT_ASSIGN(const Digest digest, sha256_file(entry.path()));
    files[name] = digest.hex();
  }
  if (error) return caller_error("'" + from + "' (student.from) can't be listed (" + error.message() + ").");
  return files;
}

Result<PlannedStudent> planned_student(const recipe::Recipe& recipe, const LocalModel& local) {
  const auto options = student_options(recipe);
  model::DecoderConfig whole = local.config;
  model::DecoderConfig config = whole;
  if (options.fresh.any()) {
    RETORT_ASSIGN(config, fresh_config(options, local.config));
  } else {
    if (!options.from.empty()) {
      RETORT_ASSIGN(const StudentSource source, open_student_source(options.from, local));
      whole = config = source.config;
    }
    if (options.layers.count() > 0) {
      const auto layers = options.layers.is_list() ? options.layers.list() : first_layers(options.layers.count());
      RETORT_ASSIGN(config, model::cut_config(config, layers));
    }
    RETORT_ASSIGN(config, model::narrow_config(config, width_options(options)));
  }
  RETORT_TRY(check_runs(config));
  const bool fitted = is_fitted(options, whole, config);
  return PlannedStudent{std::move(config), fitted};
}

Result<model::Decoder> student_again(const StageContext& context) {
  if (is_there(context.folder.of(kStartFile))) {
    RETORT_ASSIGN(const model::LoadedWeights start, model::load_weights(context.folder.of(kStartFile)));
    return model::Decoder::from_tensors(start.config, start.tensors, model::ComputeType::kFloat32);
  }
  RETORT_ASSIGN(const std::vector<std::int64_t> layers, read_kept_layers(context.folder));
  return model::Decoder::from_gguf(
      context.local.file,
      {.compute = model::ComputeType::kFloat32, .backend = model::Backend::kKernels, .layers = layers});
}

Result<model::Decoder> start_student(StageContext& context, const model::Decoder& local,
                                     const std::vector<dataset::Example>& examples,
                                     const std::vector<dataset::Example>& held_out) {
  const auto options = student_options(context.recipe);
  if (is_there(context.folder.of(kStartFile))) return student_again(context);
  const auto sequences = sequences_of(examples, options.measured_tokens);
  std::optional<model::Decoder> loaded;  // what student.from names
  const auto started = [&]() -> Result<model::Decoder> {
    if (options.fresh.any()) return fresh_student(context, options);
    if (options.from.empty()) {
      RETORT_TRY(layers_for(context, local, sequences));
      return student_again(context);
    }
    RETORT_ASSIGN(const StudentSource source, open_student_source(options.from, context.local));
    RETORT_ASSIGN(loaded, source.folder
                              ? model::Decoder::from_hugging_face(*source.folder, model::ComputeType::kFloat32)
                              : model::Decoder::from_gguf(*source.file, {}));
    RETORT_ASSIGN(const auto layers, layers_for(context, *loaded, sequences));
    return loaded->keep_layers(layers);
  }();
  if (!started) return started;
  const model::Decoder& whole = loaded ? *loaded : local;
  const bool fitted = is_fitted(options, whole.config(), started->config());
  if (options.from.empty() && !options.fresh.any() && !options.narrower() && !fitted) return started;
  model::Decoder student = *started;
  if (options.narrower()) {
    const model::WidthOptions widths = width_options(options);
    RETORT_ASSIGN(const auto choice, model::choose_widths(student, sequences, widths, context.stop));
    RETORT_TRY(write_json(context.folder, kWidthsFile, model::to_json(choice)));
    RETORT_ASSIGN(student, model::narrowed(student, widths, choice));
  }
  if (fitted) RETORT_TRY(fit(context, options, whole, student, examples, held_out));
  RETORT_TRY(model::save_weights(context.folder.of(kStartFile), student.config(), student.named_parameters()));
  return student;
}

Result<Json> start_of_lineage(const StageContext& context) {
  const auto options = student_options(context.recipe);
  Json start = Json::object();
  if (!options.from.empty()) {
    RETORT_ASSIGN(const Json digests, student_source_digests(context.recipe));
    fs::path path = options.from;
    if (!path.has_filename()) path = path.parent_path();
    start["from"] = path.filename().string();
    start["from_sha256"] =
        fs::is_directory(options.from) ? sha256(canonical_json(digests)).hex() : digests.value("from", "");
  }
  if (options.fresh.any()) start["fresh"] = {{"seed", options.fresh.seed}};
  if (options.intermediate > 0) start["intermediate"] = options.intermediate;
  if (options.kv_heads > 0) start["kv_heads"] = options.kv_heads;
  if (is_there(context.folder.of(kFitFile))) start["fit_tokens"] = options.fit_tokens;
  return start;
}

}  // namespace retort::pipeline
