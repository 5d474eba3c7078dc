#include "model/cuda_program.h"

#include <c10/util/Exception.h>

#include <utility>

#include "base/dynamic_symbols.h"
#include "model/cuda_driver.h"

namespace retort::model {
namespace {

// What is used of NVRTC's interface, as its manual gives it; stable C.
using Handle = void*;
constexpr int kComputeCapabilityMajor = 75, kComputeCapabilityMinor = 76;

struct Compiler {
  int (*create)(Handle* program, const char* source, const char* name, int headers, const char* const* texts,
                const char* const* names) = nullptr;
  int (*compile)(Handle program, int count, const char* const* options) = nullptr;
  int (*log_size)(Handle program, std::size_t* size) = nullptr;
  int (*log)(Handle program, char* text) = nullptr;
  int (*code_size)(Handle program, std::size_t* size) = nullptr;
  int (*code)(Handle program, char* code) = nullptr;
  int (*destroy)(Handle* program) = nullptr;
};

Result<Compiler> open_compiler() {
  const Result<void*>& opened = cuda_libraries();
  if (!opened) return Failure(opened.error());
  Compiler found;
  DynamicSymbols symbols(*opened);
  symbols.find("nvrtcCreateProgram", found.create);
  symbols.find("nvrtcCompileProgram", found.compile);
  symbols.find("nvrtcGetProgramLogSize", found.log_size);
  symbols.find("nvrtcGetProgramLog", found.log);
  symbols.find("nvrtcGetCUBINSize", found.code_size);
  symbols.find("nvrtcGetCUBIN", found.code);
  symbols.find("nvrtcDestroyProgram", found.destroy);
  if (!symbols.missing().empty()) return world_error("CUDA's run-time compiler lacks " + symbols.missing() + ".");
  return found;
}

}  // namespace

struct CudaProgram::Inside {
  const CudaDriver* cuda = nullptr;
  Handle module = nullptr;
};

CudaProgram::CudaProgram(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
CudaProgram::CudaProgram(CudaProgram&&) noexcept = default;
CudaProgram& CudaProgram::operator=(CudaProgram&&) noexcept = default;
// The module stays: at the end of a process the driver may be gone before its users.
CudaProgram::~CudaProgram() = default;

Result<CudaProgram> CudaProgram::compile(const std::string& name, const char* source,
                                         const std::vector<std::string>& options, int least_capability) {
  static const Result<Compiler> opened = open_compiler();
  if (!opened) return Failure(opened.error());
  const Compiler& compiler = *opened;
  const Result<CudaDriver>& driver = cuda_driver();
  if (!driver) return Failure(driver.error());
  const CudaDriver& cuda = *driver;
  cuda.take_context();
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
  texts.reserve(all.size());
  for (const std::string& option : all) texts.push_back(option.c_str());
  Handle program = nullptr;
  if (compiler.create(&program, source, name.c_str(), 0, nullptr, nullptr) != 0) {
    return world_error("CUDA's run-time compiler doesn't take '" + name + "'.");
  }
  const int compiled = compiler.compile(program, static_cast<int>(texts.size()), texts.data());
  std::size_t size = 0;
  if (compiled != 0) {
    std::string log;
    if (compiler.log_size(program, &size) == 0) {
      log.resize(size);
      compiler.log(program, log.data());
    }
    compiler.destroy(&program);
    return world_error("CUDA's run-time compiler refuses '" + name + "': " + log);
  }
  std::string code;
  if (compiler.code_size(program, &size) == 0) {
    code.resize(size);
    compiler.code(program, code.data());
  }
  compiler.destroy(&program);
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
  const CudaDriver& cuda = *inside_->cuda;
  cuda.take_context();
  const int result = cuda.launch(kernel, static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.blocks_high), 1,
                                 static_cast<unsigned>(grid.threads), 1, 1, 0, nullptr, arguments, nullptr);
  TORCH_CHECK(result == 0, "a CUDA kernel could not be launched (error ", result, " of the driver)");
}

}  // namespace retort::model
