// What an Engine holds. Internal to the module.
#pragma once

#include <utility>

#include "llama/engine.h"
#include "llama/sequences.h"
#include "llama/session.h"

namespace retort::llama {

struct Engine::State {
  State(Session opened, const EngineOptions& wanted)
      : session(std::move(opened)), options(wanted), sequences(session) {}

  Session session;
  EngineOptions options;
  Sequences sequences;
  GenerationCounts counts;
  Batch batch;
};

}  // namespace retort::llama
