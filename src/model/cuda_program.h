// Kernels of our own on a CUDA device: source that is compiled when it is first wanted, for the device at hand.
//
// A build needs no CUDA toolkit: the compiler is NVRTC, which every libtorch with CUDA brings along, and driver and
// compiler are found when the program runs. Kernels are launched on the default stream, which is libtorch's too, so
// they run in order with its operations. No libtorch in this header.
//
// Compiling takes about a second, once a program. Any thread; a CudaProgram lives as long as the process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace retort::model {

struct CudaGrid {
  std::int64_t blocks = 1;       // of the first dimension
  std::int64_t blocks_high = 1;  // of the second
  int threads = 256;             // of a block
};

class CudaProgram {
 public:
  // `name` stands in messages. `options`: as NVRTC takes them, such as "-DHEADS=4". After open_cuda(). Error (kWorld):
  // no NVRTC beside libtorch, a device older than its compiler knows or than `least_capability` (80: A100), or the
  // compiler's own words.
  static Result<CudaProgram> compile(const std::string& name, const char* source,
                                     const std::vector<std::string>& options = {}, int least_capability = 80);
  ~CudaProgram();
  CudaProgram(CudaProgram&&) noexcept;
  CudaProgram& operator=(CudaProgram&&) noexcept;

  // The kernel of that name (extern "C"); null when the source has none.
  void* kernel(const char* name) const;

  // Launches a kernel with arguments of exactly its parameters' types. Throws c10::Error, as libtorch's operations do,
  // when the driver refuses (a device that an earlier kernel left broken).
  template <class... Arguments>
  void launch(void* kernel, const CudaGrid& grid, const Arguments&... arguments) const {
    const void* places[] = {static_cast<const void*>(&arguments)...};
    launch_with(kernel, grid, places);
  }

 private:
  struct Inside;
  explicit CudaProgram(std::unique_ptr<Inside> inside);
  void launch_with(void* kernel, const CudaGrid& grid, const void** arguments) const;
  std::unique_ptr<Inside> inside_;
};

}  // namespace retort::model
