// Where a model is computed, and by what.
//
// Three ways to one result (to rounding): this project's kernels on the processor; kernels of ours and libtorch's own
// operations on a CUDA device (BF16; FP32 there is libtorch's alone); and libtorch's operations on the processor, which
// is how those are tested where there is no GPU. No libtorch in this header. A GPU is found at run time: the program is
// the same with and without one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort::model {

enum class Backend {
  kKernels,  // this project's kernels, on the processor
  kTensors,  // libtorch's operations, on the processor
  kCuda,     // our CUDA kernels and libtorch's operations, on the first such device that the process sees
};

std::string_view name_of(Backend backend);  // "cpu", "cpu (tensors)", "cuda"

// Where libtorch's own libraries lie; empty when that can't be told.
std::string torch_library_folder();

// Makes CUDA usable, and its results the same every time: loads libtorch's CUDA library, which lies beside its CPU
// library where that is a CUDA build with nothing left out. Error (kCaller): what is missing. May be called again; one
// caller at a time.
Result<void> open_cuda();

// Of several ranks on one machine each computes on a device of its own: from here on this process sees one alone, the
// `local_rank`-th (from 0) of those it may see, or none where there are fewer. Where it may see but one already,
// somebody has chosen for it. Before open_cuda(), and while the process has one thread.
void see_one_device(int local_rank);
// That one, given CUDA_VISIBLE_DEVICES as it is (null: unset).
std::string device_of_rank(const char* visible, int local_rank);

// Compiles our own kernels for the device, once; they take BF16 alone. After open_cuda(). Error (kWorld): no run-time
// compiler beside libtorch, or a device that is too old; libtorch's operations then do everything.
Result<void> open_cuda_kernels();

// Returns when everything asked of the backend's device is done; at once on a processor.
void wait_for(Backend backend);

// The most that tensors took of the device's memory so far; 0 on a processor.
std::int64_t peak_device_memory_bytes(Backend backend);
// Gives back what tensors no longer take, for other programs to have; nothing to do on a processor.
void release_device_memory(Backend backend);

// `wanted`: "cpu", "cuda" or "auto" (CUDA when open_cuda() succeeds). Error (kCaller): "cuda" that can't be had.
Result<Backend> choose_backend(std::string_view wanted);

}  // namespace retort::model
