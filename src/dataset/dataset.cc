#include "dataset/dataset.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/files.h"

namespace retort::dataset {

namespace {

constexpr int kFormatVersion = 1;

Json ids_to_json(const std::vector<Digest>& ids) {
  Json list = Json::array();
  for (const Digest& id : ids) list.push_back(id.hex());
  return list;
}

// Everything but the digest itself.
Json body_of(const Dataset& dataset) {
  return {{"version", kFormatVersion},
          {"seed", dataset.seed},
          {"train", ids_to_json(dataset.train)},
          {"held_out", ids_to_json(dataset.held_out)},
          {"choices", dataset.choices}};
}

Result<std::vector<Digest>> ids_member(const Json& json, std::string_view key, const std::string& what) {
  RETORT_ASSIGN(const auto texts, member<std::vector<std::string>>(json, key, what));
  std::vector<Digest> ids;
  ids.reserve(texts.size());
  for (const std::string& text : texts) {
    auto id = Digest::from_hex(text);
    if (!id) return with_context(id.error(), what);
    ids.push_back(*id);
  }
  return ids;
}

}  // namespace

Result<Dataset> split(const Curation& curation, std::int64_t held_out, std::uint64_t seed) {
  RETORT_CHECK(held_out >= 0);
  RETORT_CHECK(curation.kept.size() == curation.prompt_groups.size());
  const auto kept = static_cast<std::int64_t>(curation.kept.size());
  if (held_out >= kept) {
    return caller_error("evaluate.held_out is " + std::to_string(held_out) + ", but only " + std::to_string(kept) +
                        " exchanges are left after curation: nothing would be left to train on. Raise collect.count, "
                        "loosen `curate`, or lower evaluate.held_out.");
  }

  std::map<Digest, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < curation.prompt_groups.size(); ++i) groups[curation.prompt_groups[i]].push_back(i);
  std::vector<std::pair<Digest, const std::vector<std::size_t>*>> order;
  for (const auto& [group, members] : groups) {
    order.emplace_back(sha256("split\n" + std::to_string(seed) + "\n" + group.hex()), &members);
  }
  std::ranges::sort(order);

  std::vector<bool> is_held_out(curation.kept.size(), false);
  auto remaining = static_cast<std::size_t>(held_out);
  for (const auto& [rank, members] : order) {
    if (members->size() > remaining) continue;
    for (const std::size_t i : *members) is_held_out[i] = true;
    remaining -= members->size();
  }

  Dataset dataset;
  dataset.seed = seed;
  for (std::size_t i = 0; i < curation.kept.size(); ++i) {
    (is_held_out[i] ? dataset.held_out : dataset.train).push_back(curation.kept[i]);
  }
  if (held_out > 0 && dataset.held_out.empty()) {
    return caller_error("Nothing can be held out: all " + std::to_string(kept) +
                        " exchanges left after curation share a few prompts, and a prompt may stand on one side only. "
                        "Collect more different prompts, or set evaluate.held_out to 0.");
  }
  return dataset;
}

Digest dataset_digest(const Dataset& dataset) { return sha256(canonical_json(body_of(dataset))); }

Result<Digest> save(const Dataset& dataset, const std::filesystem::path& path) {
  const Digest digest = dataset_digest(dataset);
  Json json = body_of(dataset);
  json["digest"] = digest.hex();
  RETORT_TRY(write_file(path, canonical_json(json) + "\n"));
  return digest;
}

Result<Dataset> load(const std::filesystem::path& path) {
  const std::string what = "The dataset '" + path.string() + "'";
  RETORT_ASSIGN(const std::string text, read_file(path));
  RETORT_ASSIGN(const Json json, parse_json(text, what));
  if (!json.is_object()) return caller_error(what + " is no JSON object; expected a dataset.json written by Retort.");
  RETORT_ASSIGN(const int version, member<int>(json, "version", what));
  if (version != kFormatVersion) {
    return caller_error(what + " is of format version " + std::to_string(version) + "; this program reads version " +
                        std::to_string(kFormatVersion) + ". Use the program that wrote it, or a newer one.");
  }
  Dataset dataset;
  RETORT_ASSIGN(dataset.seed, member<std::uint64_t>(json, "seed", what));
  RETORT_ASSIGN(dataset.train, ids_member(json, "train", what));
  RETORT_ASSIGN(dataset.held_out, ids_member(json, "held_out", what));
  RETORT_ASSIGN(dataset.choices, member<Json>(json, "choices", what));
  RETORT_ASSIGN(const std::string digest, member<std::string>(json, "digest", what));
  if (dataset_digest(dataset).hex() != digest) {
    return caller_error(what +
                        " is damaged: its content has another digest than the one it names. Remove it and run "
                        "the same command again.");
  }
  std::unordered_set<Digest> seen;
  for (const auto* side : {&dataset.train, &dataset.held_out}) {
    for (const Digest& id : *side) {
      if (!seen.insert(id).second) return caller_error(what + " names the exchange " + id.hex() + " twice.");
    }
  }
  return dataset;
}

std::optional<SamplingOptions> common_sampling(std::span<const Exchange> exchanges) {
  std::optional<SamplingOptions> common;
  for (const Exchange& exchange : exchanges) {
    if (!exchange.provenance.sampling) return std::nullopt;
    SamplingOptions sampling = *exchange.provenance.sampling;
    sampling.seed = 0;
    if (common && *common != sampling) return std::nullopt;
    common = sampling;
  }
  return common;
}

}  // namespace retort::dataset
