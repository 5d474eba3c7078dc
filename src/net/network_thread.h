// A thread that waits for sockets and timers: what a server and an upstream pool of one worker share.
//
// Everything of one worker runs on its one thread, so nothing there is locked. Destroying it waits until what lives on
// it has closed: destroy servers and pools first.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace retort::net {

class NetworkThread {
 public:
  NetworkThread();
  ~NetworkThread();
  NetworkThread(const NetworkThread&) = delete;
  NetworkThread& operator=(const NetworkThread&) = delete;

  // Runs it on the thread, after what was posted before. Any thread.
  void post(std::function<void()> task);
  // Runs it on the thread once the time is over. Any thread. Nothing is run any more when the thread ends before.
  void after(std::chrono::milliseconds time, std::function<void()> task);

  struct Inside;  // net/wire.h
  Inside& inside() { return *inside_; }

 private:
  std::unique_ptr<Inside> inside_;
};

}  // namespace retort::net
