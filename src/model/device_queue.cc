#include "model/device_queue.h"

#include <string>

#include "model/cuda_driver.h"

namespace retort::model {
namespace {

Result<void> check(int result, const char* what) {
  if (result == 0) return {};
  return world_error("The CUDA driver did not " + std::string(what) + " (error " + std::to_string(result) + ").");
}

// libtorch's operations and our kernels wait in the default stream, which has no handle. An event stands for what it
// was last recorded after, and those who wait keep to what it stood for when they began.
class CudaQueue final : public DeviceQueue {
 public:
  CudaQueue(const CudaDriver& cuda, CudaDriver::Handle stream, CudaDriver::Handle asked, CudaDriver::Handle done)
      : cuda_(cuda), stream_(stream), asked_(asked), done_(done) {}

  void* stream() override { return stream_; }
  Result<void> follow() override { return order(nullptr, stream_, asked_); }
  Result<void> lead() override { return order(stream_, nullptr, done_); }
  Result<bool> done() override {
    cuda_.take_context();
    const int result = cuda_.query_event(done_);
    if (result == CudaDriver::kNotReady) return false;
    RETORT_TRY(check(result, "finish what was asked of it"));
    return true;
  }

 private:
  Result<void> order(CudaDriver::Handle first, CudaDriver::Handle second, CudaDriver::Handle event) {
    cuda_.take_context();
    RETORT_TRY(check(cuda_.record_event(event, first), "record an event"));
    return check(cuda_.wait_for_event(second, event, 0), "order two streams");
  }

  // None of them is given back: at the end of a process the driver may be gone before its users.
  const CudaDriver& cuda_;
  CudaDriver::Handle stream_, asked_, done_;
};

}  // namespace

Result<std::unique_ptr<DeviceQueue>> open_device_queue() {
  const Result<CudaDriver>& driver = cuda_driver();
  if (!driver) return Failure(driver.error());
  driver->take_context();
  CudaDriver::Handle stream = nullptr, asked = nullptr, done = nullptr;
  RETORT_TRY(check(driver->create_stream(&stream, CudaDriver::kNonBlocking), "make a stream"));
  for (CudaDriver::Handle* event : {&asked, &done}) {
    RETORT_TRY(check(driver->create_event(event, CudaDriver::kNoTiming), "make an event"));
  }
  return std::make_unique<CudaQueue>(*driver, stream, asked, done);
}

}  // namespace retort::model
