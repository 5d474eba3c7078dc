// What is used of NCCL, as its manual gives it: sums and copies between the memories of GPUs. Stable C; found when the
// program runs, in the library that libtorch's CUDA part brings along, so that a build needs neither.
//
// Functions return 0 when all went well. No libtorch in this header.
#pragma once

#include <cstddef>

#include "base/error.h"

namespace retort::train {

struct Nccl {
  using Communicator = void*;
  using Stream = void*;
  struct Id {
    char bytes[128];
  };
  // Of values; all numbers are NCCL's own.
  enum Type : int { kUint8 = 1, kInt32 = 2, kInt64 = 4, kFloat16 = 6, kFloat32 = 7, kFloat64 = 8, kBFloat16 = 9 };
  static constexpr int kSum = 0;
  static constexpr int kInProgress = 7;

  int (*make_id)(Id* id) = nullptr;
  int (*join)(Communicator* communicator, int world, Id id, int rank) = nullptr;
  int (*reduce)(const void* from, void* to, std::size_t count, Type type, int operation, int root,
                Communicator communicator, Stream stream) = nullptr;
  int (*all_reduce)(const void* from, void* to, std::size_t count, Type type, int operation, Communicator communicator,
                    Stream stream) = nullptr;
  int (*broadcast)(const void* from, void* to, std::size_t count, Type type, int root, Communicator communicator,
                   Stream stream) = nullptr;
  int (*failure)(Communicator communicator, int* result) = nullptr;  // of what goes on by itself
  int (*leave)(Communicator communicator) = nullptr;
  int (*give_up)(Communicator communicator) = nullptr;  // leaves without waiting for anybody
  const char* (*text_of)(int result) = nullptr;
};

// After open_cuda(). Asks it for sums in one order, so that the same training gives the same bits. Error (kWorld): it
// isn't there.
Result<Nccl> open_nccl();

}  // namespace retort::train
