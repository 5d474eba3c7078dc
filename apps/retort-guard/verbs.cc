// The list of verbs: the one place that names them all.
#include <vector>

#include "frame/frame.h"

namespace retort::app {

void register_serve(VerbSetup& verb);
void register_check(VerbSetup& verb);

const Program& program() {
  constexpr bool kTorch = false;
  static const std::vector<Verb> list = {
      {"serve", "stand before the upstreams that guard.yaml names, until SIGTERM", kTorch, &register_serve},
      {"check", "say whether guard.yaml is whole, and what it means", kTorch, &register_check},
  };
  static const Program guard{
      "retort-guard", "stands before a model's API: knows the caller, decides what each may have, keeps evidence.",
      "Start with: retort-guard check guard.yaml", list};
  return guard;
}

}  // namespace retort::app
