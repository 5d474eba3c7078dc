#include "collect/teacher_options.h"

namespace retort::collect {

const recipe::MapShape<EndpointOptions>& endpoint_shape() {
  static const auto shape = recipe::MapShape<EndpointOptions>()
                                .add("url", &EndpointOptions::url, {.required = true, .not_empty = true})
                                .add("key_env", &EndpointOptions::key_env)
                                .add("key_file", &EndpointOptions::key_file)
                                .add("requests_per_minute", &EndpointOptions::requests_per_minute, {.minimum = 0})
                                .add("tokens_per_minute", &EndpointOptions::tokens_per_minute, {.minimum = 0});
  return shape;
}

const recipe::MapShape<AuthorisationOptions>& authorisation_shape() {
  static const auto shape = recipe::MapShape<AuthorisationOptions>()
                                .add("by", &AuthorisationOptions::by, {.required = true, .not_empty = true})
                                .add("document", &AuthorisationOptions::document, {.required = true, .not_empty = true})
                                .add("scope", &AuthorisationOptions::scope, {.required = true, .not_empty = true})
                                .add("expires", &AuthorisationOptions::expires)
                                .add("from_licensor", &AuthorisationOptions::from_licensor);
  return shape;
}

const recipe::MapShape<TeacherTermsOptions>& teacher_terms_shape() {
  static const auto shape =
      recipe::MapShape<TeacherTermsOptions>()
          .add("purpose", &TeacherTermsOptions::purpose, {.choices = {"research", "internal", "product", "classifier"}})
          .add("distributed", &TeacherTermsOptions::distributed)
          .add("commercial", &TeacherTermsOptions::commercial)
          .add("region", &TeacherTermsOptions::region)
          .add("monthly_users", &TeacherTermsOptions::monthly_users, {.minimum = 0})
          .add("authorisation", &TeacherTermsOptions::authorisation);
  return shape;
}

const recipe::MapShape<TurnTexts>& turn_texts_shape() {
  static const auto shape = recipe::MapShape<TurnTexts>()
                                .add("user", &TurnTexts::user, {.required = true, .not_empty = true})
                                .add("assistant", &TurnTexts::assistant, {.required = true, .not_empty = true})
                                .add("end", &TurnTexts::end, {.required = true, .not_empty = true});
  return shape;
}

}  // namespace retort::collect

namespace retort::recipe {
namespace {

using collect::EndpointOptions;
using collect::TeacherOptions;

const MapShape<TeacherOptions>& teacher_shape() {
  static const auto shape =
      MapShape<TeacherOptions>()
          .add("api", &TeacherOptions::api,
               {.choices = {"gguf", "openai", "openai_responses", "openai_completions", "anthropic"}})
          .add("file", &TeacherOptions::file)
          .add("endpoints", &TeacherOptions::endpoints)
          .add("model", &TeacherOptions::model)
          .add("route", &TeacherOptions::route)
          .add("organisation", &TeacherOptions::organisation)
          .add("template", &TeacherOptions::turn_texts)
          .add("terms", &TeacherOptions::terms);
  return shape;
}

// Rules over several parts; empty: fine.
std::string impossible(const TeacherOptions& teacher) {
  if (!teacher.served()) {
    if (teacher.file.empty()) return "the part 'file' is missing: api gguf reads a file of this machine";
    if (!teacher.endpoints.empty()) return "endpoints need an api that is served: openai or anthropic";
    return {};
  }
  if (teacher.endpoints.empty()) return "the part 'endpoints' is missing: api " + teacher.api + " is asked over HTTP";
  if (teacher.turn_texts.stated() && teacher.api != "openai_completions") {
    return "a template is for api openai_completions: " + teacher.api + " writes conversations by itself";
  }
  if (teacher.turn_texts.stated() && !teacher.turn_texts.assistant.starts_with(teacher.turn_texts.end)) {
    return "template.assistant begins with template.end, which closes the user's turn";
  }
  if (teacher.model.empty()) return "the part 'model' is missing: the name by which the API knows the teacher";
  for (const EndpointOptions& endpoint : teacher.endpoints) {
    if (!endpoint.key_env.empty() && !endpoint.key_file.empty()) {
      return "an endpoint has its key in one place, key_env or key_file";
    }
  }
  return {};
}

}  // namespace

std::string Codec<TeacherOptions>::type_name(const OptionText&) {
  return "the path of a GGUF file, a name of the catalogue, or " + teacher_shape().type_name();
}

Parsed<TeacherOptions> Codec<TeacherOptions>::parse(const Node& node, const OptionText& text) {
  if (node.kind == Node::Kind::kText && !node.text.empty()) {
    TeacherOptions teacher;
    teacher.file = node.text;
    return teacher;
  }
  if (node.kind != Node::Kind::kMap) return Expected(type_name(text));
  auto teacher = teacher_shape().parse(node);
  if (!teacher) return teacher;
  const std::string why = impossible(*teacher);
  if (!why.empty()) return Expected("a teacher that can be asked; " + why);
  return teacher;
}

Node Codec<TeacherOptions>::write(const TeacherOptions& value) {
  TeacherOptions plain;
  plain.file = value.file;
  return value == plain ? Node::of(value.file) : teacher_shape().write(value);
}

}  // namespace retort::recipe
