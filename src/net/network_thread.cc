#include "net/network_thread.h"

#include <boost/asio/post.hpp>
#include <exception>

#include "net/wire.h"

namespace retort::net {

NetworkThread::NetworkThread() : inside_(std::make_unique<Inside>()) {
  inside_->thread = std::thread([inside = inside_.get()] {
    while (true) {
      // What one connection threw (memory ran out) is not the end of the others.
      try {
        inside->io.run();
        return;
      } catch (const std::exception&) {
      }
    }
  });
}

NetworkThread::~NetworkThread() {
  boost::asio::post(inside_->io, [inside = inside_.get()] {
    for (boost::asio::steady_timer& timer : inside->timers) timer.cancel();
    inside->ending = true;
    inside->work.reset();
  });
  inside_->thread.join();
}

void NetworkThread::post(std::function<void()> task) { boost::asio::post(inside_->io, std::move(task)); }

void NetworkThread::after(std::chrono::milliseconds time, std::function<void()> task) {
  boost::asio::post(inside_->io, [inside = inside_.get(), time, task = std::move(task)]() mutable {
    if (inside->ending) return;
    const auto timer = inside->timers.emplace(inside->timers.end(), inside->io, time);
    timer->async_wait([inside, timer, task = std::move(task)](const boost::system::error_code& error) {
      if (!error) task();
      inside->timers.erase(timer);
    });
  });
}

}  // namespace retort::net
