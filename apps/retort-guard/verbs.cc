// The list of verbs: the one place that names them all.
#include <vector>

#include "frame/frame.h"

namespace retort::app {

const Program& program() {
  static const std::vector<Verb> list = {};
  static const Program guard{
      "retort-guard", "stands before a model's API: knows the caller, decides what each may have, keeps evidence.",
      "Start with: retort-guard check guard.yaml", list};
  return guard;
}

}  // namespace retort::app
