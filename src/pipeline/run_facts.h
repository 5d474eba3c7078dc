// Everything the report says about a run, as plain values: read from the run folder by load_run_facts(), turned into
// the document of report/report.h by report_document(). Neither opens an engine, so `retort report` is quick and
// repeatable.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "evaluate/health.h"
#include "exchange/exchange.h"
#include "exchange/scorecard.h"
#include "train/health.h"

namespace retort::pipeline {

// A stage as the manifest recorded it.
struct StageFacts {
  std::string name;         // "collect", …
  double seconds = 0;       // wall time of the work, pauses excluded
  std::int64_t tokens = 0;  // sampled, trained or scored; 0: not a matter of tokens
  std::string summary;      // one line for people
};

// One line of metrics.jsonl (docs/formats/metrics.md); what wasn't measured at that step is absent.
struct MetricFacts {
  std::int64_t step = 0;
  std::int64_t tokens = 0;  // trained so far
  std::optional<double> loss, kl, learning_rate, gradient_norm, tokens_per_s, held_out_kl, rollout_loss;
  std::optional<double> held_out_cross_entropy;  // where the teacher gave its text alone
  std::optional<double> data_kl, rollout_kl;
  std::optional<train::OwnAnswers> rollouts;
  std::optional<train::StudentHealth> health, health_before;
};

// train/fit.json.
struct FitFacts {
  std::int64_t tokens = 0;
  std::vector<double> errors_before, errors_after;  // one a layer of the student
  std::optional<double> kl_before, kl_after;        // on held-out exchanges
};

struct LayerFacts {
  std::int64_t layer = 0;
  double block_influence = 0;
  bool kept = true;
  std::int64_t removed_at = -1;  // greedy KL: order of removal, -1: kept
  double kl_after_removal = 0;
};

// One token of a held-out answer, for the coloured text.
struct ComparedToken {
  std::string text;         // of the token that stands there
  double kl_nats = 0;       // KL(teacher || student) of the prediction of this token
  bool agreed = true;       // teacher's and student's likeliest tokens are the same
  std::string teacher_top;  // text of the teacher's likeliest token
  std::string student_top;
  double teacher_top_probability = 0;
  double student_top_probability = 0;
};
struct ComparedExchange {
  std::string exchange_id;  // hexadecimal
  std::string prompt;       // the last user's turn
  std::vector<ComparedToken> tokens;
};

// Answers to one held-out prompt, side by side; each sampled with the same seed.
struct AnswerFacts {
  std::string prompt;
  std::string teacher, before, student;
};

struct DropFacts {
  std::string reason;  // "exact_duplicate", …
  std::int64_t exchanges = 0;
};

// A check made before the first step (train/preflight.h).
struct CheckFacts {
  std::string question, measured;
};

struct TypeSpeedFacts {
  std::string type;
  double tokens_per_s = 0;
};

struct RunFacts {
  std::string name;
  std::string code_version;
  std::string started_at;   // ISO 8601
  std::string command;      // to repeat it: "retort run recipes/quickstart.yaml"
  std::string recipe_yaml;  // effective
  std::string machine;      // "2 cores, bfloat16 at 920 GFLOP/s", in words
  std::vector<StageFacts> stages;

  // Teacher and terms.
  bool learnt_from_logprobs = false;  // of what a served teacher told
  bool text_alone = false;            // the teacher's file wasn't at hand: `base` is what the student was cut from
  std::string served_as;              // as the API names it; empty: it was asked on this machine
  std::string served_api;             // "openai"
  ModelIdentity base;                 // where text_alone, with base_type
  std::string base_type;
  ModelIdentity teacher;
  std::string teacher_type;  // "Q4_1": of the file as given
  std::int64_t teacher_layers = 0;
  std::int64_t teacher_parameters = 0;
  std::int64_t student_parameters = 0;
  Json terms = Json::object();    // terms::to_json(Decision)
  Json duties = Json::array();    // exporter::to_json(CarriedDuty…)
  std::string teacher_reference;  // which file evaluation compares with, in words

  // Collect and curate.
  std::string prompt_source;  // "self_generated" or the file
  std::int64_t asked = 0, reused = 0, from_file = 0;
  std::int64_t collected = 0;  // exchanges in all
  // Of a prompt file: rows left out as broken or because of personal data, and what was found ("2 e-mail addresses").
  std::int64_t skipped_rows = 0, dropped_rows = 0;
  std::string personal_data;
  std::string personal_data_mode;  // "mask", "drop", "keep"
  std::int64_t truncated_answers = 0;
  std::int64_t user_tokens = 0, answer_tokens = 0;
  double collect_tokens_per_s = 0;          // while the batch was full
  std::vector<TypeSpeedFacts> type_speeds;  // what the probe measured, the chosen one first
  std::int64_t kept = 0;
  std::vector<DropFacts> dropped;
  std::int64_t train_exchanges = 0, held_out_exchanges = 0;

  // Student and training.
  std::string layer_method;  // "greedy_kl", "block_influence", "explicit"
  std::vector<LayerFacts> layers;
  std::optional<FitFacts> fit;
  std::vector<MetricFacts> metrics;
  std::vector<std::string> training_warnings;  // of the student's health, each with its step
  std::vector<CheckFacts> checks;              // all passed, or there would be no student
  std::string objective = "forward_kl";        // what the loss of the metrics is
  std::string compute_type;                    // "bfloat16"
  std::string compute_reason;                  // the probe's sentence
  std::int64_t trained_tokens = 0;
  double train_tokens_per_s = 0;
  std::int64_t peak_memory_bytes = 0;

  // Export.
  std::string proof;  // one sentence: how the files were proved, with the numbers

  // Evaluate.
  Scorecard scorecard;
  std::optional<Estimate> share_of_kl_closed;
  std::optional<evaluate::Health> health;
  std::vector<ComparedExchange> compared;
  std::vector<AnswerFacts> answers;
};

// Error (kCaller): not a run folder, or one whose evaluation isn't complete (which stage is missing is said).
Result<RunFacts> load_run_facts(const std::filesystem::path& run_folder);

}  // namespace retort::pipeline
