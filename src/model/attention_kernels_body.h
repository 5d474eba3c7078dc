// The body of the attention kernels, included once for every instruction set with RETORT_KERNELS_NAMESPACE,
// RETORT_KERNELS_NAME and RETORT_TILE_VECTORS defined.
//
// Inside, a document is padded: head_dim and length to whole vectors, by zeros. Queries are taken kBlockRows at a time,
// and their scores against the keys they may see exist as a whole.
#include "model/attention_kernels.h"
#include "model/attention_layout.h"
#include "model/attention_rows.h"
#include "model/lanes.h"

namespace retort::model::RETORT_KERNELS_NAMESPACE {
namespace {

using namespace lanes;

constexpr std::size_t kTileVectors = RETORT_TILE_VECTORS;  // as many as the registers hold, with kTileRows rows
static_assert(kBlockRows % kTileRows == 0 && kLanes % kTileRows == 0);

// A product's left side: element (row, k) at values[row * row_step + k * depth_step], so that a transposed one is the
// same code.
struct Left {
  const float* values;
  std::size_t row_step, depth_step;
};

template <std::size_t kVectors, class B>
RETORT_INLINE void tile(const Left& a, const B* b, std::size_t b_stride, float* c, std::size_t c_stride,
                        std::size_t depth, bool add) {
  Floats sums[kTileRows][kVectors];
#pragma GCC unroll 4
  for (std::size_t row = 0; row < kTileRows; ++row) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      sums[row][v] = add ? load(c + row * c_stride + v * kLanes) : Floats{};
    }
  }
  const float* left = a.values;
  for (std::size_t k = 0; k < depth; ++k, left += a.depth_step, b += b_stride) {
    Floats right[kVectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) right[v] = load(b + v * kLanes);
#pragma GCC unroll 4
    for (std::size_t row = 0; row < kTileRows; ++row) {
      const Floats factor = all(left[row * a.row_step]);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) sums[row][v] += factor * right[v];
    }
  }
#pragma GCC unroll 4
  for (std::size_t row = 0; row < kTileRows; ++row) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) store(c + row * c_stride + v * kLanes, sums[row][v]);
  }
}

// c [rows, columns] = (or +=) a [rows, depth] b [depth, columns]; rows a multiple of kTileRows, columns of kLanes.
template <class B>
void multiply(const Left& a, const B* b, std::size_t b_stride, float* c, std::size_t c_stride, std::size_t rows,
              std::size_t columns, std::size_t depth, bool add) {
  std::size_t column = 0;
  for (; column + kTileVectors * kLanes <= columns; column += kTileVectors * kLanes) {
    for (std::size_t row = 0; row < rows; row += kTileRows) {
      const Left part{a.values + row * a.row_step, a.row_step, a.depth_step};
      tile<kTileVectors>(part, b + column, b_stride, c + row * c_stride + column, c_stride, depth, add);
    }
  }
  for (; column < columns; column += kLanes) {
    for (std::size_t row = 0; row < rows; row += kTileRows) {
      const Left part{a.values + row * a.row_step, a.row_step, a.depth_step};
      tile<1>(part, b + column, b_stride, c + row * c_stride + column, c_stride, depth, add);
    }
  }
}

// [rows, width] of `from` into [padded_rows, padded_width] of `to`, zero where there was nothing.
template <class T>
void unpack(const T* from, std::size_t stride, std::size_t rows, std::size_t width, float* to, std::size_t padded_rows,
            std::size_t padded_width) {
  const std::size_t whole = width / kLanes * kLanes;
  for (std::size_t row = 0; row < rows; ++row, from += stride, to += padded_width) {
    for (std::size_t i = 0; i < whole; i += kLanes) store(to + i, load(from + i));
    if (whole < width) store(to + whole, load_tail(from + whole, width - whole, 0));
  }
  for (std::size_t i = 0; i < (padded_rows - rows) * padded_width; ++i) to[i] = 0;
}

// The transpose of `from` [rows, width] (both padded), in squares that stay in the first cache.
void transpose(const float* from, std::size_t rows, std::size_t width, float* to) {
  for (std::size_t row = 0; row < rows; row += kLanes) {
    for (std::size_t column = 0; column < width; ++column) {
      for (std::size_t i = 0; i < kLanes; ++i) to[column * rows + row + i] = from[(row + i) * width + column];
    }
  }
}

template <class T>
RETORT_INLINE void pack_row(const float* from, float factor, T* to, std::size_t width) {
  const std::size_t whole = width / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(to + i, load(from + i) * factor);
  if (whole < width) store_tail(to + whole, load(from + whole) * factor, width - whole);
}

template <class T>
void forward(const AttentionUnit& unit, const T* query, const T* key, const T* value, T* attended, float* log_sums,
             float* scratch) {
  const AttentionLayout layout(unit.length, unit.head_dim, false);
  const std::size_t width = layout.width;
  float* values = scratch + layout.values;
  float* keys_across = scratch + layout.keys_across;
  unpack(key, unit.stride, unit.length, unit.head_dim, values, layout.length, width);
  transpose(values, layout.length, width, keys_across);
  unpack(value, unit.stride, unit.length, unit.head_dim, values, layout.length, width);
  float* queries = scratch + layout.queries;
  float* scores = scratch + layout.scores;
  float* output = scratch + layout.output;
  for (std::size_t head = 0; head < unit.heads; ++head) {
    for (std::size_t begin = 0; begin < unit.length; begin += kBlockRows) {
      const std::size_t rows = at_most(kBlockRows, unit.length - begin);
      const Span keys(unit, begin, rows, kLanes);
      unpack(query + begin * unit.stride + head * unit.head_dim, unit.stride, rows, unit.head_dim, queries, kBlockRows,
             width);
      multiply({queries, width, 1}, keys_across + keys.first, layout.length, scores, layout.length, kBlockRows,
               keys.columns, width, false);
      float factors[kBlockRows];
      for (std::size_t row = 0; row < rows; ++row) {
        float top = 0;
        const std::size_t own = begin + row;
        const float sum = exponentials(scores + row * layout.length, first_seen(unit, own) - keys.first,
                                       own + 1 - keys.first, keys.columns, unit.scale, top);
        factors[row] = 1.0F / sum;
        if (log_sums != nullptr) log_sums[head * unit.log_sum_stride + own] = top + __builtin_logf(sum);
      }
      multiply({scores, layout.length, 1}, values + keys.first * width, width, output, width, kBlockRows, width,
               keys.columns, false);
      for (std::size_t row = 0; row < rows; ++row) {
        pack_row(output + row * width, factors[row],
                 attended + (begin + row) * unit.attended_stride + head * unit.head_dim, unit.head_dim);
      }
    }
  }
}

template <class T>
void backward(const AttentionUnit& unit, const AttentionBackward<T>& given, float* scratch) {
  const AttentionLayout layout(unit.length, unit.head_dim, true);
  const std::size_t width = layout.width;
  float* keys = scratch + layout.keys;
  float* keys_across = scratch + layout.keys_across;
  float* values_across = scratch + layout.values_across;
  float* key_sums = scratch + layout.key_sums;
  float* value_sums = scratch + layout.value_sums;
  unpack(given.value, unit.stride, unit.length, unit.head_dim, keys, layout.length, width);
  transpose(keys, layout.length, width, values_across);
  unpack(given.key, unit.stride, unit.length, unit.head_dim, keys, layout.length, width);
  transpose(keys, layout.length, width, keys_across);
  for (std::size_t i = 0; i < layout.length * width; ++i) key_sums[i] = value_sums[i] = 0;

  float* queries = scratch + layout.queries;
  float* incoming = scratch + layout.incoming;
  float* scores = scratch + layout.scores;
  float* score_gradients = scratch + layout.score_gradients;
  float* output = scratch + layout.output;
  for (std::size_t head = 0; head < unit.heads; ++head) {
    const std::size_t shift = head * unit.head_dim;
    for (std::size_t begin = 0; begin < unit.length; begin += kBlockRows) {
      const std::size_t rows = at_most(kBlockRows, unit.length - begin);
      const Span seen(unit, begin, rows, kLanes);
      unpack(given.query + begin * unit.stride + shift, unit.stride, rows, unit.head_dim, queries, kBlockRows, width);
      unpack(given.attended_gradient + begin * unit.attended_stride + shift, unit.attended_stride, rows, unit.head_dim,
             incoming, kBlockRows, width);
      unpack(given.attended + begin * unit.attended_stride + shift, unit.attended_stride, rows, unit.head_dim, output,
             kBlockRows, width);
      multiply({queries, width, 1}, keys_across + seen.first, layout.length, scores, layout.length, kBlockRows,
               seen.columns, width, false);
      multiply({incoming, width, 1}, values_across + seen.first, layout.length, score_gradients, layout.length,
               kBlockRows, seen.columns, width, false);
      for (std::size_t row = 0; row < rows; ++row) {
        Floats dot = all(0);
        for (std::size_t i = 0; i < width; i += kLanes) {
          dot += load(incoming + row * width + i) * load(output + row * width + i);
        }
        const auto mean = static_cast<float>(total(dot));
        const float log_sum = given.log_sums[head * unit.log_sum_stride + begin + row];
        float* p = scores + row * layout.length;
        float* ds = score_gradients + row * layout.length;
        const std::size_t own = begin + row;
        score_gradients_of(p, ds, first_seen(unit, own) - seen.first, own + 1 - seen.first, seen.columns, unit.scale,
                           log_sum, mean);
      }
      multiply({score_gradients, layout.length, 1}, keys + seen.first * width, width, output, width, kBlockRows, width,
               seen.columns, false);
      for (std::size_t row = 0; row < rows; ++row) {
        pack_row(output + row * width, 1.0F, given.query_gradient + (begin + row) * unit.stride + shift, unit.head_dim);
      }
      multiply({score_gradients, 1, layout.length}, queries, width, key_sums + seen.first * width, width, seen.columns,
               width, rows, true);
      multiply({scores, 1, layout.length}, incoming, width, value_sums + seen.first * width, width, seen.columns, width,
               rows, true);
    }
  }
  for (std::size_t row = 0; row < unit.length; ++row) {
    pack_row(key_sums + row * width, 1.0F, given.key_gradient + row * unit.stride, unit.head_dim);
    pack_row(value_sums + row * width, 1.0F, given.value_gradient + row * unit.stride, unit.head_dim);
  }
}

template <class T>
void cached(const CachedUnit& unit, const T* query, const T* keys, const T* values, T* attended, float* scratch) {
  const CachedLayout layout(unit.heads, unit.seen, unit.head_dim);
  const std::size_t columns = layout.columns;
  float* queries = scratch + layout.queries;
  float* scores = scratch + layout.scores;
  float* output = scratch + layout.output;
  unpack(query, unit.head_dim, unit.heads, unit.head_dim, queries, layout.rows, layout.width);
  for (std::size_t begin = 0; begin < columns; begin += kKeyBlock) {
    multiply({queries, layout.width, 1}, keys + begin * unit.head_dim, kKeyBlock, scores + begin, columns, layout.rows,
             kKeyBlock, unit.head_dim, false);
  }
  for (std::size_t head = 0; head < unit.heads; ++head) {
    float* row = scores + head * columns;
    float top = 0;
    const float sum = exponentials(row, unit.first, unit.seen, columns, unit.scale, top);
    for (std::size_t i = 0; i < columns; i += kLanes) store(row + i, load(row + i) * (1.0F / sum));
  }
  multiply({scores, columns, 1}, values, layout.width, output, layout.width, layout.rows, layout.width, unit.seen,
           false);
  for (std::size_t head = 0; head < unit.heads; ++head) {
    pack_row(output + head * layout.width, 1.0F, attended + head * unit.head_dim, unit.head_dim);
  }
}

const std::uint16_t* bits(const Bf16* rows) { return &rows->bits; }
std::uint16_t* bits(Bf16* rows) { return &rows->bits; }

void forward_f32(const AttentionUnit& unit, const AttentionForward<float>& rows, float* scratch) {
  forward(unit, rows.query, rows.key, rows.value, rows.attended, rows.log_sums, scratch);
}
void forward_bf16(const AttentionUnit& unit, const AttentionForward<Bf16>& rows, float* scratch) {
  forward(unit, bits(rows.query), bits(rows.key), bits(rows.value), bits(rows.attended), rows.log_sums, scratch);
}
void backward_f32(const AttentionUnit& unit, const AttentionBackward<float>& rows, float* scratch) {
  backward(unit, rows, scratch);
}
void backward_bf16(const AttentionUnit& unit, const AttentionBackward<Bf16>& rows, float* scratch) {
  backward<std::uint16_t>(
      unit,
      {bits(rows.query), bits(rows.key), bits(rows.value), bits(rows.attended), bits(rows.attended_gradient),
       rows.log_sums, bits(rows.query_gradient), bits(rows.key_gradient), bits(rows.value_gradient)},
      scratch);
}

void cached_f32(const CachedUnit& unit, const CachedRows<float>& rows, float* scratch) {
  cached(unit, rows.query, rows.keys, rows.values, rows.attended, scratch);
}
void cached_bf16(const CachedUnit& unit, const CachedRows<Bf16>& rows, float* scratch) {
  cached(unit, bits(rows.query), bits(rows.keys), bits(rows.values), bits(rows.attended), scratch);
}

}  // namespace

extern const AttentionKernels kKernels;
const AttentionKernels kKernels = {RETORT_KERNELS_NAME, forward_f32, forward_bf16, backward_f32,
                                   backward_bf16,       cached_f32,  cached_bf16};

}  // namespace retort::model::RETORT_KERNELS_NAMESPACE
