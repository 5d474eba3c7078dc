// Where a student comes from, as it stands in its GGUF files (retort.lineage) and in a bundle's lineage.json: the same
// canonical bytes in both (docs/formats/bundle.md). Holds no times, so that the same run gives the same files.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"

namespace retort::exporter {

struct TeacherOrigin {
  std::string name;        // general.name, else the file's name
  std::string file;        // file name, without folder
  std::string type;        // "Q4_1": quality is said against this very file
  std::string repository;  // address or Hugging Face id, when known; may be empty
  std::string licence;     // id: "apache-2.0"
  std::int64_t layers = 0;
  Digest file_digest;
  Digest template_digest;
  bool operator==(const TeacherOrigin&) const = default;
};

struct Lineage {
  std::string name;  // of the student
  std::string code_version;
  TeacherOrigin teacher;
  // Of the teacher that the student kept, ascending; of the checkpoint it began from; 0, 1, … of a fresh one.
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
};

// What the student was before training, to go on "A student of X: …": "20 of its 30 layers".
std::string start_text(const Lineage& lineage);

Json to_json(const Lineage& lineage);
// Error (kCaller): not a lineage, a newer version, or a member missing; `what` is named.
Result<Lineage> lineage_from_json(const Json& json, const std::string& what);

}  // namespace retort::exporter
