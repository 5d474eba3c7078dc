// OpenAI's completions: one text is gone on with, and there are no turns. For base models, and for served teachers
// whose prompts are plain texts.
#pragma once

#include "provider/dialect.h"

namespace retort::provider {

// Its prompts are one user's turn alone: anything else is refused (kCaller), because how turns become a text is the
// affair of a template that nobody here knows. Any thread.
const Dialect& openai_completions();

}  // namespace retort::provider
