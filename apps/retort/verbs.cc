// The list of verbs: the one place that names them all.
#include <vector>

#include "frame/frame.h"

namespace retort::app {

// Weak: a verb whose file isn't part of this program (retort or retort-torch) is a null pointer here.
#define RETORT_VERB(name) [[gnu::weak]] void register_##name(VerbSetup& verb)
RETORT_VERB(run);
RETORT_VERB(train);
RETORT_VERB(collect);
RETORT_VERB(plan);
RETORT_VERB(cache);
RETORT_VERB(evaluate);
RETORT_VERB(export);
RETORT_VERB(report);
RETORT_VERB(chat);
RETORT_VERB(generate);
RETORT_VERB(serve);
RETORT_VERB(terms);
RETORT_VERB(tokenize);
RETORT_VERB(score);
RETORT_VERB(objective);
RETORT_VERB(bench);
RETORT_VERB(inspect);
RETORT_VERB(verify);
RETORT_VERB(doctor);
RETORT_VERB(help);
#undef RETORT_VERB

const Program& program() {
  constexpr bool kTorch = true;
  constexpr bool kLight = false;
  static const std::vector<Verb> list = {
      {"run", "distil: carry out a recipe, or go on where it stopped", kTorch, &register_run},
      {"collect", "ask the teacher of a recipe, and keep its answers; within budget and limits", kTorch,
       &register_collect},
      {"train", "a recipe up to and including training", kTorch, &register_train},
      {"plan", "say what a run would do: time, memory, disk, tokens", kTorch, &register_plan},
      {"cache", "write what is kept of the teacher, so that training needs not run it", kTorch, &register_cache},
      {"evaluate", "compare two GGUF files, token by token", kLight, &register_evaluate},
      {"export", "write a trained checkpoint as GGUF, and prove it", kTorch, &register_export},
      {"report", "write a run's report.html again", kTorch, &register_report},
      {"chat", "talk to a model", kLight, &register_chat},
      {"generate", "complete a prompt", kLight, &register_generate},
      {"serve", "answer over HTTP as OpenAI's API does", kLight, &register_serve},
      {"terms", "say whether a teacher's output may train a student, and what is asked for it", kLight,
       &register_terms},
      {"tokenize", "print the token ids of standard input", kLight, &register_tokenize},
      {"score", "print the log-probability of each token of standard input", kTorch, &register_score},
      {"objective", "compute a training objective on given logits, beside an FP64 reference", kTorch,
       &register_objective},
      {"bench", "measure how fast this machine trains, beside others", kTorch, &register_bench},
      {"inspect", "show what is in a GGUF file, run, dataset, exchange or checkpoint", kTorch, &register_inspect},
      {"verify", "check a bundle's digests and walk its lineage", kTorch, &register_verify},
      {"doctor", "say what was found on this machine, and what is missing", kTorch, &register_doctor},
      {"help", "this list; `retort help VERB`; `retort help KEY` for a key of a recipe", kTorch, &register_help},
  };
  static const Program retort{"retort",
                              "makes a small language model from a large one, and says what was kept and lost.",
                              "Start with: retort run recipes/quickstart.yaml", list};
  return retort;
}

}  // namespace retort::app
