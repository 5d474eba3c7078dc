// Who is learnt from: the recipe's key `teacher`.
//
//   teacher: smollm2-135m-instruct                 # a GGUF file, or a name of the catalogue
//   teacher:                                       # a model behind an API
//     api: openai
//     endpoints: [{url: "http://127.0.0.1:8000/v1", key_env: MY_KEY}]
//     model: Qwen/Qwen3-8B
//     terms: {purpose: internal}
//
// Plain values; any thread. A key itself is never part of a recipe: only the name of where it is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "recipe/map_shape.h"
#include "recipe/option_set.h"

namespace retort::collect {

// One server that gives the model.
struct EndpointOptions {
  std::string url;       // with the version: "http://127.0.0.1:8000/v1"
  std::string key_env;   // the environment variable that holds its key
  std::string key_file;  // or the file
  // Of this endpoint alone; 0: those of collect.limits.
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;
  bool operator==(const EndpointOptions&) const = default;
};

// A permission that lifts a decision of `terms`: who gave it, in which document, for what, until when.
struct AuthorisationOptions {
  std::string by;              // the person or organisation that gives it
  std::string document;        // SHA-256 of the document, in hexadecimal
  std::string scope;           // what it permits, in its words
  std::string expires;         // ISO date; empty: it doesn't
  bool from_licensor = false;  // the licensor itself gave it: the only kind that lifts a refusal
  bool operator==(const AuthorisationOptions&) const = default;
};

// What the student is for: facts that the teacher's terms depend on.
struct TeacherTermsOptions {
  std::string purpose = "internal";  // research, internal, product, classifier
  bool distributed = false;          // the student leaves the house
  bool commercial = false;
  std::string region;              // ISO 3166 of where it is used; empty: not said
  std::int64_t monthly_users = 0;  // of the product; 0: not said
  AuthorisationOptions authorisation;
  bool operator==(const TeacherTermsOptions&) const = default;
};

// How the teacher's chat template writes a conversation of one turn, as texts: `user` the user's turn `assistant` the
// answer `end`.
struct TurnTexts {
  std::string user;       // all before the user's text: "<|im_start|>user\n"
  std::string assistant;  // from the user's end of turn on: "<|im_end|>\n<|im_start|>assistant\n"
  std::string end;        // ends a turn: "<|im_end|>"
  bool stated() const { return !end.empty(); }
  bool operator==(const TurnTexts&) const = default;
};

struct TeacherOptions {
  // gguf: a file of this machine; behind an API: openai (chat), openai_responses, openai_completions (goes on with one
  // text: for base models, and for users' turns of the model's own template), anthropic.
  std::string api = "gguf";
  // The GGUF file, or a name of the catalogue. With an API: the same model's file when it is at hand too, so that the
  // student can be cut from it and shown its probabilities.
  std::string file;
  std::vector<EndpointOptions> endpoints;
  std::string model;         // as the API names it
  std::string route;         // through whom it is asked, where terms depend on it: "openrouter", "bedrock"
  std::string organisation;  // that owns several keys of one provider
  // For self-generated prompts, where neither file nor student.from has the teacher's template.
  TurnTexts turn_texts;
  TeacherTermsOptions terms;

  bool served() const { return api != "gguf"; }
  // Whether it is asked in whole messages, so that nobody here writes its template.
  bool takes_messages() const { return served() && api != "openai_completions"; }
  bool operator==(const TeacherOptions&) const = default;
};

const recipe::MapShape<EndpointOptions>& endpoint_shape();
const recipe::MapShape<AuthorisationOptions>& authorisation_shape();
const recipe::MapShape<TeacherTermsOptions>& teacher_terms_shape();
const recipe::MapShape<TurnTexts>& turn_texts_shape();

}  // namespace retort::collect

namespace retort::recipe {
template <>
struct Codec<std::vector<collect::EndpointOptions>> : MapListCodec<collect::EndpointOptions, &collect::endpoint_shape> {
};
template <>
struct Codec<collect::AuthorisationOptions> : MapCodec<collect::AuthorisationOptions, &collect::authorisation_shape> {};
template <>
struct Codec<collect::TeacherTermsOptions> : MapCodec<collect::TeacherTermsOptions, &collect::teacher_terms_shape> {};
template <>
struct Codec<collect::TurnTexts> : MapCodec<collect::TurnTexts, &collect::turn_texts_shape> {};
// A text is the file's path or name; a map must make sense as a whole.
template <>
struct Codec<collect::TeacherOptions> {
  static std::string type_name(const OptionText& text);
  static Parsed<collect::TeacherOptions> parse(const Node& node, const OptionText& text);
  static Node write(const collect::TeacherOptions& value);
};
}  // namespace retort::recipe
