#include "train/nccl_ranks.h"

#include <torch/torch.h>

#include <cstring>
#include <string>
#include <thread>
#include <utility>

namespace retort::train {
namespace {

constexpr std::chrono::milliseconds kLongPause(1);
constexpr std::chrono::microseconds kShortPause(20);
constexpr auto kSoon = std::chrono::milliseconds(20);  // how long a wait is made of short pauses

std::optional<Nccl::Type> type_of(at::ScalarType type) {
  switch (type) {
    case at::kByte: return Nccl::kUint8;
    case at::kInt: return Nccl::kInt32;
    case at::kLong: return Nccl::kInt64;
    case at::kHalf: return Nccl::kFloat16;
    case at::kFloat: return Nccl::kFloat32;
    case at::kDouble: return Nccl::kFloat64;
    case at::kBFloat16: return Nccl::kBFloat16;
    default: return std::nullopt;
  }
}

class NcclRanks final : public Ranks {
 public:
  NcclRanks(Ranks& met, DeviceLink link, Nccl::Communicator communicator)
      : met_(met), link_(std::move(link)), communicator_(communicator) {}
  NcclRanks(const NcclRanks&) = delete;
  NcclRanks& operator=(const NcclRanks&) = delete;
  // Leaving waits for what was begun, which after a failure may never end.
  ~NcclRanks() override { failure_ ? link_.nccl.give_up(communicator_) : link_.nccl.leave(communicator_); }

  int rank() const override { return met_.rank(); }
  int world() const override { return met_.world(); }

  void begin_sum_to(int owner, at::Tensor values) override {
    if (!is_ours(values)) return met_.begin_sum_to(owner, std::move(values));
    begin(values, [&](void* place, std::size_t count, Nccl::Type type) {
      return link_.nccl.reduce(place, place, count, type, Nccl::kSum, owner, communicator_, link_.queue->stream());
    });
  }

  Result<void> finish() override {
    RETORT_TRY(met_.finish());
    if (failure_) return *failure_;
    if (!begun_) return {};
    begun_ = false;
    Result<void> done = wait();
    if (!done) failure_ = Failure(done.error());
    return done;
  }

  Result<void> sum(at::Tensor values) override {
    if (!is_ours(values)) return met_.sum(std::move(values));
    begin(values, [&](void* place, std::size_t count, Nccl::Type type) {
      return link_.nccl.all_reduce(place, place, count, type, Nccl::kSum, communicator_, link_.queue->stream());
    });
    return finish();
  }

  void begin_broadcast(int from, at::Tensor values) override {
    if (!is_ours(values)) return met_.begin_broadcast(from, std::move(values));
    begin(values, [&](void* place, std::size_t count, Nccl::Type type) {
      return link_.nccl.broadcast(place, place, count, type, from, communicator_, link_.queue->stream());
    });
  }

  Result<std::string> share(const std::string& bytes) override { return met_.share(bytes); }

 private:
  bool is_ours(const at::Tensor& values) const { return link_.takes_processor_tensors || !values.is_cpu(); }

  template <class Call>
  void begin(const at::Tensor& values, const Call& call) {
    if (failure_) return;  // finish() says why
    RETORT_CHECK(values.is_contiguous());
    const std::optional<Nccl::Type> type = type_of(values.scalar_type());
    RETORT_CHECK(type.has_value());
    begun_ = true;
    if (const Result<void> follows = link_.queue->follow(); !follows) {
      failure_ = Failure(follows.error());
      return;
    }
    const int result = call(values.data_ptr(), static_cast<std::size_t>(values.numel()), *type);
    if (result != 0) failure_ = lost(result);
  }

  Result<void> wait() {
    RETORT_TRY(link_.queue->lead());
    // Gloo names a rank that is gone; then all have asked for the same, and it can be waited for.
    RETORT_TRY(met_.any(false));
    const auto begin = std::chrono::steady_clock::now();
    while (true) {
      RETORT_ASSIGN(const bool done, link_.queue->done());
      if (done) return {};
      int failure = 0;
      const int asked = link_.nccl.failure(communicator_, &failure);
      if (asked != 0 || (failure != 0 && failure != Nccl::kInProgress)) return lost(asked != 0 ? asked : failure);
      const auto waited = std::chrono::steady_clock::now() - begin;
      if (waited > link_.timeout) return lost("it was not done in " + std::to_string(link_.timeout.count()) + " s");
      if (waited < kSoon) {
        std::this_thread::sleep_for(kShortPause);
      } else {
        std::this_thread::sleep_for(kLongPause);
      }
    }
  }

  Failure lost(int result) const { return lost(link_.nccl.text_of(result)); }
  Failure lost(const std::string& what) const {
    return world_error("The GPUs of the ranks could not work together (" + what + "), so rank " +
                       std::to_string(rank()) + " of " + std::to_string(world()) +
                       " stops. The last checkpoint is whole: start all ranks again by the same command, and training "
                       "goes on from there.");
  }

  Ranks& met_;
  DeviceLink link_;
  Nccl::Communicator communicator_;
  bool begun_ = false;  // something that nobody has waited for
  std::optional<Failure> failure_;
};

}  // namespace

Result<DeviceLink> open_device_link() {
  DeviceLink link;
  RETORT_ASSIGN(link.nccl, open_nccl());
  RETORT_ASSIGN(link.queue, model::open_device_queue());
  return link;
}

Result<std::unique_ptr<Ranks>> join_on_devices(Ranks& ranks, DeviceLink link) {
  const auto failed = [&](int result) {
    return world_error("NCCL did not bring the GPUs of the " + std::to_string(ranks.world()) + " ranks together (" +
                       link.nccl.text_of(result) +
                       "). Each rank needs a GPU of its own: start as many ranks as there are GPUs, or set "
                       "train.device to cpu. NCCL_DEBUG=INFO lets it say more.");
  };
  Nccl::Id id{};
  const int made = ranks.leads() ? link.nccl.make_id(&id) : 0;
  RETORT_ASSIGN(const std::string bytes, ranks.share(std::string(id.bytes, sizeof(id.bytes))));
  RETORT_ASSIGN(const bool none, ranks.any(made != 0));
  if (made != 0) return failed(made);
  if (none) return world_error("NCCL did not start on rank 0; its own output says why.");
  RETORT_CHECK(bytes.size() == sizeof(id.bytes));
  std::memcpy(id.bytes, bytes.data(), bytes.size());
  Nccl::Communicator communicator = nullptr;
  const int joined = link.nccl.join(&communicator, ranks.world(), id, ranks.rank());
  RETORT_ASSIGN(const bool some_failed, ranks.any(joined != 0));
  if (joined != 0) return failed(joined);
  if (some_failed) {
    link.nccl.give_up(communicator);
    return world_error("Another rank's GPU did not come; its own output says why.");
  }
  return std::make_unique<NcclRanks>(ranks, std::move(link), communicator);
}

}  // namespace retort::train
