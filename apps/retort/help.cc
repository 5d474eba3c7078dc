#include "frame/frame.h"
#include "pipeline/run_options.h"
#include "retort/verb.h"

namespace retort::app {

namespace {

// Of a verb; with the section of a recipe that has its name.
Result<std::string> help_of_verb(const std::string& name) {
  RETORT_ASSIGN(std::string page, verb_help(name));
  const auto section = pipeline::recipe_schema()->describe(name);
  if (section) page += "\nIn a recipe:\n\n" + *section;
  return page;
}

// A key or section of a recipe; else what neither verbs nor keys know.
Result<std::string> key_help(const std::string& topic) {
  const auto schema = pipeline::recipe_schema();
  const auto page = schema->describe(topic);
  if (page) return *page;
  const bool meant_a_key = topic.find('.') != std::string::npos || !schema->nearest_key(topic).empty();
  return meant_a_key ? page : verb_help(topic);
}

}  // namespace

void register_help(VerbSetup& verb) {
  const auto topic = std::make_shared<std::string>();
  verb.app.add_option("topic", *topic, "A verb, or a key of a recipe such as train.learning_rate")->type_name("TOPIC");
  verb.action = [topic](Context& context) -> Result<void> {
    if (topic->empty()) {
      context.out << verb_list();
      return {};
    }
    RETORT_ASSIGN(const std::string page, find_verb(*topic) != nullptr ? help_of_verb(*topic) : key_help(*topic));
    if (context.json) {
      context.emit({{"topic", *topic}, {"text", page}});
    } else {
      context.out << page;
    }
    return {};
  };
}

}  // namespace retort::app
