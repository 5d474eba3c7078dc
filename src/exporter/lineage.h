// Where a student comes from, as it stands in its GGUF files (retort.lineage) and in a bundle's lineage.json: the same
// canonical bytes in both (docs/formats/bundle.md). Holds no times, so that the same run gives the same files.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "terms/terms.h"

namespace retort::exporter {

// A model that answered over an API.
struct ServedOrigin {
  std::string api;                     // "openai", "anthropic"
  std::string model;                   // as the API names it
  std::vector<std::string> endpoints;  // URLs, without credentials
  bool operator==(const ServedOrigin&) const = default;
};

// A model's file; of a teacher behind an API whose file isn't at hand, its name alone.
struct TeacherOrigin {
  std::string name;        // general.name, else the file's name; as the API names it where there is no file
  std::string file;        // file name, without folder
  std::string type;        // "Q4_1": quality is said against this very file
  std::string repository;  // address or Hugging Face id, when known; may be empty
  std::string licence;     // id: "apache-2.0"
  std::int64_t layers = 0;
  Digest file_digest;
  Digest template_digest;
  std::optional<ServedOrigin> served;
  bool has_file() const { return !file.empty(); }
  bool operator==(const TeacherOrigin&) const = default;
};

struct Lineage {
  std::string name;  // of the student
  std::string code_version;
  TeacherOrigin teacher;
  // What the student was cut from where the teacher's own file wasn't at hand, with the terms of its weights.
  std::optional<TeacherOrigin> base;
  Json base_terms = Json::object();
  // Of that model that the student kept, ascending; of the checkpoint it began from; 0, 1, … of a fresh one.
  std::vector<std::int64_t> layers;
  // How the student began if not as layers of the teacher alone: "from" and "from_sha256", "fresh", "intermediate",
  // "kv_heads". Empty otherwise, and then left out.
  Json start = Json::object();
  Digest tokenizer_fingerprint;
  Digest weights;  // SHA-256 of the checkpoint's weights file
  Digest dataset;  // dataset::dataset_digest(); names the exchanges
  std::int64_t train_exchanges = 0;
  std::int64_t held_out_exchanges = 0;
  Digest recipe;                   // SHA-256 of the effective recipe's text
  Json training = Json::object();  // objective, tokens, …: kept, not read
  Json terms = Json::object();     // terms::to_json(Decision)
  Json duties = Json::array();     // exporter::to_json(CarriedDuty…): what the terms ask, done and left; may be empty
  bool operator==(const Lineage&) const = default;

  // The model whose tokenizer, template and, unless `start` says otherwise, weights the student has.
  const TeacherOrigin& origin() const { return base ? *base : teacher; }
  // What the teacher's terms ask, and those of the base.
  std::vector<terms::Obligation> obligations() const;
};

// What the student was before training, to go on "A student of X: …": "20 of its 30 layers".
std::string start_text(const Lineage& lineage);

Json to_json(const Lineage& lineage);
// Error (kCaller): not a lineage, a newer version, or a member missing; `what` is named.
Result<Lineage> lineage_from_json(const Json& json, const std::string& what);

}  // namespace retort::exporter
