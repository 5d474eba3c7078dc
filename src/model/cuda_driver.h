// What is used of the CUDA driver's interface, as its manual gives it; stable C, found when the program runs.
//
// The functions return 0 when all went well. No libtorch in this header. Any thread; lives as long as the process.
#pragma once

#include "base/error.h"

namespace retort::model {

struct CudaDriver {
  using Handle = void*;  // of a context, a module, a function, a stream, an event
  static constexpr int kNotReady = 600;
  static constexpr unsigned kNonBlocking = 1;  // of a stream: it doesn't wait for the default one by itself
  static constexpr unsigned kNoTiming = 2;     // of an event

  int (*device_attribute)(int* value, int attribute, int device) = nullptr;
  int (*current_context)(Handle* context) = nullptr;
  int (*retain_context)(Handle* context, int device) = nullptr;
  int (*set_context)(Handle context) = nullptr;
  int (*load_module)(Handle* module, const void* code) = nullptr;
  int (*unload_module)(Handle module) = nullptr;
  int (*function)(Handle* function, Handle module, const char* name) = nullptr;
  int (*launch)(Handle function, unsigned x, unsigned y, unsigned z, unsigned threads_x, unsigned threads_y,
                unsigned threads_z, unsigned shared_bytes, Handle stream, const void** arguments,
                void** extra) = nullptr;
  int (*create_stream)(Handle* stream, unsigned flags) = nullptr;
  int (*create_event)(Handle* event, unsigned flags) = nullptr;
  int (*record_event)(Handle event, Handle stream) = nullptr;
  int (*wait_for_event)(Handle stream, Handle event, unsigned flags) = nullptr;
  int (*query_event)(Handle event) = nullptr;

  // A thread that hasn't asked anything of CUDA yet has no context; libtorch uses the device's primary one.
  void take_context() const;
};

// After open_cuda(). Error (kWorld): what can't be found.
const Result<CudaDriver>& cuda_driver();

// libtorch's own small library that stands on the driver and on NVRTC, opened: a name looked up in it is found in
// either. Error (kWorld): it can't be loaded.
const Result<void*>& cuda_libraries();

}  // namespace retort::model
