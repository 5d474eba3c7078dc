// Included before ggml's AMX kernels (mmq.cpp) when GCC compiles them.
//
// GCC's _tile_loadconfig (seen in 12.2) tells the compiler that ldtilecfg reads 8 bytes of its argument, not 64: the
// stores to the other 56 are removed as dead, the tiles stay without shape, and the first tile instruction ends the
// process with SIGILL.
#pragma once

#include <immintrin.h>

static inline void retort_tile_loadconfig(const void* config) {
  __asm__ volatile("ldtilecfg %0" ::"m"(*(const char(*)[64])config));
}
#define _tile_loadconfig retort_tile_loadconfig
