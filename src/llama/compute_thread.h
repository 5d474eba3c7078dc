// A thread of its own on which a Session's graphs start.
//
// ggml configures a thread's AMX tiles once in its life. Where the same thread also runs libtorch, whose kernels set
// and release the tiles for themselves, ggml's next kernel would find no tiles (SIGILL) or another's shape (wrong
// numbers). So graphs never start on a caller's thread. The caller waits; an idle thread sleeps.
//
// Internal to the module. run() from one thread at a time.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace retort::llama {

class ComputeThread {
 public:
  ComputeThread();
  ~ComputeThread();
  ComputeThread(const ComputeThread&) = delete;
  ComputeThread& operator=(const ComputeThread&) = delete;

  // Runs `task` there and returns when it has returned. It must not throw.
  void run(const std::function<void()>& task);

 private:
  void serve();

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* task_ = nullptr;  // while it is to be run or running
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace retort::llama
