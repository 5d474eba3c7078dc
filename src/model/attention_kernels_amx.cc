#include "model/attention_kernels_amx.h"

#include "model/amx_tiles.h"
#include "model/attention_layout.h"
#include "model/attention_rows.h"

namespace retort::model::attention_amx {
namespace {

using amx::kTileDepth;
using amx::kTileValues;
using amx::Square;
using lanes::Words;
using Words16 = std::uint16_t;  // BF16 numbers

static_assert(kBlockRows == amx::kBlock && kTilePadding == amx::kBlock);

// Which of 16 places from `from` on are before `end`.
__mmask16 places(std::size_t from, std::size_t end) {
  return static_cast<__mmask16>(from + 16 <= end ? 0xFFFFU : from >= end ? 0U : (1U << (end - from)) - 1U);
}

// Rows of BF16 numbers as they come: zeros beyond `rows` and `width`.
struct Source {
  const Bf16* values;
  std::size_t stride, rows, width;
  // 16 numbers, each in the lower half of a word.
  RETORT_INLINE Words load16(std::size_t row, std::size_t column) const {
    if (row >= rows) return Words{};
    const __m256i halves = _mm256_maskz_loadu_epi16(places(column, width), values + row * stride + column);
    return lanes::widened(__builtin_bit_cast(lanes::Halves, halves));
  }
  RETORT_INLINE Words load32(std::size_t row, std::size_t column) const {
    if (row >= rows) return Words{};
    const auto mask = static_cast<__mmask32>(places(column, width)) | static_cast<__mmask32>(places(column + 16, width))
                                                                          << 16U;
    return __builtin_bit_cast(Words, _mm512_maskz_loadu_epi16(mask, values + row * stride + column));
  }
  // Of two rows, 16 columns: a column's two numbers beside each other.
  RETORT_INLINE Words pairs(std::size_t row, std::size_t column) const {
    return load16(row, column) | (load16(row + 1, column) << 16);
  }
};

RETORT_INLINE void keep(Words16* to, const Words& words) { __builtin_memcpy(to, &words, sizeof(words)); }

// [rows, width] as the left side of a product, padded.
void pack_left(const Source& from, std::size_t rows, std::size_t width, Words16* to) {
  for (std::size_t row = 0; row < rows; ++row, to += width) {
    for (std::size_t column = 0; column < width; column += 32) keep(to + column, from.load32(row, column));
  }
}

// The transpose of kBlockRows rows as a left side [width, kBlockRows].
void pack_left_across(const Source& from, std::size_t width, Words16* to) {
  for (std::size_t column = 0; column < width; column += 16) {
    Square square;
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 16; ++i) square.rows[i] = from.pairs(2 * i, column);
    amx::transpose(square);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 16; ++i) keep(to + (column + i) * kBlockRows, square.rows[i]);
  }
}

// As a right side whose depth are the rows: tiles [rows / 32][width / 16].
void pack_right(const Source& from, std::size_t rows, std::size_t width, Words16* to) {
  for (std::size_t row = 0; row < rows; row += kTileDepth) {
    for (std::size_t column = 0; column < width; column += 16, to += kTileValues) {
      for (std::size_t i = 0; i < 16; ++i) keep(to + i * 32, from.pairs(row + 2 * i, column));
    }
  }
}

// As a right side whose columns are the rows: tiles [rows / 16][width / 32].
void pack_right_across(const Source& from, std::size_t rows, std::size_t width, Words16* to) {
  for (std::size_t row = 0; row < rows; row += 16) {
    for (std::size_t column = 0; column < width; column += kTileDepth, to += kTileValues) {
      Square square;
#pragma GCC unroll 16
      for (std::size_t i = 0; i < 16; ++i) square.rows[i] = from.load32(row + i, column);
      amx::transpose(square);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < 16; ++i) keep(to + i * 32, square.rows[i]);
    }
  }
}

// 16 FP32 numbers as the sum of two BF16 ones, each in the upper half of a word; the last of 16 bits is rounded.
struct Split {
  Words upper, lower;
};
RETORT_INLINE Split split(const float* values) {
  constexpr std::uint32_t kUpper = 0xFFFF0000U;
  const Floats whole = load(values);
  Split parts;
  parts.upper = __builtin_bit_cast(Words, whole) & kUpper;
  const Floats rest = whole - __builtin_bit_cast(Floats, parts.upper);
  parts.lower = (__builtin_bit_cast(Words, rest) + 0x8000U) & kUpper;
  return parts;
}

RETORT_INLINE void keep_halves(Words16* to, const Words& upper_halves) {
  const lanes::Halves halves = lanes::narrowed(upper_halves >> 16);
  __builtin_memcpy(to, &halves, sizeof(halves));
}

// A row of FP32 numbers as rows of two left sides.
void pack_split(const float* from, std::size_t columns, Words16* upper, Words16* lower) {
  for (std::size_t i = 0; i < columns; i += 16) {
    const Split parts = split(from + i);
    keep_halves(upper + i, parts.upper);
    keep_halves(lower + i, parts.lower);
  }
}

// Two rows, the 2 pair and 2 pair + 1 of 32, as parts of two right sides whose depth are the rows: tiles [columns /
// 16].
void pack_split_pair(const float* first, const float* second, std::size_t pair, std::size_t columns, Words16* upper,
                     Words16* lower) {
  for (std::size_t i = 0; i < columns; i += 16) {
    const Split a = split(first + i), b = split(second + i);
    const std::size_t at = i / 16 * kTileValues + pair * 32;
    keep(upper + at, (a.upper >> 16) | b.upper);
    keep(lower + at, (a.lower >> 16) | b.lower);
  }
}

RETORT_INLINE void round_row(const float* from, float factor, Bf16* to, std::size_t width) {
  auto* bits = reinterpret_cast<std::uint16_t*>(to);
  const std::size_t whole = width / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(bits + i, load(from + i) * factor);
  if (whole < width) lanes::store_tail(bits + whole, load(from + whole) * factor, width - whole);
}

// The transpose of sums [width, stride of `rows` padded], rounded into rows.
void round_across(const float* sums, std::size_t stride, std::size_t rows, std::size_t width, Bf16* to,
                  std::size_t to_stride) {
  for (std::size_t row = 0; row < rows; row += 16) {
    for (std::size_t column = 0; column < width; column += 16) {
      Square square;
#pragma GCC unroll 16
      for (std::size_t i = 0; i < 16; ++i) {
        square.rows[i] = __builtin_bit_cast(Words, load(sums + (column + i) * stride + row));
      }
      amx::transpose(square);
      const std::size_t count = at_most(16, rows - row);
      for (std::size_t i = 0; i < count; ++i) {
        round_row(reinterpret_cast<const float*>(&square.rows[i]), 1.0F, to + (row + i) * to_stride + column,
                  at_most(16, width - column));
      }
    }
  }
}

// Where an operand of the rows of all keys begins for a block that sees keys from `first` on.
const Words16* from_key_across(const Words16* tiles, std::size_t first, std::size_t width) {
  return tiles + first / 16 * (width / kTileDepth) * kTileValues;
}
const Words16* from_key(const Words16* tiles, std::size_t first, std::size_t width) {
  return tiles + first / kTileDepth * (width / 16) * kTileValues;
}

float dot(const Source& a, const Source& b, std::size_t row, std::size_t width) {
  Floats sum = all(0);
  for (std::size_t i = 0; i < width; i += 16) {
    sum += __builtin_bit_cast(Floats, a.load16(row, i) << 16) * __builtin_bit_cast(Floats, b.load16(row, i) << 16);
  }
  return static_cast<float>(total(sum));
}

}  // namespace

void forward(const AttentionUnit& unit, const AttentionForward<Bf16>& given, float* scratch) {
  const TiledAttentionLayout layout(unit.length, unit.head_dim, false);
  const std::size_t width = layout.width, length = layout.length;
  const auto words = [&](std::size_t at) { return reinterpret_cast<Words16*>(scratch + at); };
  Words16* keys_across = words(layout.keys_across);
  Words16* values = words(layout.values);
  Words16* queries = words(layout.queries);
  Words16* upper = words(layout.upper);
  Words16* lower = words(layout.lower);
  float* scores = scratch + layout.scores;
  float* output = scratch + layout.output;
  const amx::TileScope tiles;
  pack_right_across({given.key, unit.stride, unit.length, unit.head_dim}, length, width, keys_across);
  pack_right({given.value, unit.stride, unit.length, unit.head_dim}, length, width, values);
  for (std::size_t head = 0; head < unit.heads; ++head) {
    for (std::size_t begin = 0; begin < unit.length; begin += kBlockRows) {
      const std::size_t rows = at_most(kBlockRows, unit.length - begin);
      const Span keys(unit, begin, rows, kTileDepth);
      pack_left({given.query + begin * unit.stride + head * unit.head_dim, unit.stride, rows, unit.head_dim},
                kBlockRows, width, queries);
      amx::multiply({queries, width, kTileDepth},
                    {from_key_across(keys_across, keys.first, width), kTileValues, width / kTileDepth * kTileValues},
                    scores, length, kBlockRows, keys.columns, width / kTileDepth, false);
      float factors[kBlockRows];
      for (std::size_t row = 0; row < rows; ++row) {
        float top = 0;
        const std::size_t own = begin + row;
        float* of_row = scores + row * length;
        const float sum = exponentials(of_row, first_seen(unit, own) - keys.first, own + 1 - keys.first, keys.columns,
                                       unit.scale, top);
        pack_split(of_row, keys.columns, upper + row * length, lower + row * length);
        factors[row] = 1.0F / sum;
        if (given.log_sums != nullptr) {
          given.log_sums[head * unit.log_sum_stride + own] = top + __builtin_logf(sum);
        }
      }
      const amx::Right right = {from_key(values, keys.first, width), width / 16 * kTileValues, kTileValues};
      const std::size_t depth = keys.columns / kTileDepth;
      amx::multiply({upper, length, kTileDepth}, right, output, width, kBlockRows, width, depth, false);
      amx::multiply({lower, length, kTileDepth}, right, output, width, kBlockRows, width, depth, true);
      for (std::size_t row = 0; row < rows; ++row) {
        round_row(output + row * width, factors[row],
                  given.attended + (begin + row) * unit.attended_stride + head * unit.head_dim, unit.head_dim);
      }
    }
  }
}

void backward(const AttentionUnit& unit, const AttentionBackward<Bf16>& given, float* scratch) {
  const TiledAttentionLayout layout(unit.length, unit.head_dim, true);
  const std::size_t width = layout.width, length = layout.length;
  const auto words = [&](std::size_t at) { return reinterpret_cast<Words16*>(scratch + at); };
  Words16* keys_across = words(layout.keys_across);
  Words16* values_across = words(layout.values_across);
  Words16* keys = words(layout.keys);
  Words16* queries = words(layout.queries);
  Words16* upper = words(layout.upper);
  Words16* lower = words(layout.lower);
  Words16* pairs = words(layout.pairs);          // of score gradients: upper, then lower
  Words16* p_pairs = words(layout.p_pairs);      // of probabilities
  const std::size_t half = kBlockRows * length;  // from upper to lower
  float* scores = scratch + layout.scores;
  float* score_gradients = scratch + layout.score_gradients;
  float* output = scratch + layout.output;
  float* key_sums = scratch + layout.key_sums;  // [width, length], as value_sums
  float* value_sums = scratch + layout.value_sums;
  const Source key_rows = {given.key, unit.stride, unit.length, unit.head_dim};
  const amx::TileScope tiles;
  pack_right_across(key_rows, length, width, keys_across);
  pack_right_across({given.value, unit.stride, unit.length, unit.head_dim}, length, width, values_across);
  pack_right(key_rows, length, width, keys);
  for (std::size_t i = 0; i < length * width; ++i) key_sums[i] = value_sums[i] = 0;
  for (std::size_t head = 0; head < unit.heads; ++head) {
    const std::size_t shift = head * unit.head_dim;
    for (std::size_t begin = 0; begin < unit.length; begin += kBlockRows) {
      const std::size_t rows = at_most(kBlockRows, unit.length - begin);
      const Span seen(unit, begin, rows, kTileDepth);
      const Source query = {given.query + begin * unit.stride + shift, unit.stride, rows, unit.head_dim};
      const std::size_t at = begin * unit.attended_stride + shift;
      const Source attended = {given.attended + at, unit.attended_stride, rows, unit.head_dim};
      const Source incoming = {given.attended_gradient + at, unit.attended_stride, rows, unit.head_dim};
      const std::size_t column_step = width / kTileDepth * kTileValues;
      pack_left(query, kBlockRows, width, queries);
      amx::multiply({queries, width, kTileDepth},
                    {from_key_across(keys_across, seen.first, width), kTileValues, column_step}, scores, length,
                    kBlockRows, seen.columns, width / kTileDepth, false);
      pack_left(incoming, kBlockRows, width, queries);
      amx::multiply({queries, width, kTileDepth},
                    {from_key_across(values_across, seen.first, width), kTileValues, column_step}, score_gradients,
                    length, kBlockRows, seen.columns, width / kTileDepth, false);
      for (std::size_t row = 0; row < kBlockRows; ++row) {
        float* p = scores + row * length;
        float* ds = score_gradients + row * length;
        if (row < rows) {
          const std::size_t own = begin + row;
          const float log_sum = given.log_sums[head * unit.log_sum_stride + own];
          score_gradients_of(p, ds, first_seen(unit, own) - seen.first, own + 1 - seen.first, seen.columns, unit.scale,
                             log_sum, dot(incoming, attended, row, width));
        } else {
          for (std::size_t i = 0; i < seen.columns; ++i) p[i] = ds[i] = 0;
        }
        pack_split(ds, seen.columns, upper + row * length, lower + row * length);
        if (row % 2 == 0) continue;
        pack_split_pair(ds - length, ds, row / 2, seen.columns, pairs, pairs + half);
        pack_split_pair(p - length, p, row / 2, seen.columns, p_pairs, p_pairs + half);
      }
      const amx::Right right = {from_key(keys, seen.first, width), width / 16 * kTileValues, kTileValues};
      const std::size_t depth = seen.columns / kTileDepth;
      amx::multiply({upper, length, kTileDepth}, right, output, width, kBlockRows, width, depth, false);
      amx::multiply({lower, length, kTileDepth}, right, output, width, kBlockRows, width, depth, true);
      for (std::size_t row = 0; row < rows; ++row) {
        round_row(output + row * width, 1.0F, given.query_gradient + (begin + row) * unit.stride + shift,
                  unit.head_dim);
      }
      // Both halves are one product: the same left side twice.
      pack_left_across(query, width, queries);
      amx::multiply({queries, kBlockRows, 0}, {pairs, half, kTileValues}, key_sums + seen.first, length, width,
                    seen.columns, 2, true);
      pack_left_across(incoming, width, queries);
      amx::multiply({queries, kBlockRows, 0}, {p_pairs, half, kTileValues}, value_sums + seen.first, length, width,
                    seen.columns, 2, true);
    }
  }
  round_across(key_sums, length, unit.length, unit.head_dim, given.key_gradient, unit.stride);
  round_across(value_sums, length, unit.length, unit.head_dim, given.value_gradient, unit.stride);
}

}  // namespace retort::model::attention_amx
