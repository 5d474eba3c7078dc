// Names of a bundle's files: what bundle.cc writes and verify_bundle.cc reads (docs/formats/bundle.md).
#pragma once

#include <cstdint>

namespace retort::exporter {

inline constexpr const char* kCardFile = "README.md";
inline constexpr const char* kLineageFile = "lineage.json";
inline constexpr const char* kDatasetFile = "dataset.json";
inline constexpr const char* kRecipeFile = "recipe.yaml";
inline constexpr const char* kScorecardFile = "scorecard.json";
inline constexpr const char* kBundleFile = "bundle.json";
inline constexpr const char* kSumsFile = "SHA256SUMS";
inline constexpr const char* kNoticeFile = "NOTICE";              // where the teacher's terms ask for something
inline constexpr const char* kApacheFile = "LICENSE-Apache-2.0";  // where they are these
inline constexpr const char* kMitFile = "LICENSE-MIT";            // or these
inline constexpr const char* kHuggingFaceFolder = "huggingface";  // where it was asked for
inline constexpr const char* kBundleFormat = "retort-bundle";
inline constexpr std::int64_t kBundleVersion = 1;

}  // namespace retort::exporter
