#include "model/cuda_driver.h"

#include <dlfcn.h>

#include <string>

#include "base/dynamic_symbols.h"
#include "model/backend.h"

namespace retort::model {
namespace {

Result<CudaDriver> open_driver() {
  const Result<void*>& opened = cuda_libraries();
  if (!opened) return Failure(opened.error());
  CudaDriver found;
  DynamicSymbols symbols(*opened);
  symbols.find("cuDeviceGetAttribute", found.device_attribute);
  symbols.find("cuCtxGetCurrent", found.current_context);
  symbols.find("cuDevicePrimaryCtxRetain", found.retain_context);
  symbols.find("cuCtxSetCurrent", found.set_context);
  symbols.find("cuModuleLoadData", found.load_module);
  symbols.find("cuModuleUnload", found.unload_module);
  symbols.find("cuModuleGetFunction", found.function);
  symbols.find("cuLaunchKernel", found.launch);
  symbols.find("cuStreamCreate", found.create_stream);
  symbols.find("cuEventCreate", found.create_event);
  symbols.find("cuEventRecord", found.record_event);
  symbols.find("cuStreamWaitEvent", found.wait_for_event);
  symbols.find("cuEventQuery", found.query_event);
  if (!symbols.missing().empty()) {
    return world_error("The CUDA driver lacks " + symbols.missing() + "; a newer one is needed.");
  }
  return found;
}

Result<void*> open_libraries() {
  const std::string library = torch_library_folder() + "/libcaffe2_nvrtc.so";
  void* opened = dlopen(library.c_str(), RTLD_NOW);
  if (opened != nullptr) return opened;
  const char* reason = dlerror();
  return world_error("CUDA's driver and run-time compiler can't be loaded: " +
                     std::string(reason == nullptr ? "" : reason));
}

}  // namespace

void CudaDriver::take_context() const {
  Handle context = nullptr;
  if (current_context(&context) == 0 && context != nullptr) return;
  RETORT_CHECK(retain_context(&context, 0) == 0 && set_context(context) == 0);
}

const Result<CudaDriver>& cuda_driver() {
  static const Result<CudaDriver> opened = open_driver();
  return opened;
}

const Result<void*>& cuda_libraries() {
  static const Result<void*> opened = open_libraries();
  return opened;
}

}  // namespace retort::model
