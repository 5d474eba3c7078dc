// A Dataset: which exchanges are trained on and which are held out, and the choices that decided it. Immutable; its
// identity is the digest of its canonical bytes (docs/formats/dataset.md).
//
// A value; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "dataset/curate.h"
#include "exchange/exchange.h"

namespace retort::dataset {

struct Dataset {
  std::vector<Digest> train;
  std::vector<Digest> held_out;
  std::uint64_t seed = 0;
  Json choices = Json::object();  // how it came about: options of curation, digest of curation.json, …; kept, not read
};

// Holds out `held_out` exchanges; no prompt stands on both sides, not even spelt differently (Curation::prompt_groups).
// Prompts are taken in the order of a digest of (seed, prompt), so that the choice doesn't depend on the order of the
// exchanges, and more exchanges change few of those held out. Exactly `held_out` when the groups of equal prompts allow
// it, else the nearest number below. Both lists keep the order of `curation.kept`. Error (kCaller): nothing would be
// left to train on, with the numbers.
Result<Dataset> split(const Curation& curation, std::int64_t held_out, std::uint64_t seed);

Digest dataset_digest(const Dataset& dataset);
// Writes canonical JSON, atomically; returns the dataset's digest.
Result<Digest> save(const Dataset& dataset, const std::filesystem::path& path);
// Error: not one of ours, of a newer version, or its ids or digest don't hold together.
Result<Dataset> load(const std::filesystem::path& path);

// How all of these answers were sampled, seed apart; nullopt when they differ or came from a file.
std::optional<SamplingOptions> common_sampling(std::span<const Exchange> exchanges);

}  // namespace retort::dataset
