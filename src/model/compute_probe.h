// Which type this machine multiplies matrices faster in: measured, never assumed. No libtorch in this header.
//
// Machines differ by an order of magnitude either way: with AMX or AVX512-BF16 units bf16 is several times faster than
// fp32, without them it is slower. The probe multiplies matrices of a model's own shapes for about a second.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json_fwd.h"
#include "model/compute_type.h"

namespace retort::model {

struct GemmSpeed {
  std::string name;           // "float32", "float32 (oneDNN)", "bfloat16"
  double block_gflops = 0;    // rows x hidden x intermediate
  double head_gflops = 0;     // rows x hidden x vocabulary
  double relative_error = 0;  // largest, against FP64, relative to the largest value
};

Json to_json(const GemmSpeed& speed);

struct ComputeProbe {
  std::vector<GemmSpeed> speeds;
  ComputeType chosen = ComputeType::kFloat32;
  // FP32 products through oneDNN ("medium" precision in libtorch): wherever they are as exact as FP32, whatever
  // the clock says: a machine gives the same FP32 bits busy or not. With AMX they aren't, but for few rows.
  bool onednn_float32 = false;
  int threads = 0;
  std::string reason;  // one sentence with the numbers, for people
  // The speed of the chosen type: the peak that a training speed is compared with.
  double chosen_block_gflops = 0;
  double chosen_head_gflops = 0;
};

struct ProbeShape {
  std::int64_t rows = 512;
  std::int64_t hidden = 576;
  std::int64_t intermediate = 1536;
  std::int64_t vocabulary = 49152;
};

// Takes under 1.5 s on 2 cores. Leaves libtorch's settings as it found them. One caller at a time.
ComputeProbe probe_compute(const ProbeShape& shape, const Clock& clock);

// The same on a CUDA device, for one type; relative_error isn't measured. After open_cuda(). Error (kWorld): the device
// refuses, mostly for want of memory.
Result<GemmSpeed> gemm_speed_on_cuda(const ProbeShape& shape, ComputeType type, const Clock& clock);

// libtorch's settings belong to the whole process: a program sets them once, before it computes. threads 0: all cores.
void set_compute_threads(int threads);
int compute_threads();
// Takes the probe's FP32 path into use (ComputeProbe::onednn_float32).
void set_onednn_float32(bool enabled);

// Has FP32 products go through oneDNN, or not, while it lives; that may round their factors to BF16, as with AMX.
class OnednnFloat32 {
 public:
  explicit OnednnFloat32(bool enabled);
  ~OnednnFloat32();
  OnednnFloat32(const OnednnFloat32&) = delete;
  OnednnFloat32& operator=(const OnednnFloat32&) = delete;

 private:
  std::string before_;  // libtorch's name of the precision
};

}  // namespace retort::model
