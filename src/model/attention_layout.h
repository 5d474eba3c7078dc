// Where the parts of the attention kernels' scratch lie. Internal to the kernels and to who allots the scratch.
#pragma once

#include <cstddef>

namespace retort::model {
namespace {  // compiled for several instruction sets: nothing here may be shared between them

constexpr std::size_t kBlockRows = 32;  // queries whose scores exist at a time

constexpr std::size_t padded(std::size_t count) { return (count + 15) / 16 * 16; }

constexpr std::size_t kTileRows = 4;      // of a product that are computed at a time
constexpr std::size_t kTilePadding = 32;  // of lengths and head_dim where AMX computes

// For one new token: its query heads, their scores against all keys, and the result.
struct CachedLayout {
  std::size_t rows, columns, width;  // padded heads, keys and head_dim
  std::size_t queries = 0, scores, output, floats;
  CachedLayout(std::size_t heads, std::size_t seen, std::size_t head_dim)
      : rows((heads + kTileRows - 1) / kTileRows * kTileRows),
        columns(padded(seen)),
        width(padded(head_dim)),
        scores(rows * width),
        output(scores + rows * columns),
        floats(output + rows * width) {}
};

struct AttentionLayout {
  std::size_t length, width;  // padded
  std::size_t queries = 0, output = 0, scores = 0, keys_across = 0, values = 0;
  std::size_t keys = 0, values_across = 0, key_sums = 0, value_sums = 0, incoming = 0, score_gradients = 0;
  std::size_t floats = 0;

  AttentionLayout(std::size_t tokens, std::size_t head_dim, bool backward)
      : length(padded(tokens)), width(padded(head_dim)) {
    queries = take(kBlockRows * width);
    output = take(kBlockRows * width);
    scores = take(kBlockRows * length);
    keys_across = take(width * length);
    if (!backward) {
      values = take(length * width);
      return;
    }
    keys = take(length * width);
    values_across = take(width * length);
    key_sums = take(length * width);
    value_sums = take(length * width);
    incoming = take(kBlockRows * width);
    score_gradients = take(kBlockRows * length);
  }

 private:
  std::size_t take(std::size_t count) {
    const std::size_t begin = floats;
    floats += count;
    return begin;
  }
};

// The same for model/attention_kernels_amx.h; most of it holds BF16 numbers.
struct TiledAttentionLayout {
  std::size_t length, width;  // padded
  std::size_t queries = 0, upper = 0, lower = 0, output = 0, scores = 0, keys_across = 0, values = 0;
  std::size_t keys = 0, values_across = 0, key_sums = 0, value_sums = 0, score_gradients = 0, pairs = 0, p_pairs = 0;
  std::size_t floats = 0;

  TiledAttentionLayout(std::size_t tokens, std::size_t head_dim, bool backward)
      : length(to_tiles(tokens)), width(to_tiles(head_dim)) {
    queries = take(kBlockRows * width / 2);
    upper = take(kBlockRows * length / 2);
    lower = take(kBlockRows * length / 2);
    output = take(kBlockRows * width);
    scores = take(kBlockRows * length);
    keys_across = take(width * length / 2);
    if (!backward) {
      values = take(length * width / 2);
      return;
    }
    keys = take(length * width / 2);
    values_across = take(width * length / 2);
    key_sums = take(length * width);
    value_sums = take(length * width);
    score_gradients = take(kBlockRows * length);
    pairs = take(kBlockRows * length);
    p_pairs = take(kBlockRows * length);
  }

 private:
  static std::size_t to_tiles(std::size_t count) { return (count + kTilePadding - 1) / kTilePadding * kTilePadding; }
  std::size_t take(std::size_t count) {
    const std::size_t begin = floats;
    floats += count;
    return begin;
  }
};

}  // namespace
}  // namespace retort::model
