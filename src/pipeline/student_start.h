// What the student is before it is trained: layers of the teacher, another checkpoint, or fresh weights; narrowed where
// the recipe asks for it.
//
// The shape is worked out from the recipe alone, so that plan and disk can be counted before anything is computed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "dataset/example.h"
#include "model/decoder_config.h"
#include "model/hugging_face.h"
#include "pipeline/local_model.h"
#include "pipeline/stage.h"
#include "recipe/recipe.h"

namespace retort::model {
class Decoder;
}

namespace retort::pipeline {

// The model that `student.from` names, checked against the teacher's tokenizer. Owns its files.
struct StudentSource {
  std::optional<gguf::File> file;
  std::optional<model::HuggingFaceFolder> folder;  // one of both
  model::DecoderConfig config;
};

// Error (kCaller): not a GGUF file or Hugging Face folder of a supported family; another tokenizer than the teacher's.
Result<StudentSource> open_student_source(const std::string& path, const LocalModel& local);

// Whether a folder's tokenizer is that of a file, id by id, or noted as such by Retort. Error (kCaller): it isn't, or
// nobody can say.
Result<void> check_same_tokenizer(const model::HuggingFaceFolder& folder, const gguf::File& file,
                                  const tokens::Tokenizer& tokenizer);

// Digests of the files that `student.from` names; empty without it, and where it names the run's local model.
Result<Json> student_source_digests(const recipe::Recipe& recipe);

struct PlannedStudent {
  model::DecoderConfig config;  // its layers are the first ones where only their number is known
  bool fitted = false;          // to the model it was cut from, before it is trained
};
// Error (kCaller): as open_student_source(); a shape that can't be made from the model it starts from, or that
// llama.cpp can't run.
Result<PlannedStudent> planned_student(const recipe::Recipe& recipe, const LocalModel& local);

// The student in FP32; `local`: the run's local model. Chooses layers (train/layers.json) and widths
// (train/widths.json), measured on `examples`, unless that was done; what isn't simply layers of that model is kept as
// train/start.safetensors, for export. A student that was cut or narrowed is fitted to that model on `examples`, unless
// the recipe says otherwise; what that gave on `held_out` is kept (train/fit.json).
Result<model::Decoder> start_student(StageContext& context, const model::Decoder& local,
                                     const std::vector<dataset::Example>& examples,
                                     const std::vector<dataset::Example>& held_out);

// That student once more, from what is on record; after start_student() alone.
Result<model::Decoder> student_again(const StageContext& context);

// How the student began, for its lineage: see exporter::Lineage::start. After start_student().
Result<Json> start_of_lineage(const StageContext& context);

}  // namespace retort::pipeline
