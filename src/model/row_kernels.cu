// The kernels of model/row_kernels.h, and attention of single new tokens, for a CUDA device and rows in BF16.
//
// Compiled when the program runs (model/cuda_program.h), so no header is included. Arithmetic is FP32. Rows begin at
// multiples of 16 bytes and are multiples of 8 values wide (model/cuda_rows.h sees to that); eight values travel at a
// time. Sums have an order that doesn't depend on timing, so results are the same every time.

typedef unsigned short bf16;
typedef long long int64;

#define WARP 32
#define ALL_LANES 0xffffffffu

__device__ __forceinline__ float get(bf16 value) { return __uint_as_float(static_cast<unsigned>(value) << 16); }

__device__ __forceinline__ bf16 put(float value) {
  bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result) : "f"(value));
  return result;
}

__device__ __forceinline__ unsigned put_two(float low, float high) {
  unsigned result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

struct Eight {
  float at[8];
};

__device__ __forceinline__ Eight load(const bf16* from) {
  const uint4 words = *reinterpret_cast<const uint4*>(from);
  const unsigned word[4] = {words.x, words.y, words.z, words.w};
  Eight values;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    values.at[2 * i] = __uint_as_float(word[i] << 16);
    values.at[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000u);
  }
  return values;
}

__device__ __forceinline__ Eight load(const float* from) {
  const float4 low = reinterpret_cast<const float4*>(from)[0], high = reinterpret_cast<const float4*>(from)[1];
  return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
}

__device__ __forceinline__ void store(bf16* to, const Eight& values) {
  *reinterpret_cast<uint4*>(to) =
      make_uint4(put_two(values.at[0], values.at[1]), put_two(values.at[2], values.at[3]),
                 put_two(values.at[4], values.at[5]), put_two(values.at[6], values.at[7]));
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int distance = WARP / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
  return value;
}

// RMSNorm: one warp a row. There are `inner` rows of `width` values side by side in each of `outer` places, which are a
// stride apart; the first `split` of the inner ones have the first weight, the others the second.
extern "C" __global__ void rms_norm(const bf16* x, int64 x_stride, bf16* y, int64 y_stride, const float* weight,
                                    const float* second_weight, float* scales, int64 outer, int inner, int split,
                                    int width, float epsilon) {
  const int64 number = (static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x) / WARP;
  if (number >= outer * inner) return;
  const int lane = threadIdx.x % WARP;
  const int64 place = number / inner;
  const int row = static_cast<int>(number % inner);
  const bf16* from = x + place * x_stride + static_cast<int64>(row) * width;
  bf16* to = y + place * y_stride + static_cast<int64>(row) * width;
  const float* by = row < split ? weight : second_weight;
  float squares = 0;
  for (int i = lane * 8; i < width; i += WARP * 8) {
    const Eight values = load(from + i);
#pragma unroll
    for (int j = 0; j < 8; ++j) squares += values.at[j] * values.at[j];
  }
  const float scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(width) + epsilon);
  if (lane == 0) scales[number] = scale;
  for (int i = lane * 8; i < width; i += WARP * 8) {
    Eight values = load(from + i);
    const Eight w = load(by + i);
#pragma unroll
    for (int j = 0; j < 8; ++j) values.at[j] *= scale * w.at[j];
    store(to + i, values);
  }
}

// With n = x r: dy/dx gives r (g w - n mean(g w n)), which is added to x_gradient, or written there when `add` is 0.
extern "C" __global__ void rms_norm_backward(const bf16* x, int64 x_stride, const bf16* y_gradient,
                                             int64 y_gradient_stride, bf16* x_gradient, int64 x_gradient_stride,
                                             const float* weight, const float* second_weight, const float* scales,
                                             int64 outer, int inner, int split, int width, int add) {
  const int64 number = (static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x) / WARP;
  if (number >= outer * inner) return;
  const int lane = threadIdx.x % WARP;
  const int64 place = number / inner;
  const int row = static_cast<int>(number % inner);
  const bf16* from = x + place * x_stride + static_cast<int64>(row) * width;
  const bf16* incoming = y_gradient + place * y_gradient_stride + static_cast<int64>(row) * width;
  bf16* outgoing = x_gradient + place * x_gradient_stride + static_cast<int64>(row) * width;
  const float* by = row < split ? weight : second_weight;
  const float scale = scales[number];
  float dot = 0;
  for (int i = lane * 8; i < width; i += WARP * 8) {
    const Eight values = load(from + i), gradient = load(incoming + i), w = load(by + i);
#pragma unroll
    for (int j = 0; j < 8; ++j) dot += gradient.at[j] * w.at[j] * values.at[j];
  }
  const float factor = warp_sum(dot) * scale * scale * scale / static_cast<float>(width);
  for (int i = lane * 8; i < width; i += WARP * 8) {
    const Eight values = load(from + i), gradient = load(incoming + i), w = load(by + i);
    Eight result = {};
    if (add) result = load(outgoing + i);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      result.at[j] += gradient.at[j] * w.at[j] * scale - values.at[j] * factor;
    }
    store(outgoing + i, result);
  }
}

// What the weight's gradient is the sum of: a block of threads adds up `rows_a_block` rows of one range of columns,
// a thread two of them. partial: [gridDim.y, width].
extern "C" __global__ void norm_weight_gradient(const bf16* x, int64 x_stride, const bf16* y_gradient,
                                                int64 y_gradient_stride, const float* scales, int64 scales_stride,
                                                float* partial, int64 outer, int inner, int width,
                                                int rows_a_block) {
  const int column = (blockIdx.x * blockDim.x + threadIdx.x) * 2;
  if (column >= width) return;
  const int64 first = static_cast<int64>(blockIdx.y) * rows_a_block;
  const int64 last = min(first + rows_a_block, outer * inner);
  float low = 0, high = 0;
  for (int64 number = first; number < last; ++number) {
    const int64 place = number / inner;
    const int row = static_cast<int>(number % inner);
    const float scale = scales[place * scales_stride + row];
    const int64 at = static_cast<int64>(row) * width + column;
    const unsigned values = *reinterpret_cast<const unsigned*>(x + place * x_stride + at);
    const unsigned gradients = *reinterpret_cast<const unsigned*>(y_gradient + place * y_gradient_stride + at);
    low += __uint_as_float(values << 16) * __uint_as_float(gradients << 16) * scale;
    high += __uint_as_float(values & 0xffff0000u) * __uint_as_float(gradients & 0xffff0000u) * scale;
  }
  partial[static_cast<int64>(blockIdx.y) * width + column] = low;
  partial[static_cast<int64>(blockIdx.y) * width + column + 1] = high;
}

extern "C" __global__ void add_to_rows(bf16* x, const float* values, int64 rows, int width) {
  const int64 at = (static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
  if (at >= rows * width) return;
  Eight row = load(x + at);
  const Eight more = load(values + at % width);
#pragma unroll
  for (int j = 0; j < 8; ++j) row.at[j] += more.at[j];
  store(x + at, row);
}

// Half-split rotation in place of `heads` heads at the start of each row; a thread turns four pairs.
extern "C" __global__ void rotate_rows(bf16* x, int64 stride, const float* cosine, const float* sine, int64 rows,
                                       int heads, int head_dim, float sign) {
  const int half = head_dim / 2, parts = half / 4;
  const int64 number = static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (number >= rows * heads * parts) return;
  const int part = static_cast<int>(number % parts) * 4;
  const int head = static_cast<int>(number / parts % heads);
  const int64 row = number / parts / heads;
  bf16* first = x + row * stride + static_cast<int64>(head) * head_dim + part;
  bf16* second = first + half;
  const float4 c = *reinterpret_cast<const float4*>(cosine + row * half + part);
  const float4 s = *reinterpret_cast<const float4*>(sine + row * half + part);
  const uint2 a_words = *reinterpret_cast<const uint2*>(first), b_words = *reinterpret_cast<const uint2*>(second);
  const float a[4] = {__uint_as_float(a_words.x << 16), __uint_as_float(a_words.x & 0xffff0000u),
                      __uint_as_float(a_words.y << 16), __uint_as_float(a_words.y & 0xffff0000u)};
  const float b[4] = {__uint_as_float(b_words.x << 16), __uint_as_float(b_words.x & 0xffff0000u),
                      __uint_as_float(b_words.y << 16), __uint_as_float(b_words.y & 0xffff0000u)};
  const float cosines[4] = {c.x, c.y, c.z, c.w}, sines[4] = {s.x * sign, s.y * sign, s.z * sign, s.w * sign};
  float turned_a[4], turned_b[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    turned_a[i] = a[i] * cosines[i] - b[i] * sines[i];
    turned_b[i] = b[i] * cosines[i] + a[i] * sines[i];
  }
  *reinterpret_cast<uint2*>(first) = make_uint2(put_two(turned_a[0], turned_a[1]), put_two(turned_a[2], turned_a[3]));
  *reinterpret_cast<uint2*>(second) = make_uint2(put_two(turned_b[0], turned_b[1]), put_two(turned_b[2], turned_b[3]));
}

// A row of gate_up is gate, then up.
extern "C" __global__ void swiglu_rows(const bf16* gate_up, bf16* y, int64 rows, int width) {
  const int64 at = (static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
  if (at >= rows * width) return;
  const bf16* from = gate_up + at / width * 2 * width + at % width;
  const Eight gate = load(from), up = load(from + width);
  Eight result;
#pragma unroll
  for (int j = 0; j < 8; ++j) result.at[j] = gate.at[j] / (1.0f + __expf(-gate.at[j])) * up.at[j];
  store(y + at, result);
}

// Writes the gradient of gate and up over their values.
extern "C" __global__ void swiglu_rows_backward(bf16* gate_up, const bf16* y_gradient, int64 rows, int width) {
  const int64 at = (static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
  if (at >= rows * width) return;
  bf16* to = gate_up + at / width * 2 * width + at % width;
  Eight gate = load(to), up = load(to + width);
  const Eight gradient = load(y_gradient + at);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const float g = gate.at[j], d = gradient.at[j];
    const float s = 1.0f / (1.0f + __expf(-g));
    gate.at[j] = d * up.at[j] * s * (1.0f + g * (1.0f - s));
    up.at[j] = d * g * s;
  }
  store(to, gate);
  store(to + width, up);
}

#ifdef HEAD_DIM

// One new token of each of some sequences attends to all that its cache keeps, itself included. Keys and values of a
// cache are [kv_heads, capacity, HEAD_DIM]; GROUP query heads share one of them.
struct NewToken {
  bf16 *keys, *values;
  int row;       // of projections and attended
  int length;    // kept before this token; its own key and value are written there first
  int capacity;
  int oldest;    // the first that the window lets it see
};

#define MOST_TOKENS 96  // a launch: parameters of a kernel are at most 4 KB
struct NewTokens {
  NewToken at[MOST_TOKENS];
};

#define WARPS 8
#define PER_LANE ((HEAD_DIM + WARP - 1) / WARP)

// Grid: tokens x kv_heads; 8 warps, each of which takes every eighth key with a softmax of its own; they are joined at
// the end (the rescaling of arXiv 2205.14135, section 3.1).
extern "C" __global__ void __launch_bounds__(WARPS* WARP)
    attend_new(const NewTokens tokens, const bf16* projections, int64 projection_width, bf16* attended,
               int64 attended_width, int kv_heads, float scale) {
  const NewToken& token = tokens.at[blockIdx.x];
  const int head = blockIdx.y, warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  const bf16* row = projections + token.row * projection_width;
  bf16* keys = token.keys + static_cast<int64>(head) * token.capacity * HEAD_DIM;
  bf16* values = token.values + static_cast<int64>(head) * token.capacity * HEAD_DIM;
  const bf16* own_key = row + (static_cast<int64>(GROUP) * kv_heads + head) * HEAD_DIM;
  const bf16* own_value = own_key + static_cast<int64>(kv_heads) * HEAD_DIM;
  for (int i = threadIdx.x; i < HEAD_DIM; i += WARPS * WARP) {
    keys[static_cast<int64>(token.length) * HEAD_DIM + i] = own_key[i];
    values[static_cast<int64>(token.length) * HEAD_DIM + i] = own_value[i];
  }
  __syncthreads();

  float query[GROUP][PER_LANE], sum[GROUP][PER_LANE], highest[GROUP], total[GROUP];
#pragma unroll
  for (int g = 0; g < GROUP; ++g) {
    highest[g] = -1e30f;
    total[g] = 0;
#pragma unroll
    for (int j = 0; j < PER_LANE; ++j) {
      const int i = lane * PER_LANE + j;
      query[g][j] = i < HEAD_DIM ? get(row[(static_cast<int64>(head) * GROUP + g) * HEAD_DIM + i]) * scale : 0;
      sum[g][j] = 0;
    }
  }
  for (int place = token.oldest + warp; place <= token.length; place += WARPS) {
    float key[PER_LANE], value[PER_LANE];
#pragma unroll
    for (int j = 0; j < PER_LANE; ++j) {
      const int i = lane * PER_LANE + j;
      key[j] = i < HEAD_DIM ? get(keys[static_cast<int64>(place) * HEAD_DIM + i]) : 0;
      value[j] = i < HEAD_DIM ? get(values[static_cast<int64>(place) * HEAD_DIM + i]) : 0;
    }
#pragma unroll
    for (int g = 0; g < GROUP; ++g) {
      float dot = 0;
#pragma unroll
      for (int j = 0; j < PER_LANE; ++j) dot += query[g][j] * key[j];
      const float score = warp_sum(dot);
      const float above = fmaxf(highest[g], score);
      const float before = __expf(highest[g] - above), now = __expf(score - above);
      highest[g] = above;
      total[g] = total[g] * before + now;
#pragma unroll
      for (int j = 0; j < PER_LANE; ++j) sum[g][j] = sum[g][j] * before + now * value[j];
    }
  }

  __shared__ float sums[WARPS][WARP * PER_LANE], highests[WARPS], totals[WARPS];
  for (int g = 0; g < GROUP; ++g) {
    __syncthreads();
    if (lane == 0) {
      highests[warp] = highest[g];
      totals[warp] = total[g];
    }
#pragma unroll
    for (int j = 0; j < PER_LANE; ++j) sums[warp][lane * PER_LANE + j] = sum[g][j];
    __syncthreads();
    float above = highests[0], all = 0;
    for (int w = 1; w < WARPS; ++w) above = fmaxf(above, highests[w]);
    for (int w = 0; w < WARPS; ++w) all += totals[w] * __expf(highests[w] - above);
    for (int i = threadIdx.x; i < HEAD_DIM; i += WARPS * WARP) {
      float joined = 0;
      for (int w = 0; w < WARPS; ++w) joined += sums[w][i] * __expf(highests[w] - above);
      attended[token.row * attended_width + (static_cast<int64>(head) * GROUP + g) * HEAD_DIM + i] = put(joined / all);
    }
  }
}

#endif
