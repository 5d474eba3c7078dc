#include "retort/frame.h"
#include "retort/verb.h"
#include "retort/verbs.h"

namespace retort::app {

void register_help(VerbSetup& verb) {
  const auto topic = std::make_shared<std::string>();
  verb.app.add_option("topic", *topic, "A verb, or a key of a recipe such as train.learning_rate")->type_name("TOPIC");
  verb.action = [topic](Context& context) -> Result<void> {
    if (topic->empty()) {
      context.out << verb_list();
      return {};
    }
    RETORT_ASSIGN(const std::string page, verb_help(*topic));
    if (context.json) {
      context.emit({{"topic", *topic}, {"text", page}});
    } else {
      context.out << page;
    }
    return {};
  };
}

}  // namespace retort::app
