// A second line of work on a device, beside the one that libtorch's operations wait in: what is asked of it goes on
// while the first computes.
//
// One thread at a time; lives as long as what was asked of it. No libtorch in this header.
#pragma once

#include <memory>

#include "base/error.h"

namespace retort::model {

class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;
  virtual void* stream() = 0;  // as libraries for the device take it (cudaStream_t)
  // What is asked of it from here on begins after all that was asked of libtorch so far.
  virtual Result<void> follow() = 0;
  // What is asked of libtorch from here on begins after all that was asked of this queue so far.
  virtual Result<void> lead() = 0;
  // Whether all that was asked before the last lead() is done. Returns at once.
  virtual Result<bool> done() = 0;
};

// On the device that libtorch uses. After open_cuda(). Error (kWorld): the driver's.
Result<std::unique_ptr<DeviceQueue>> open_device_queue();

}  // namespace retort::model
