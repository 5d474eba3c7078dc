// Products of small BF16 matrices in AMX's tile registers, summed in FP32.
//
// For sources that are compiled for AMX alone (attention_kernels_amx.cc) and run where runs_amx_bf16() says so. A tile
// is 16 rows of 64 bytes: of a left side 16 x 32 BF16 numbers, of a right side 16 pairs of its rows x 16 columns (a
// column's two numbers beside each other), of a sum 16 x 16 FP32 numbers. TileScope must live around all use.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "model/lanes.h"

namespace retort::amx {
namespace {

constexpr std::size_t kTileRows = 16;
constexpr std::size_t kTileDepth = 32;                       // BF16 numbers of a row of a left side
constexpr std::size_t kTileValues = kTileRows * kTileDepth;  // BF16 numbers of a tile
constexpr std::size_t kBlock = 32;                           // rows and columns of a product come in these

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);
constexpr TileConfig kTileConfig;

struct TileScope {
  TileScope() { _tile_loadconfig(&kTileConfig); }
  ~TileScope() { _tile_release(); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

// Tile (row, depth) of 16 x 32 begins at values + 16 row * row_step + depth * depth_step, in BF16 numbers.
struct Left {
  const std::uint16_t* values;
  std::size_t row_step, depth_step;
};

// Tile (depth, column) of 32 x 16 begins at values + depth * depth_step + column * column_step and is 1,024 bytes.
struct Right {
  const std::uint16_t* values;
  std::size_t depth_step, column_step;
};

// GCC 12 doesn't know that tiles are loaded from memory.
RETORT_INLINE void memory_is_read() { __asm__ volatile("" ::: "memory"); }

// c [rows, columns] (FP32) = (or +=) a b; rows and columns multiples of kBlock, `depth` in tiles.
inline void multiply(const Left& a, const Right& b, float* c, std::size_t c_stride, std::size_t rows,
                     std::size_t columns, std::size_t depth, bool add) {
  const auto c_bytes = static_cast<long>(c_stride * sizeof(float));
  const auto a_bytes = static_cast<long>(a.row_step * sizeof(std::uint16_t));
  memory_is_read();
  for (std::size_t row = 0; row < rows; row += kBlock) {
    for (std::size_t column = 0; column < columns; column += kBlock) {
      float* sums = c + row * c_stride + column;
      float* lower = sums + kTileRows * c_stride;
      if (add) {
        _tile_loadd(0, sums, c_bytes);
        _tile_loadd(1, sums + kTileRows, c_bytes);
        _tile_loadd(2, lower, c_bytes);
        _tile_loadd(3, lower + kTileRows, c_bytes);
      } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
      }
      const std::uint16_t* left = a.values + row * a.row_step;
      const std::uint16_t* right = b.values + column / kTileRows * b.column_step;
      for (std::size_t k = 0; k < depth; ++k, left += a.depth_step, right += b.depth_step) {
        _tile_loadd(4, left, a_bytes);
        _tile_loadd(6, right, 64);
        _tile_loadd(7, right + b.column_step, 64);
        _tile_loadd(5, left + kTileRows * a.row_step, a_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_stored(0, sums, c_bytes);
      _tile_stored(1, sums + kTileRows, c_bytes);
      _tile_stored(2, lower, c_bytes);
      _tile_stored(3, lower + kTileRows, c_bytes);
    }
  }
  memory_is_read();
}

struct Square {
  lanes::Words rows[16];
};

// In every square of 2 kStep words, the two squares beside the diagonal change places.
template <std::uint32_t kStep>
RETORT_INLINE void exchange(Square& square) {
  lanes::Words upper_indices{}, lower_indices{};
#pragma GCC unroll 16
  for (std::uint32_t i = 0; i < 16; ++i) {
    upper_indices[i] = (i & kStep) != 0 ? 16 + i - kStep : i;
    lower_indices[i] = (i & kStep) != 0 ? 16 + i : i + kStep;
  }
#pragma GCC unroll 16
  for (std::uint32_t i = 0; i < 16; ++i) {
    if ((i & kStep) != 0) continue;
    const auto upper = __builtin_bit_cast(__m512i, square.rows[i]);
    const auto lower = __builtin_bit_cast(__m512i, square.rows[i + kStep]);
    const auto mixed = [&](const lanes::Words& indices) {
      return __builtin_bit_cast(lanes::Words,
                                _mm512_permutex2var_epi32(upper, __builtin_bit_cast(__m512i, indices), lower));
    };
    square.rows[i] = mixed(upper_indices);
    square.rows[i + kStep] = mixed(lower_indices);
  }
}

// Word j of row i becomes word i of row j.
RETORT_INLINE void transpose(Square& square) {
  exchange<1>(square);
  exchange<2>(square);
  exchange<4>(square);
  exchange<8>(square);
}

}  // namespace
}  // namespace retort::amx
