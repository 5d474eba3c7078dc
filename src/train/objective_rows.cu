// The objectives of train/objective_mix.h over rows of logits on a CUDA device: loss, and the gradient written over the
// student's logits. One block of threads a row; the teacher's and the student's logits are read twice (three times for
// terms whose gradient needs a sum over the row first) and nothing of their size is made.
//
// Compiled when the program runs, for one type of logits (LOGITS_BF16 or float) and for the terms that are asked for
// (FORWARD_KL, REVERSE_KL, JSD, SKEW_KL, SKEW_RKL, TVD: 0 or 1). Arithmetic is FP32; a row's sums are joined in an
// order that doesn't depend on timing. Logarithms are to base 2 inside, with which a GPU counts.

typedef long long int64;

#if LOGITS_BF16
typedef unsigned short Logit;
#else
typedef float Logit;
#endif

#define WARP 32
#define THREADS 512
#define WARPS (THREADS / WARP)
#define LN_2 0.69314718f
#define LOWEST -1e30f
#define MOST_SLOTS 64

__device__ __forceinline__ float get(const Logit* at) {
#if LOGITS_BF16
  return __uint_as_float(static_cast<unsigned>(*at) << 16);
#else
  return *at;
#endif
}

__device__ __forceinline__ void put(Logit* at, float value) {
#if LOGITS_BF16
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(*at) : "f"(value));
#else
  *at = value;
#endif
}

// A thread's part of a row: eight values that lie together, at most.
struct Eight {
  float at[8];
};

// `count` values of a row from `first` on; minus infinity beyond them. Rows begin at multiples of 16 bytes when the
// vocabulary is a multiple of 8; else values are read one by one.
__device__ __forceinline__ Eight get_part(const Logit* row, int vocabulary, int first, int count) {
  Eight values;
  if (vocabulary % 8 == 0) {
#if LOGITS_BF16
    const uint4 words = *reinterpret_cast<const uint4*>(row + first);
    const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      values.at[2 * i] = __uint_as_float(word[i] << 16);
      values.at[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000u);
    }
#else
    const float4 low = *reinterpret_cast<const float4*>(row + first);
    const float4 high = *reinterpret_cast<const float4*>(row + first + 4);
    values = {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
#endif
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) values.at[i] = i < count ? get(row + first + i) : __int_as_float(0xff800000);
  }
  return values;
}

// Calls f(first, values, count) for each part of a row that belongs to this thread.
template <class F>
__device__ __forceinline__ void for_parts(const Logit* row, int vocabulary, const F& f) {
  for (int first = threadIdx.x * 8; first < vocabulary; first += THREADS * 8) {
    const int count = min(8, vocabulary - first);
    f(first, get_part(row, vocabulary, first, count), count);
  }
}

__device__ __forceinline__ void put_part(Logit* row, int vocabulary, int first, const Eight& values, int count) {
#if LOGITS_BF16
  if (vocabulary % 8 == 0) {
    unsigned word[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word[i]) : "f"(values.at[2 * i + 1]), "f"(values.at[2 * i]));
    }
    *reinterpret_cast<uint4*>(row + first) = make_uint4(word[0], word[1], word[2], word[3]);
    return;
  }
#endif
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (i < count) put(row + first + i, values.at[i]);
  }
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int distance = WARP / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

// The sum over all threads, known to all of them. Called by all.
__device__ float block_sum(float value) {
  __shared__ float parts[WARPS];
  value = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = value;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < WARPS; ++i) sum += parts[i];
  return sum;
}

// log2 of the sum of 2^z, as its largest z and the sum relative to that.
struct LogSum {
  float highest = LOWEST, sum = 0;
  __device__ __forceinline__ void add(float other_highest, float other_sum) {
    const float above = fmaxf(highest, other_highest);
    sum = sum * exp2f(highest - above) + other_sum * exp2f(other_highest - above);
    highest = above;
  }
  __device__ __forceinline__ void add(const Eight& values, float factor) {
    float above = highest;
#pragma unroll
    for (int i = 0; i < 8; ++i) above = fmaxf(above, values.at[i] * factor);
    float more = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) more += exp2f(values.at[i] * factor - above);
    sum = sum * exp2f(highest - above) + more;
    highest = above;
  }
  __device__ __forceinline__ float log2() const { return highest + log2f(sum); }
  // A NaN or plus infinity makes the sum NaN; minus infinity alone leaves it zero.
  __device__ __forceinline__ bool bad() const { return !(sum > 0 && sum < 3e38f && highest < 3e38f); }
};

__device__ LogSum block_log_sum(LogSum own) {
  __shared__ float highests[WARPS], sums[WARPS];
#pragma unroll
  for (int distance = WARP / 2; distance > 0; distance /= 2) {
    const float highest = __shfl_xor_sync(0xffffffffu, own.highest, distance);
    const float sum = __shfl_xor_sync(0xffffffffu, own.sum, distance);
    own.add(highest, sum);
  }
  __syncthreads();
  if (threadIdx.x % WARP == 0) {
    highests[threadIdx.x / WARP] = own.highest;
    sums[threadIdx.x / WARP] = own.sum;
  }
  __syncthreads();
  LogSum all;
  for (int i = 0; i < WARPS; ++i) all.add(highests[i], sums[i]);
  return all;
}

struct Mix {
  float forward_kl, reverse_kl, jsd, skew_kl, skew_rkl, tvd, cross_entropy;
  float beta, skew;
  float inverse_temperature;
  float gradient_scale;  // 0: the student's logits stay
};

// What a row adds to the step's sums.
struct RowSums {
  double loss, kl, cross_entropy, bad_student, bad_teacher;
};

#define SLOPED (REVERSE_KL || JSD || SKEW_KL || SKEW_RKL || TVD)

// a log(a / m), 0 where a is; logarithms to base 2.
__device__ __forceinline__ float kl_part(float a, float log_a, float log_m) { return a > 0 ? a * (log_a - log_m) : 0; }
__device__ __forceinline__ float log_ratio(float a, float log_a, float log_m) { return a > 0 ? log_a - log_m : 0; }

struct Sums {
  float forward = 0, reverse = 0, jsd_teacher = 0, jsd_student = 0, skew_kl = 0, skew_rkl = 0, tvd = 0, weighted = 0;
};

// The slope of the sloped terms with respect to q; adds to their sums.
__device__ __forceinline__ float slope_of(const Mix& mix, float q, float log_q, float p, float log_p, Sums& sums) {
  float slope = 0;
#if REVERSE_KL
  sums.reverse += kl_part(q, log_q, log_p);
  slope += mix.reverse_kl * LN_2 * log_ratio(q, log_q, log_p);
#endif
#if JSD
  {
    const float m = mix.beta * p + (1 - mix.beta) * q, log_m = log2f(m);
    sums.jsd_teacher += kl_part(p, log_p, log_m);
    sums.jsd_student += kl_part(q, log_q, log_m);
    slope += mix.jsd * (1 - mix.beta) * LN_2 * log_ratio(q, log_q, log_m);
  }
#endif
#if SKEW_KL
  {
    const float m = (1 - mix.skew) * q + mix.skew * p;
    sums.skew_kl += kl_part(p, log_p, log2f(m));
    slope -= p > 0 ? mix.skew_kl * (1 - mix.skew) * p / m : 0;
  }
#endif
#if SKEW_RKL
  {
    const float m = (1 - mix.skew) * p + mix.skew * q, log_m = log2f(m);
    sums.skew_rkl += kl_part(q, log_q, log_m);
    slope += mix.skew_rkl * (LN_2 * log_ratio(q, log_q, log_m) - (q > 0 ? mix.skew * q / m : 0));
  }
#endif
#if TVD
  sums.tvd += fabsf(p - q);
  slope += mix.tvd * 0.5f * (q > p ? 1.0f : (q < p ? -1.0f : 0.0f));
#endif
  return slope;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    objective_rows(Logit* student_logits, const Logit* teacher_logits, const int* labels, int vocabulary, Mix mix,
                   RowSums* result) {
  Logit* student = student_logits + static_cast<int64>(blockIdx.x) * vocabulary;
  const Logit* teacher = teacher_logits + static_cast<int64>(blockIdx.x) * vocabulary;
  const float factor = mix.inverse_temperature / LN_2;
  const int label = labels[blockIdx.x];
  const float label_logit = get(student + label) * factor;
  LogSum of_student, of_teacher;
  for_parts(student, vocabulary, [&](int, const Eight& values, int) { of_student.add(values, factor); });
  for_parts(teacher, vocabulary, [&](int, const Eight& values, int) { of_teacher.add(values, factor); });
  of_student = block_log_sum(of_student);
  of_teacher = block_log_sum(of_teacher);
  const float student_sum = of_student.log2(), teacher_sum = of_teacher.log2();
  const bool write = mix.gradient_scale != 0;

  Sums sums;
  for_parts(teacher, vocabulary, [&](int first, const Eight& teacher_values, int count) {
    Eight own = get_part(student, vocabulary, first, count);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i >= count) continue;
      const float log_q = own.at[i] * factor - student_sum, log_p = teacher_values.at[i] * factor - teacher_sum;
      const float q = exp2f(log_q), p = exp2f(log_p);
      sums.forward += kl_part(p, log_p, log_q);
#if SLOPED
      sums.weighted += q * slope_of(mix, q, log_q, p, log_p, sums);
#else
      own.at[i] = (q * (mix.forward_kl + mix.cross_entropy) - p * mix.forward_kl -
                   (first + i == label ? mix.cross_entropy : 0)) * mix.gradient_scale;
#endif
    }
#if !SLOPED
    if (write) put_part(student, vocabulary, first, own, count);
#endif
  });

#if SLOPED
  if (write) {
    const float weighted = block_sum(sums.weighted);
    for_parts(teacher, vocabulary, [&](int first, const Eight& teacher_values, int count) {
      Eight own = get_part(student, vocabulary, first, count);
      Sums unused;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (i >= count) continue;
        const float log_q = own.at[i] * factor - student_sum;
        const float log_p = teacher_values.at[i] * factor - teacher_sum;
        const float q = exp2f(log_q), p = exp2f(log_p);
        const float slope = slope_of(mix, q, log_q, p, log_p, unused);
        // d/dz_i of f(softmax(z)) = q_i (f_i - sum_j q_j f_j).
        own.at[i] = (q * (mix.forward_kl + mix.cross_entropy) - p * mix.forward_kl + q * (slope - weighted) -
                     (first + i == label ? mix.cross_entropy : 0)) * mix.gradient_scale;
      }
      put_part(student, vocabulary, first, own, count);
    });
  }
#endif

  // A divergence is never negative; rounding may say otherwise.
  const float kl = fmaxf(block_sum(sums.forward) * LN_2, 0.0f);
  const float cross_entropy = (student_sum - label_logit) * LN_2;
  float loss = mix.cross_entropy * cross_entropy;
  if (mix.forward_kl != 0) loss += mix.forward_kl * kl;  // an infinite one that isn't asked for stays out
#if REVERSE_KL
  loss += mix.reverse_kl * fmaxf(block_sum(sums.reverse) * LN_2, 0.0f);
#endif
#if JSD
  loss += mix.jsd * (mix.beta * fmaxf(block_sum(sums.jsd_teacher) * LN_2, 0.0f) +
                     (1 - mix.beta) * fmaxf(block_sum(sums.jsd_student) * LN_2, 0.0f));
#endif
#if SKEW_KL
  loss += mix.skew_kl * fmaxf(block_sum(sums.skew_kl) * LN_2, 0.0f);
#endif
#if SKEW_RKL
  loss += mix.skew_rkl * fmaxf(block_sum(sums.skew_rkl) * LN_2, 0.0f);
#endif
#if TVD
  loss += mix.tvd * 0.5f * block_sum(sums.tvd);
#endif
  if (threadIdx.x == 0) {
    result[blockIdx.x] = {loss, kl, cross_entropy, of_student.bad() ? 1.0 : 0.0, of_teacher.bad() ? 1.0 : 0.0};
  }
}

// Against what is kept of the teacher: `slots` tokens a row with weights, an empty slot having weight 0; with `bucket`
// all others count as one more token, else entropies [rows] are the kept tokens' own. Forward KL and cross-entropy.
extern "C" __global__ void __launch_bounds__(THREADS)
    kept_rows(Logit* student_logits, const int* ids, const float* weights, const float* entropies, int slots,
              int bucket, const int* labels, int vocabulary, Mix mix, RowSums* result) {
  __shared__ int id[MOST_SLOTS];
  __shared__ float weight[MOST_SLOTS], logit[MOST_SLOTS];
  Logit* student = student_logits + static_cast<int64>(blockIdx.x) * vocabulary;
  const float factor = mix.inverse_temperature / LN_2;
  const int label = labels[blockIdx.x];
  const float label_logit = get(student + label) * factor;
  const int slot = threadIdx.x;
  if (slot < slots) {
    const int64 at = static_cast<int64>(blockIdx.x) * slots + slot;
    id[slot] = ids[at];
    weight[slot] = weights[at];
    logit[slot] = get(student + id[slot]);
  }
  __syncthreads();
  // Hidden while the others are summed, so that little is left of much without cancelling.
  if (slot < slots && weight[slot] > 0) put(student + id[slot], __int_as_float(0xff800000));
  __syncthreads();
  LogSum others;
  for_parts(student, vocabulary, [&](int, const Eight& values, int) { others.add(values, factor); });
  others = block_log_sum(others);
  LogSum all = others;
  float kept = 0;
  for (int i = 0; i < slots; ++i) {
    if (!(weight[i] > 0)) continue;
    // One by one: LogSum::add() of a single value.
    all.add(logit[i] * factor, 1.0f);
    kept += weight[i];
  }
  const float sum = all.log2();
  const float log_rest = fmaxf((others.sum > 0 ? others.log2() : LOWEST) - sum, -99.657843f);  // 1e-30
  const float rest = fmaxf(1.0f - kept, 0.0f);
  float kl = 0;
  for (int i = 0; i < slots; ++i) {
    if (!(weight[i] > 0)) continue;
    const float log_q = logit[i] * factor - sum;
    kl += weight[i] * ((bucket ? log2f(weight[i]) : 0.0f) - log_q);
  }
  kl *= LN_2;
  if (slots > 0 && bucket) {
    if (rest > 0) kl += rest * (log2f(rest) - log_rest) * LN_2;
    kl = fmaxf(kl, 0.0f);
  }
  if (slots > 0 && !bucket) kl -= entropies[blockIdx.x];
  const float share = slots == 0 ? 0.0f : (bucket ? 1.0f - rest / exp2f(log_rest) : kept);
  __syncthreads();
  if (mix.gradient_scale != 0) {
    for_parts(student, vocabulary, [&](int first, const Eight& values, int count) {
      Eight own;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float q = exp2f(values.at[i] * factor - sum);
        own.at[i] = q * (mix.forward_kl * share + mix.cross_entropy) * mix.gradient_scale;
        if (first + i == label) own.at[i] -= mix.cross_entropy * mix.gradient_scale;
      }
      put_part(student, vocabulary, first, own, count);
    });
    __syncthreads();
    if (slot < slots && weight[slot] > 0) {
      const float q = exp2f(logit[slot] * factor - sum);
      const float slope = q * (bucket ? 1.0f : share) - weight[slot];
      const float own = id[slot] == label ? mix.cross_entropy : 0.0f;
      put(student + id[slot], (mix.forward_kl * slope + mix.cross_entropy * q - own) * mix.gradient_scale);
    }
  } else if (slot < slots && weight[slot] > 0) {
    put(student + id[slot], logit[slot]);
  }
  if (threadIdx.x == 0) {
    const float cross_entropy = (sum - label_logit) * LN_2;
    float loss = mix.cross_entropy * cross_entropy;
    if (mix.forward_kl != 0) loss += mix.forward_kl * kl;
    result[blockIdx.x] = {loss, kl, cross_entropy, all.bad() ? 1.0 : 0.0, 0.0};
  }
}
