// Verbs with verbs of their own: `keys create`, `orgs owners`.
//
// Each has its flags and its action; exactly one must be named. --json may stand before or behind it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "frame/verb.h"

namespace retort::app {

class Subverbs {
 public:
  explicit Subverbs(VerbSetup& verb) : verb_(&verb) { verb.app.require_subcommand(1); }

  // Declare flags on `app`; what they write to lives as long as `action` that captures it.
  CLI::App& add(const std::string& name, const std::string& summary) {
    CLI::App* const app = verb_->app.add_subcommand(name, summary);
    app->fallthrough();
    return *app;
  }
  void run(CLI::App& app, Action action) {
    list_->emplace_back(&app, std::move(action));
    verb_->action = [list = list_](Context& context) -> Result<void> {
      for (const auto& [subverb, act] : *list) {
        if (subverb->parsed()) return act(context);
      }
      return caller_error("Say what to do; --help lists it.");
    };
  }

 private:
  VerbSetup* verb_;
  std::shared_ptr<std::vector<std::pair<CLI::App*, Action>>> list_ =
      std::make_shared<std::vector<std::pair<CLI::App*, Action>>>();
};

}  // namespace retort::app
