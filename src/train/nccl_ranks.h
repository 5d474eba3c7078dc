// Ranks whose tensors lie on GPUs: NCCL carries those, and Gloo, over which the ranks met, all else.
//
// Sums go on in a queue of their own beside the backward pass. Before anybody waits for a GPU, the ranks make sure over
// Gloo that all of them have come so far: one that died is named at once, as on processors (a kernel that waits for a
// dead rank says nothing). What is still not done after the time that ranks have for a piece of work is given up.
//
// One thread at a time. Borrows the ranks.
#pragma once

#include <chrono>
#include <memory>

#include "base/error.h"
#include "model/backend.h"
#include "model/device_queue.h"
#include "train/nccl.h"
#include "train/ranks.h"

namespace retort::train {

struct DeviceLink {
  Nccl nccl;
  std::unique_ptr<model::DeviceQueue> queue;
  bool takes_processor_tensors = false;  // where there is no device: in tests
  std::chrono::seconds timeout{300};     // for a piece of work
};

// What carries tensors between the GPUs of this kind of machine. After open_cuda(). Error (kWorld): what is missing.
Result<DeviceLink> open_device_link();

// `ranks` have met; every one of them must call this. Error (kWorld): NCCL's words (two ranks on one GPU, for one).
Result<std::unique_ptr<Ranks>> join_on_devices(Ranks& ranks, DeviceLink link);

}  // namespace retort::train
