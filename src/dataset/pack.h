// Packing: whole examples laid into rows of equal length, so that no step is spent on padding.
//
// Every epoch packs anew: examples are shuffled by (seed, epoch), placed longest first each into the fullest row that
// still has room (best-fit decreasing; D. S. Johnson, 1973), and the rows are shuffled. The order depends on (examples,
// max_length, seed, epoch) and nothing else. An example longer than a row is cut at its end, and counted.
// Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataset/example.h"

namespace retort::dataset {

inline constexpr std::int32_t kNoDocument = -1;
inline constexpr TokenId kNoLabel = -1;

// One row; every vector has max_length entries. Padding stands only at the end: id 0, position 0, document kNoDocument,
// label kNoLabel.
struct PackedRow {
  std::vector<TokenId> ids;
  std::vector<std::int32_t> positions;  // restart at 0 with every document
  std::vector<std::int32_t> document;   // 0, 1, … within the row: attention must not cross them
  // labels[t] is ids[t + 1] where that is a target of the same document, else kNoLabel: never across a seam.
  std::vector<TokenId> labels;
  std::vector<std::uint32_t> examples;  // per document: index of its example in the span given to pack()
  std::int32_t used = 0;                // tokens before the padding
  std::int32_t targets = 0;             // labels that aren't kNoLabel
};

struct PackOptions {
  std::size_t max_length = 256;  // tokens a row, >= 2
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;
};

struct Packing {
  std::vector<PackedRow> rows;
  std::int64_t tokens = 0;               // used, all rows
  std::int64_t targets = 0;              // all rows
  std::int64_t cut_examples = 0;         // longer than a row
  std::int64_t cut_tokens = 0;           // what was lost of them
  std::int64_t targetless_examples = 0;  // left out: nothing in them (after the cut) is a target
  // Used share of all places, 0..1.
  double fill() const;
};

Packing pack(std::span<const Example> examples, const PackOptions& options);

}  // namespace retort::dataset
