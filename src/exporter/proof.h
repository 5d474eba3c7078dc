// Proof that an exported file is the model that was trained: its logits are compared with the trained model's.
//
// Knows no engine: the caller opens both as Scorers. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "exchange/engine.h"
#include "gguf/tensor_type.h"

namespace retort::exporter {

// How two models differ on the same sequences. Log-probabilities in nats, computed in FP64.
struct Agreement {
  std::int64_t positions = 0;
  // |log p - log q| of the token that really comes next.
  double mean_difference = 0;
  double max_difference = 0;
  // KL(trained || exported), nats per position.
  double mean_kl = 0;
  double max_kl = 0;
  double top1_agreement = 0;
};
Json to_json(const Agreement& agreement);

// Scores every sequence with both; every position but the first of a sequence counts. Errors: of the scorers; two
// vocabularies; no sequences (kCaller). kInterrupted when stopped.
Result<Agreement> compare(Scorer& trained, Scorer& exported, std::span<const std::vector<TokenId>> sequences,
                          Progress& progress, std::stop_token stop);

// What is demanded of a file of this type. F32: the log-probability differs by 1e-4 on average and 1e-3 at most. F16
// and BF16, by KL: 0.0005 nats on average and 0.05 at most; not by log-probabilities, because of a word that a student
// all but rules out (e^-20) rounding may move them by nats, and nothing depends on it. Quantised types, whose
// activations llama.cpp quantises too, by mean KL: 0.03 nats from 8 bits on, 0.25 from 5, 1.0 from 4, 3.0 below; that
// finds a wrong file, what quantisation costs is measured by evaluate. Error (kWorld): the sentence says which figure
// is beyond what, and that the file must not be used.
Result<void> check_agreement(const Agreement& agreement, gguf::TensorType type, const std::string& file);

// All of a file's own promises that need no engine: it reopens, passes gguf::check_model, its weights are finite, and
// its lineage reads back. Error: a sentence.
Result<void> check_file(const std::filesystem::path& file);

}  // namespace retort::exporter
