#include "train/nccl.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string>

#include "base/dynamic_symbols.h"

namespace retort::train {

Result<Nccl> open_nccl() {
  // Trees and sums made in a switch take another order when they are laid out anew.
  setenv("NCCL_ALGO", "Ring", 0);
  // libtorch's CUDA library has loaded it; some builds have it inside instead.
  void* library = dlopen("libnccl.so.2", RTLD_NOW);
  if (library == nullptr) library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) return world_error("NCCL, which carries sums between GPUs, isn't there (libnccl.so.2).");
  Nccl found;
  DynamicSymbols symbols(library);
  symbols.find("ncclGetUniqueId", found.make_id);
  symbols.find("ncclCommInitRank", found.join);
  symbols.find("ncclReduce", found.reduce);
  symbols.find("ncclAllReduce", found.all_reduce);
  symbols.find("ncclBroadcast", found.broadcast);
  symbols.find("ncclCommGetAsyncError", found.failure);
  symbols.find("ncclCommDestroy", found.leave);
  symbols.find("ncclCommAbort", found.give_up);
  symbols.find("ncclGetErrorString", found.text_of);
  if (!symbols.missing().empty()) return world_error("NCCL lacks " + symbols.missing() + ".");
  return found;
}

}  // namespace retort::train
