// The README.md of a bundle: a model card in Hugging Face form, written from the ledger, with nothing in it that wasn't
// recorded or measured. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "exchange/scorecard.h"
#include "exporter/lineage.h"

namespace retort::exporter {

struct CardFile {
  std::string name;
  std::string type;  // "F16", "Q8_0"
  std::uint64_t size_bytes = 0;
};

struct CardFacts {
  Lineage lineage;
  std::vector<CardFile> files;
  std::vector<std::string> languages;  // codes, from the teacher's file: "en"
  std::string prompt_source;           // "self_generated", or a file's name
  std::optional<Scorecard> scorecard;
  std::string command;  // that made it: "retort run recipes/quickstart.yaml"
};

std::string model_card(const CardFacts& facts);

}  // namespace retort::exporter
