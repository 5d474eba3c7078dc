#include "model/cuda_program.h"

#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <utility>

#include "model/backend.h"

namespace retort::model {
namespace {

// What is used of the driver's and the compiler's interfaces, as their manuals give it; both are stable C.
using Handle = void*;
constexpr int kComputeCapabilityMajor = 75, kComputeCapabilityMinor = 76;

struct Interface {
  int (*create)(Handle* program, const char* source, const char* name, int headers, const char* const* texts,
                const char* const* names) = nullptr;
  int (*compile)(Handle program, int count, const char* const* options) = nullptr;
  int (*log_size)(Handle program, std::size_t* size) = nullptr;
  int (*log)(Handle program, char* text) = nullptr;
  int (*code_size)(Handle program, std::size_t* size) = nullptr;
  int (*code)(Handle program, char* code) = nullptr;
  int (*destroy)(Handle* program) = nullptr;
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
};

template <class Function>
void find(Handle library, const char* name, Function& function, bool& all) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  all = all && function != nullptr;
}

// libtorch's own small library that stands on both: looking a name up in it looks through them.
Result<Interface> open_interface() {
  const std::string library = torch_library_folder() + "/libcaffe2_nvrtc.so";
  Handle opened = dlopen(library.c_str(), RTLD_NOW);
  if (opened == nullptr) {
    const char* reason = dlerror();
    return world_error("CUDA's run-time compiler can't be loaded: " + std::string(reason == nullptr ? "" : reason));
  }
  Interface found;
  bool all = true;
  find(opened, "nvrtcCreateProgram", found.create, all);
  find(opened, "nvrtcCompileProgram", found.compile, all);
  find(opened, "nvrtcGetProgramLogSize", found.log_size, all);
  find(opened, "nvrtcGetProgramLog", found.log, all);
  find(opened, "nvrtcGetCUBINSize", found.code_size, all);
  find(opened, "nvrtcGetCUBIN", found.code, all);
  find(opened, "nvrtcDestroyProgram", found.destroy, all);
  find(opened, "cuDeviceGetAttribute", found.device_attribute, all);
  find(opened, "cuCtxGetCurrent", found.current_context, all);
  find(opened, "cuDevicePrimaryCtxRetain", found.retain_context, all);
  find(opened, "cuCtxSetCurrent", found.set_context, all);
  find(opened, "cuModuleLoadData", found.load_module, all);
  find(opened, "cuModuleUnload", found.unload_module, all);
  find(opened, "cuModuleGetFunction", found.function, all);
  find(opened, "cuLaunchKernel", found.launch, all);
  if (!all) return world_error("'" + library + "' doesn't lead to the driver and the compiler that were expected.");
  return found;
}

const Result<Interface>& interface() {
  static const Result<Interface> opened = open_interface();
  return opened;
}

// A thread that hasn't asked anything of CUDA yet has no context; libtorch uses the device's primary one.
void take_context(const Interface& cuda) {
  Handle context = nullptr;
  if (cuda.current_context(&context) == 0 && context != nullptr) return;
  RETORT_CHECK(cuda.retain_context(&context, 0) == 0 && cuda.set_context(context) == 0);
}

}  // namespace

struct CudaProgram::Inside {
  const Interface* cuda = nullptr;
  Handle module = nullptr;
};

CudaProgram::CudaProgram(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
CudaProgram::CudaProgram(CudaProgram&&) noexcept = default;
CudaProgram& CudaProgram::operator=(CudaProgram&&) noexcept = default;
// The module stays: at the end of a process the driver may be gone before its users.
CudaProgram::~CudaProgram() = default;

Result<CudaProgram> CudaProgram::compile(const std::string& name, const char* source,
                                         const std::vector<std::string>& options, int least_capability) {
  const Result<Interface>& opened = interface();
  if (!opened) return Failure(opened.error());
  const Interface& cuda = *opened;
  take_context(cuda);
  int major = 0, minor = 0;
  if (cuda.device_attribute(&major, kComputeCapabilityMajor, 0) != 0 ||
      cuda.device_attribute(&minor, kComputeCapabilityMinor, 0) != 0) {
    return world_error("The CUDA driver doesn't say what the device is.");
  }
  if (major * 10 + minor < least_capability) {
    return world_error("The device has compute capability " + std::to_string(major) + "." + std::to_string(minor) +
                       "; the kernels want " + std::to_string(least_capability / 10) + "." +
                       std::to_string(least_capability % 10) + " or later.");
  }
  std::vector<std::string> all = options;
  all.push_back("--gpu-architecture=sm_" + std::to_string(major) + std::to_string(minor));
  all.push_back("--std=c++17");
  std::vector<const char*> texts;
  for (const std::string& option : all) texts.push_back(option.c_str());
  Handle program = nullptr;
  if (cuda.create(&program, source, name.c_str(), 0, nullptr, nullptr) != 0) {
    return world_error("CUDA's run-time compiler doesn't take '" + name + "'.");
  }
  const int compiled = cuda.compile(program, static_cast<int>(texts.size()), texts.data());
  std::size_t size = 0;
  if (compiled != 0) {
    std::string log;
    if (cuda.log_size(program, &size) == 0) {
      log.resize(size);
      cuda.log(program, log.data());
    }
    cuda.destroy(&program);
    return world_error("CUDA's run-time compiler refuses '" + name + "': " + log);
  }
  std::string code;
  if (cuda.code_size(program, &size) == 0) {
    code.resize(size);
    cuda.code(program, code.data());
  }
  cuda.destroy(&program);
  auto inside = std::make_unique<Inside>();
  inside->cuda = &cuda;
  if (const int loaded = cuda.load_module(&inside->module, code.data()); loaded != 0) {
    return world_error("The CUDA driver doesn't load '" + name + "' (error " + std::to_string(loaded) + ").");
  }
  return CudaProgram(std::move(inside));
}

void* CudaProgram::kernel(const char* name) const {
  Handle function = nullptr;
  return inside_->cuda->function(&function, inside_->module, name) == 0 ? function : nullptr;
}

void CudaProgram::launch_with(void* kernel, const CudaGrid& grid, const void** arguments) const {
  RETORT_CHECK(kernel != nullptr);
  if (grid.blocks <= 0 || grid.blocks_high <= 0) return;
  const Interface& cuda = *inside_->cuda;
  take_context(cuda);
  const int result = cuda.launch(kernel, static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.blocks_high), 1,
                                 static_cast<unsigned>(grid.threads), 1, 1, 0, nullptr, arguments, nullptr);
  TORCH_CHECK(result == 0, "a CUDA kernel could not be launched (error ", result, " of the driver)");
}

}  // namespace retort::model
