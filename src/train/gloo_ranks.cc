// Ranks over libtorch's c10d: Gloo moves the tensors of processors (those of GPUs: nccl_ranks.cc), a TCPStore is where
// the ranks meet and call the roll.
#include <arpa/inet.h>
#include <c10/util/Logging.h>
#include <sys/socket.h>
#include <torch/torch.h>
#include <unistd.h>
#define USE_C10D_GLOO
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>
#include <vector>

#include "train/bf16_values.h"
#include "train/ranks.h"

namespace retort::train {
namespace {

using std::chrono::milliseconds;
using Store = c10::intrusive_ptr<c10d::Store>;

constexpr milliseconds kWatch(300);      // between two looks at what the others say
constexpr milliseconds kRollCall(3000);  // for a living rank to answer
constexpr const char* kFailed = "failed";
constexpr const char* kReported = "another rank reported it";

std::vector<std::uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::string first_line(const char* text) {
  const std::string all(text);
  return all.substr(0, all.find('\n'));
}

std::string here_key(int rank) { return "here/" + std::to_string(rank); }

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || address.starts_with("127.");
}

// Where ranks of one machine meet: nobody else can come, and c10d's server, which looks up the name of each caller,
// finds it in the machine's own list. (Of a socket of its own it asks the DNS, for seconds where there is none.)
int listen_here(const std::string& loopback, std::uint16_t port) {
  const auto failed = [] { return std::runtime_error(errno == EADDRINUSE ? "EADDRINUSE" : std::strerror(errno)); };
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) throw failed();
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  // The others connect to this very one; Debian gives a machine's own name 127.0.1.1.
  if (::inet_pton(AF_INET, loopback == "localhost" ? "127.0.0.1" : loopback.c_str(), &address.sin_addr) != 1) {
    ::close(listener);
    throw std::runtime_error("it is no address");
  }
  if (::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener, SOMAXCONN) != 0) {
    const auto failure = failed();
    ::close(listener);
    throw failure;
  }
  return listener;
}

Store open_store(const RankPlace& place, bool listens) {
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = listens;
  options.waitWorkers = false;
  options.timeout = std::chrono::seconds(place.timeout_s);
  if (listens && is_loopback(place.address) && place.address != "::1") {
    options.masterListenFd = listen_here(place.address, place.port);
  }
  return c10::make_intrusive<c10d::PrefixStore>("retort", c10::make_intrusive<c10d::TCPStore>(place.address, options));
}

class GlooRanks final : public Ranks {
 public:
  GlooRanks(const RankPlace& place, Store store, c10::intrusive_ptr<c10d::ProcessGroupGloo> group)
      : place_(place), store_(std::move(store)), group_(std::move(group)), watch_([this] { watch(); }) {}

  ~GlooRanks() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_one();
    watch_.join();
    // Closing the group waits for what was begun; after a failure that may never end. The process is about to.
    if (!failed_) return;
    static_cast<void>(group_.release());
    for (Begun& begun : pending_) static_cast<void>(begun.work.release());
  }

  int rank() const override { return place_.rank; }
  int world() const override { return place_.world; }

  void begin_sum_to(int owner, at::Tensor values) override {
    begin([&] {
      std::vector<at::Tensor> list = {std::move(values)};
      c10d::ReduceOptions options;
      options.rootRank = owner;
      return group_->reduce(list, options);
    });
  }

  // Each sends the owners theirs and adds up what it is sent: as many bytes as go through a ring once, where Gloo's
  // reduction goes through it and then collects.
  void begin_sums(const Parts& parts, bool in_bf16) override {
    add_what_came();
    const auto self = static_cast<std::size_t>(rank());
    const at::NoGradGuard no_gradient;
    const at::Tensor own = parts[self].empty() ? at::empty({0}) : parts[self].front().flatten();
    RETORT_CHECK(parts[self].size() <= 1 && own.scalar_type() == at::kFloat);
    std::vector<at::Tensor> outgoing;
    std::vector<std::int64_t> counts_out, counts_in;
    for (std::size_t other = 0; other < parts.size(); ++other) {
      counts_out.push_back(0);
      counts_in.push_back(other == self ? 0 : own.numel());
      if (other == self) continue;
      for (const at::Tensor& part : parts[other]) {
        counts_out.back() += part.numel();
        outgoing.push_back(part);
      }
    }
    const auto type = in_bf16 ? at::kBFloat16 : at::kFloat;
    at::Tensor packed = at::empty({std::accumulate(counts_out.begin(), counts_out.end(), std::int64_t{0})}, type);
    std::int64_t first = 0;
    for (const at::Tensor& part : outgoing) {
      copy_values(part, packed.narrow(0, first, part.numel()));
      first += part.numel();
    }
    at::Tensor arriving = at::empty({static_cast<std::int64_t>(parts.size() - 1) * own.numel()}, type);
    const auto exchange = [&] { return group_->alltoall_base(arriving, packed, counts_in, counts_out); };
    begin(exchange, own, arriving);
  }

  Result<void> finish() override {
    for (Begun& begun : pending_) {
      while (trouble_.empty() && !is_done(*begun.work)) {
        if (failed_) trouble_ = kReported;
      }
      if (!trouble_.empty()) return lost();  // the others may still be at it
      begun.add_up();
    }
    pending_.clear();
    if (!trouble_.empty()) return lost();
    return {};
  }

  Result<void> sum(at::Tensor values) override {
    begin([&] {
      std::vector<at::Tensor> list = {std::move(values)};
      return group_->allreduce(list);
    });
    return finish();
  }

  void begin_broadcast(int from, at::Tensor values) override {
    begin([&] {
      std::vector<at::Tensor> list = {std::move(values)};
      c10d::BroadcastOptions options;
      options.rootRank = from;
      return group_->broadcast(list, options);
    });
  }

  Result<std::string> share(const std::string& bytes) override {
    const std::string key = "share/" + std::to_string(shared_++);
    std::string all = bytes;
    try {
      if (leads()) {
        store_->set(key, bytes_of(std::to_string(bytes.size())));
      } else {
        // Soon at first; later the leader is busy with something that takes long.
        for (milliseconds pause(2); !store_->check({key}); pause = std::min(2 * pause, kWatch)) {
          if (failed_) return lost();
          std::this_thread::sleep_for(pause);
        }
        const std::vector<std::uint8_t> size = store_->get(key);
        all.assign(std::stoull(std::string(size.begin(), size.end())), '\0');
      }
    } catch (const std::exception& error) {
      return lost(error);
    }
    if (all.empty()) return all;
    const at::Tensor values = at::from_blob(all.data(), {static_cast<std::int64_t>(all.size())}, at::kByte);
    RETORT_TRY(broadcast(0, values));
    return all;
  }

 private:
  // A piece of work, and of a sum that is made here what of: this rank's part, and the others', one after the other.
  struct Begun {
    c10::intrusive_ptr<c10d::Work> work;
    at::Tensor own, arriving;  // undefined where Gloo makes the sum, or there is none
    void add_up() {
      if (!own.defined()) return;
      const at::NoGradGuard no_gradient;
      for (const at::Tensor& of_another : arriving.split(std::max<std::int64_t>(1, own.numel()))) {
        if (of_another.numel() > 0) add_values(of_another, own);
      }
      own = arriving = at::Tensor();
    }
  };

  template <class Call>
  void begin(const Call& call, at::Tensor own = {}, at::Tensor arriving = {}) {
    if (failed_ && trouble_.empty()) trouble_ = kReported;
    if (!trouble_.empty()) return;  // finish() says why
    try {
      pending_.push_back({call(), std::move(own), std::move(arriving)});
    } catch (const std::exception& error) {
      trouble_ = first_line(error.what());
    }
  }

  // What has come before it is waited for needs no memory longer. Trouble stays to be found by finish().
  void add_what_came() {
    while (trouble_.empty() && !pending_.empty() && pending_.front().work->isCompleted() &&
           is_done(*pending_.front().work) && trouble_.empty()) {
      pending_.front().add_up();
      pending_.pop_front();
    }
  }

  // Waits a while. A piece of work that failed is done, and is trouble.
  bool is_done(c10d::Work& work) {
    try {
      return work.wait(kWatch);
    } catch (const std::exception& error) {
      if (!work.isCompleted()) return false;
      if (trouble_.empty()) trouble_ = first_line(error.what());
      return true;
    }
  }

  // Looks whether a rank calls the roll, and answers, so that a rank that computes isn't taken for a dead one. With a
  // connection of its own, because others wait on theirs.
  void watch() {
    try {
      RankPlace place = place_;
      place.meeting_is_hosted = true;
      const Store store = open_store(place, false);
      while (!stop_) {
        if (store->check({kFailed})) {
          store->set(here_key(rank()), bytes_of("1"));
          failed_ = true;
          return;
        }
        std::unique_lock lock(mutex_);
        wake_.wait_for(lock, kWatch, [this] { return stop_.load(); });
      }
    } catch (const std::exception&) {
      failed_ = !stop_;  // who kept the meeting place is gone
    }
  }

  Failure lost(const std::exception& error) {
    trouble_ = first_line(error.what());
    return lost();
  }

  // Calls the roll and says who is missing.
  Failure lost() {
    std::string missing;
    try {
      store_->set(kFailed, bytes_of("1"));
      store_->set(here_key(rank()), bytes_of("1"));
      const auto until = std::chrono::steady_clock::now() + kRollCall;
      do {
        std::this_thread::sleep_for(kWatch);
        missing.clear();
        for (int other = 0; other < world(); ++other) {
          if (!store_->check({here_key(other)})) missing += (missing.empty() ? "" : ", ") + std::to_string(other);
        }
      } while (!missing.empty() && std::chrono::steady_clock::now() < until);
    } catch (const std::exception&) {
      missing = "0";  // who keeps the meeting place is gone, and that is the leader
    }
    failed_ = true;
    const std::string of = " of " + std::to_string(world());
    std::string what;
    if (!missing.empty()) {
      what = "Rank " + missing + of + " ended or can't be reached, so rank " + std::to_string(rank()) + of + " stops.";
    } else {
      what = "The ranks could not work together, though all " + std::to_string(world()) + " live (" + trouble_ +
             "). Rank " + std::to_string(rank()) + " stops.";
    }
    return world_error(what +
                       " The last checkpoint is whole: start all ranks again by the same command, and training goes on "
                       "from there.");
  }

  RankPlace place_;
  Store store_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  std::deque<Begun> pending_;
  std::string trouble_;
  std::int64_t shared_ = 0;
  std::mutex mutex_;  // for wake_
  std::condition_variable wake_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> failed_ = false;
  std::thread watch_;
};

}  // namespace

Result<std::unique_ptr<Ranks>> join_ranks(const RankPlace& place) {
  const std::string self = "rank " + std::to_string(place.rank) + " of " + std::to_string(place.world);
  if (place.world < 1 || place.rank < 0 || place.rank >= place.world) {
    return caller_error("There is no " + self +
                        "; ranks count from 0. Check RANK and WORLD_SIZE, or what starts them.");
  }
  if (place.world == 1) return one_rank();
  if (place.address.empty() || place.port == 0) {
    return caller_error("This is " + self +
                        ", but nothing says where the ranks meet. Set MASTER_ADDR to the machine of rank 0 and "
                        "MASTER_PORT to a free port there.");
  }
  FLAGS_caffe2_log_level = 3;  // fatal: c10d would print what our errors say, with its stack
  const std::string meeting = place.address + ":" + std::to_string(place.port);
  try {
    const Store store = open_store(place, place.rank == 0 && !place.meeting_is_hosted);
    auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::seconds(place.timeout_s));
    options->devices.push_back(is_loopback(place.address) ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                                          : c10d::ProcessGroupGloo::createDefaultDevice());
    auto group = c10::make_intrusive<c10d::ProcessGroupGloo>(store, place.rank, place.world, options);
    return std::make_unique<GlooRanks>(place, store, std::move(group));
  } catch (const std::exception& error) {
    const std::string reason = first_line(error.what());
    if (reason.find("EADDRINUSE") != std::string::npos || reason.find("already in use") != std::string::npos) {
      return caller_error("The ranks can't meet at " + meeting +
                          ": another program listens there. Give another MASTER_PORT.");
    }
    return world_error("The ranks did not meet at " + meeting + " within " + std::to_string(place.timeout_s) +
                       " s (this is " + self + "; " + reason +
                       "). Start all of them, on machines that reach that address.");
  }
}

}  // namespace retort::train
