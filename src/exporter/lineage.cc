#include "exporter/lineage.h"

#include <algorithm>
#include <utility>

namespace retort::exporter {
namespace {

constexpr std::int64_t kVersion = 1;

Result<Digest> digest_member(const Json& json, std::string_view key, const std::string& what) {
  RETORT_ASSIGN(const auto text, member<std::string>(json, key, what));
  auto digest = Digest::from_hex(text);
  if (!digest) return with_context(digest.error(), what + ", " + std::string(key));
  return digest;
}

Json to_json(const TeacherOrigin& teacher) {
  Json json = {{"name", teacher.name}, {"repository", teacher.repository}, {"licence", teacher.licence}};
  if (teacher.has_file()) {
    json["file"] = teacher.file;
    json["type"] = teacher.type;
    json["layers"] = teacher.layers;
    json["sha256"] = teacher.file_digest.hex();
    json["template_sha256"] = teacher.template_digest.hex();
  }
  if (teacher.served) {
    json["served"] = {
        {"api", teacher.served->api}, {"model", teacher.served->model}, {"endpoints", teacher.served->endpoints}};
  }
  return json;
}

Result<ServedOrigin> served_from_json(const Json& json, const std::string& what) {
  ServedOrigin served;
  RETORT_ASSIGN(served.api, member<std::string>(json, "api", what));
  RETORT_ASSIGN(served.model, member<std::string>(json, "model", what));
  RETORT_ASSIGN(served.endpoints, member<std::vector<std::string>>(json, "endpoints", what));
  return served;
}

Result<TeacherOrigin> teacher_from_json(const Json& json, const std::string& what) {
  TeacherOrigin teacher;
  RETORT_ASSIGN(teacher.name, member<std::string>(json, "name", what));
  RETORT_ASSIGN(teacher.repository, member<std::string>(json, "repository", what));
  RETORT_ASSIGN(teacher.licence, member<std::string>(json, "licence", what));
  if (json.contains("served")) {
    RETORT_ASSIGN(teacher.served, served_from_json(json["served"], what + ", served"));
    if (!json.contains("file")) return teacher;
  }
  RETORT_ASSIGN(teacher.file, member<std::string>(json, "file", what));
  RETORT_ASSIGN(teacher.type, member<std::string>(json, "type", what));
  RETORT_ASSIGN(teacher.layers, member<std::int64_t>(json, "layers", what));
  RETORT_ASSIGN(teacher.file_digest, digest_member(json, "sha256", what));
  RETORT_ASSIGN(teacher.template_digest, digest_member(json, "template_sha256", what));
  return teacher;
}

}  // namespace

std::string start_text(const Lineage& lineage) {
  const Json& start = lineage.start;
  const std::string layers = std::to_string(lineage.layers.size());
  const std::string all = std::to_string(lineage.origin().layers) + " layers";
  std::string text = layers + " of its " + all;
  if (lineage.base) text = layers + " of the " + all + " of '" + lineage.base->name + "'";
  if (start.contains("from")) text = layers + " layers of '" + start.value("from", "") + "'";
  if (start.contains("fresh")) text = layers + " layers of fresh weights";
  for (const auto& [key, what] :
       {std::pair{"intermediate", " feed-forward channels"}, {"kv_heads", " key-value heads"}}) {
    if (start.contains(key)) text += ", cut to " + std::to_string(start.value(key, std::int64_t{0})) + what;
  }
  return text;
}

std::vector<terms::Obligation> Lineage::obligations() const {
  std::vector<terms::Obligation> all = terms::obligations_from_json(terms);
  for (terms::Obligation& one : terms::obligations_from_json(base_terms)) {
    if (std::find(all.begin(), all.end(), one) == all.end()) all.push_back(std::move(one));
  }
  return all;
}

Json to_json(const Lineage& lineage) {
  Json json = {{"format", "retort-lineage"},
               {"version", kVersion},
               {"name", lineage.name},
               {"code_version", lineage.code_version},
               {"teacher", to_json(lineage.teacher)},
               {"layers", lineage.layers},
               {"tokenizer_fingerprint", lineage.tokenizer_fingerprint.hex()},
               {"weights_sha256", lineage.weights.hex()},
               {"dataset", lineage.dataset.hex()},
               {"train_exchanges", lineage.train_exchanges},
               {"held_out_exchanges", lineage.held_out_exchanges},
               {"recipe_sha256", lineage.recipe.hex()},
               {"training", lineage.training},
               {"terms", lineage.terms}};
  if (!lineage.start.empty()) json["start"] = lineage.start;
  if (lineage.base) {
    json["base"] = to_json(*lineage.base);
    json["base"]["terms"] = lineage.base_terms;
  }
  if (!lineage.duties.empty()) json["obligations"] = lineage.duties;
  return json;
}

Result<Lineage> lineage_from_json(const Json& json, const std::string& what) {
  if (!json.is_object() || json.value("format", Json()) != Json("retort-lineage")) {
    return caller_error(what + " is no lineage of Retort (its member 'format' doesn't say retort-lineage).");
  }
  RETORT_ASSIGN(const auto version, member<std::int64_t>(json, "version", what));
  if (version != kVersion) {
    return caller_error(what + " is of version " + std::to_string(version) + "; this program reads version " +
                        std::to_string(kVersion) + ". Use the program that wrote it, or a newer one.");
  }
  Lineage lineage;
  RETORT_ASSIGN(lineage.name, member<std::string>(json, "name", what));
  RETORT_ASSIGN(lineage.code_version, member<std::string>(json, "code_version", what));
  RETORT_ASSIGN(const Json teacher, member<Json>(json, "teacher", what));
  if (!teacher.is_object()) return caller_error(what + ": the member 'teacher' isn't an object.");
  RETORT_ASSIGN(lineage.teacher, teacher_from_json(teacher, what + ", teacher"));
  if (json.contains("base")) {
    RETORT_ASSIGN(lineage.base, teacher_from_json(json["base"], what + ", base"));
    RETORT_ASSIGN(lineage.base_terms, member<Json>(json["base"], "terms", what + ", base"));
  }
  RETORT_ASSIGN(lineage.layers, member<std::vector<std::int64_t>>(json, "layers", what));
  if (json.contains("start")) {
    RETORT_ASSIGN(lineage.start, member<Json>(json, "start", what));
    if (!lineage.start.is_object()) return caller_error(what + ": the member 'start' isn't an object.");
  }
  RETORT_ASSIGN(lineage.tokenizer_fingerprint, digest_member(json, "tokenizer_fingerprint", what));
  RETORT_ASSIGN(lineage.weights, digest_member(json, "weights_sha256", what));
  RETORT_ASSIGN(lineage.dataset, digest_member(json, "dataset", what));
  RETORT_ASSIGN(lineage.train_exchanges, member<std::int64_t>(json, "train_exchanges", what));
  RETORT_ASSIGN(lineage.held_out_exchanges, member<std::int64_t>(json, "held_out_exchanges", what));
  RETORT_ASSIGN(lineage.recipe, digest_member(json, "recipe_sha256", what));
  RETORT_ASSIGN(lineage.training, member<Json>(json, "training", what));
  RETORT_ASSIGN(lineage.terms, member<Json>(json, "terms", what));
  if (json.contains("obligations")) {
    RETORT_ASSIGN(lineage.duties, member<Json>(json, "obligations", what));
  }
  return lineage;
}

}  // namespace retort::exporter
