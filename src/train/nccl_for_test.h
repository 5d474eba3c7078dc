// Stands for NCCL and for a GPU's queue where there are no two GPUs: ranks are threads, and what they asked for is done
// when somebody waits for it, not before, so that a tensor that is used too early or changed too late shows. It shows
// that the right things are asked in the right order; not that a driver does them. For tests.
#pragma once

#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "train/nccl_ranks.h"

namespace retort::train {

class NcclForTest {
 public:
  static constexpr int kFailed = 3;

  static Nccl interface() {
    Nccl nccl;
    nccl.make_id = [](Nccl::Id* id) {
      static std::mutex mutex;
      static std::vector<std::unique_ptr<Meeting>> meetings;
      const std::lock_guard lock(mutex);
      meetings.push_back(std::make_unique<Meeting>());
      const auto place = reinterpret_cast<std::uintptr_t>(meetings.back().get());
      std::memcpy(id->bytes, &place, sizeof(place));
      return 0;
    };
    nccl.join = [](Nccl::Communicator* communicator, int world, Nccl::Id id, int rank) {
      std::uintptr_t place = 0;
      std::memcpy(&place, id.bytes, sizeof(place));
      auto* meeting = reinterpret_cast<Meeting*>(place);
      const std::lock_guard lock(meeting->mutex);
      meeting->world = world;
      *communicator = new Member{meeting, rank, 0};
      return 0;
    };
    nccl.reduce = [](const void* from, void* to, std::size_t count, Nccl::Type type, int operation, int root,
                     Nccl::Communicator communicator, Nccl::Stream stream) {
      if (operation != Nccl::kSum || from != to) return kFailed;
      return ask(communicator, stream, {'r', to, count, type, root});
    };
    nccl.all_reduce = [](const void* from, void* to, std::size_t count, Nccl::Type type, int operation,
                         Nccl::Communicator communicator, Nccl::Stream stream) {
      if (operation != Nccl::kSum || from != to) return kFailed;
      return ask(communicator, stream, {'a', to, count, type, 0});
    };
    nccl.broadcast = [](const void* from, void* to, std::size_t count, Nccl::Type type, int root,
                        Nccl::Communicator communicator, Nccl::Stream stream) {
      if (from != to) return kFailed;
      return ask(communicator, stream, {'b', to, count, type, root});
    };
    nccl.failure = [](Nccl::Communicator /*communicator*/, int* result) { return *result = 0; };
    nccl.leave = [](Nccl::Communicator communicator) {
      delete static_cast<Member*>(communicator);
      return 0;
    };
    nccl.give_up = nccl.leave;
    nccl.text_of = [](int /*result*/) { return "the stand-in's words"; };
    return nccl;
  }

  class Queue final : public model::DeviceQueue {
   public:
    void* stream() override { return this; }
    Result<void> follow() override { return {}; }
    Result<void> lead() override { return {}; }
    Result<bool> done() override {
      for (const auto& work : std::exchange(work_, {})) {
        if (!work()) return world_error("A rank never asked for what the others did.");
      }
      return true;
    }
    void add(std::function<bool()> work) { work_.push_back(std::move(work)); }

   private:
    std::vector<std::function<bool()>> work_;
  };

 private:
  struct Request {
    char kind;
    void* place;
    std::size_t count;
    Nccl::Type type;
    int root;
    bool operator==(const Request& other) const {  // but for the place
      return kind == other.kind && count == other.count && type == other.type && root == other.root;
    }
  };
  struct Round {
    std::map<int, Request> requests;  // by rank
    bool done = false;
  };
  struct Meeting {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<int, Round> rounds;
    int world = 0;
  };
  struct Member {
    Meeting* meeting;
    int rank;
    int asked;
  };

  static int ask(Nccl::Communicator communicator, Nccl::Stream stream, const Request& request) {
    auto* member = static_cast<Member*>(communicator);
    const int number = member->asked++;
    static_cast<Queue*>(stream)->add([meeting = member->meeting, rank = member->rank, number, request] {
      return meet(*meeting, rank, number, request);
    });
    return 0;
  }

  static bool meet(Meeting& meeting, int rank, int number, const Request& request) {
    std::unique_lock lock(meeting.mutex);
    Round& round = meeting.rounds[number];
    round.requests.emplace(rank, request);
    if (static_cast<int>(round.requests.size()) == meeting.world) {
      for (const auto& [other, theirs] : round.requests) RETORT_CHECK(theirs == request);
      carry(round);
      round.done = true;
      meeting.changed.notify_all();
    }
    return meeting.changed.wait_for(lock, std::chrono::seconds(20), [&] { return round.done; });
  }

  static at::Tensor values(const Request& request) {
    const std::map<Nccl::Type, at::ScalarType> types = {{Nccl::kUint8, at::kByte},       {Nccl::kInt32, at::kInt},
                                                        {Nccl::kInt64, at::kLong},       {Nccl::kFloat16, at::kHalf},
                                                        {Nccl::kFloat32, at::kFloat},    {Nccl::kFloat64, at::kDouble},
                                                        {Nccl::kBFloat16, at::kBFloat16}};
    return at::from_blob(request.place, {static_cast<std::int64_t>(request.count)}, types.at(request.type));
  }

  static void carry(const Round& round) {
    const Request& first = round.requests.at(0);
    at::Tensor result = at::zeros({static_cast<std::int64_t>(first.count)}, values(first).options());
    for (const auto& [rank, request] : round.requests) {
      if (request.kind != 'b' || rank == request.root) result.add_(values(request));
    }
    for (const auto& [rank, request] : round.requests) {
      if (request.kind != 'r' || rank == request.root) {
        values(request).copy_(result);
      } else {
        values(request).fill_(77);  // undefined
      }
    }
  }
};

inline DeviceLink device_link_for_test() {
  DeviceLink link;
  link.nccl = NcclForTest::interface();
  link.queue = std::make_unique<NcclForTest::Queue>();
  link.takes_processor_tensors = true;
  return link;
}

}  // namespace retort::train
