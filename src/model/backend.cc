#include "model/backend.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>
#include <link.h>
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/files.h"

namespace retort::model {

namespace {

class Quiet final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& /*warning*/) override {}
};

constexpr const char* kLibrary = "libtorch_cuda.so";

}  // namespace

std::string torch_library_folder() {
  // Not by the address of one of its functions: in some programs that is a place of the program's own.
  void* library = dlopen("libc10.so", RTLD_NOW | RTLD_NOLOAD);
  link_map* loaded = nullptr;
  if (library == nullptr || dlinfo(library, RTLD_DI_LINKMAP, &loaded) != 0 || loaded == nullptr) return {};
  return std::filesystem::path(loaded->l_name).parent_path().string();
}

std::string_view name_of(Backend backend) {
  switch (backend) {
    case Backend::kKernels: return "cpu";
    case Backend::kTensors: return "cpu (tensors)";
    case Backend::kCuda: return "cuda";
  }
  return "?";
}

Result<void> open_cuda() {
  // Before the library is there: what cuBLAS needs to give the same bits every time.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
  const std::filesystem::path library = std::filesystem::path(torch_library_folder()) / kLibrary;
  // Asked of libtorch only once its CUDA part is there: it remembers a "no".
  if (dlopen(kLibrary, RTLD_NOW | RTLD_NOLOAD) == nullptr) {
    if (!is_there(library)) {
      return caller_error("This libtorch computes on the processor alone: " + library.string() +
                          " isn't there. Build with -DRETORT_TORCH_DIR=<folder of a libtorch with CUDA>.");
    }
    if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      const char* reason = dlerror();
      return caller_error("libtorch's CUDA library can't be loaded: " + std::string(reason == nullptr ? "" : reason) +
                          ". Install the CUDA libraries that this libtorch was built for.");
    }
  }
  if (!torch::cuda::is_available()) {
    return caller_error("libtorch sees no CUDA device. Check the driver, and CUDA_VISIBLE_DEVICES.");
  }
  // A training that was stopped goes on as if it hadn't been: sums have one order, at the price of some speed.
  at::globalContext().setDeterministicAlgorithms(true, true);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  // What has no such order (none of what a training depends on) would say so on standard error.
  static Quiet quiet;
  c10::WarningUtils::set_warning_handler(&quiet);
  return {};
}

std::string device_of_rank(const char* visible, int local_rank) {
  if (visible == nullptr) return std::to_string(local_rank);
  const std::string list(visible);
  if (list.find(',') == std::string::npos) return list;
  std::size_t begin = 0;
  for (int passed = 0; passed < local_rank; ++passed) {
    const std::size_t comma = list.find(',', begin);
    if (comma == std::string::npos) return {};
    begin = comma + 1;
  }
  return list.substr(begin, list.find(',', begin) - begin);
}

void see_one_device(int local_rank) {
  constexpr const char* kVisible = "CUDA_VISIBLE_DEVICES";
  setenv(kVisible, device_of_rank(std::getenv(kVisible), local_rank).c_str(), 1);
}

void wait_for(Backend backend) {
  if (backend == Backend::kCuda) torch::cuda::synchronize();
}

std::int64_t peak_device_memory_bytes(Backend backend) {
  if (backend != Backend::kCuda) return 0;
  const auto stats = at::getDeviceAllocator(at::kCUDA)->getDeviceStats(0);
  return stats.allocated_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

void release_device_memory(Backend backend) {
  if (backend == Backend::kCuda) at::getDeviceAllocator(at::kCUDA)->emptyCache();
}

Result<Backend> choose_backend(std::string_view wanted) {
  if (wanted == "cpu") return Backend::kKernels;
  const Result<void> opened = open_cuda();
  if (opened) return Backend::kCuda;
  if (wanted == "auto") return Backend::kKernels;
  return Failure(opened.error());
}

}  // namespace retort::model
