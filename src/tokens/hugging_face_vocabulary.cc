#include "tokens/hugging_face_vocabulary.h"

#include <cstdint>
#include <map>
#include <vector>

namespace retort::tokens {
namespace {

using Texts = std::map<std::int64_t, std::string>;

Failure another_form(const std::string& what) {
  return caller_error(what + " isn't a tokenizer.json with a vocabulary by text or in order of ids.");
}

// {"model": {"vocab": {text: id}}} of BPE, or [[text, score], …] of Unigram; {"added_tokens": [{"id", "content"}]}.
Result<Texts> texts_of(const Json& tokenizer, const std::string& what) {
  const auto model = tokenizer.is_object() ? tokenizer.find("model") : tokenizer.end();
  if (model == tokenizer.end() || !model->is_object() || !model->contains("vocab")) return another_form(what);
  const Json& vocabulary = model->at("vocab");
  Texts texts;
  if (vocabulary.is_object()) {
    for (const auto& [text, id] : vocabulary.items()) {
      if (!id.is_number_integer()) return another_form(what);
      texts[id.get<std::int64_t>()] = text;
    }
  } else if (vocabulary.is_array()) {
    std::int64_t id = 0;
    for (const Json& entry : vocabulary) {
      if (!entry.is_array() || entry.empty() || !entry[0].is_string()) return another_form(what);
      texts[id++] = entry[0].get<std::string>();
    }
  } else {
    return another_form(what);
  }
  for (const Json& added : tokenizer.value("added_tokens", Json::array())) {
    RETORT_ASSIGN(const auto id, member<std::int64_t>(added, "id", what));
    RETORT_ASSIGN(texts[id], member<std::string>(added, "content", what));
  }
  return texts;
}

bool is_filler(const std::string& text) { return text.empty() || text.starts_with("[PAD"); }

}  // namespace

Result<void> check_same_vocabulary(const gguf::Metadata& metadata, const Json& tokenizer, const std::string& what) {
  RETORT_ASSIGN(const auto tokens, metadata.get<std::vector<std::string>>("tokenizer.ggml.tokens"));
  RETORT_ASSIGN(const Texts texts, texts_of(tokenizer, what));
  const auto differ = [&](std::int64_t id, const std::string& own, const std::string& other) {
    return caller_error(what + " has another vocabulary than the teacher: its token " + std::to_string(id) + " is '" +
                        own.substr(0, 40) + "', the teacher's is '" + other.substr(0, 40) +
                        "'. A student learns the teacher's distribution only over the same tokens: take a student of " +
                        "the same family, or cut one from the teacher.");
  };
  for (const auto& [id, text] : texts) {
    const bool inside = id >= 0 && id < static_cast<std::int64_t>(tokens.size());
    const std::string other = inside ? tokens[static_cast<std::size_t>(id)] : "(none)";
    if (!inside || text != other) return differ(id, text, other);
  }
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const auto number = static_cast<std::int64_t>(id);
    if (!texts.contains(number) && !is_filler(tokens[id])) return differ(number, "(none)", tokens[id]);
  }
  return {};
}

}  // namespace retort::tokens
