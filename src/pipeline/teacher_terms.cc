#include "pipeline/teacher_terms.h"

#include <string>

namespace retort::pipeline {
namespace {

Result<terms::Declared> declared_by(const gguf::File& file) {
  const gguf::Metadata& metadata = file.metadata();
  terms::Declared declared;
  RETORT_ASSIGN(declared.licence, metadata.get_or<std::string>("general.license", ""));
  RETORT_ASSIGN(declared.licence_name, metadata.get_or<std::string>("general.license.name", ""));
  RETORT_ASSIGN(declared.licence_link, metadata.get_or<std::string>("general.license.link", ""));
  RETORT_ASSIGN(declared.model_name, metadata.get_or<std::string>("general.name", ""));
  return declared;
}

}  // namespace

Result<terms::Decision> teacher_terms(const collect::TeacherOptions& teacher, const collect::TermsOptions& accepted,
                                      const gguf::File* own_file) {
  const terms::Acceptance acceptance{accepted.accepted_by, accepted.accepted_licence};
  if (own_file == nullptr) {
    terms::Declared declared;
    declared.model_name = teacher.model;
    return terms::admit(declared, {{terms::Use::kOutputs}}, acceptance);
  }
  RETORT_ASSIGN(const terms::Declared declared, declared_by(*own_file));
  // The student starts as the teacher's own layers, learns from its text, and from its probabilities.
  return terms::admit(declared, {{terms::Use::kOutputs, terms::Use::kLogprobs, terms::Use::kWeights}}, acceptance);
}

Result<terms::Decision> terms_of_base(const gguf::File& base, const collect::TermsOptions& accepted) {
  RETORT_ASSIGN(const terms::Declared declared, declared_by(base));
  // What a person accepted is the teacher's licence, unless this file says nothing of its own.
  terms::Acceptance acceptance;
  if (declared.licence.empty()) acceptance = {accepted.accepted_by, accepted.accepted_licence};
  return terms::admit(declared, {{terms::Use::kWeights}}, acceptance);
}

}  // namespace retort::pipeline
