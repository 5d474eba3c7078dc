// What carries tensors between GPUs, over a stand-in for NCCL: no machine with two GPUs was to be had. Whole trainings
// over it: ranks_test.cc.
#include "train/nccl_ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/nccl_for_test.h"
#include "train/ranks_for_test.h"

namespace retort::train {
namespace {

using testing::HasSubstr;

TEST(NcclRanks, SumAndBroadcastInEveryType) {
  together(3, [](std::unique_ptr<Ranks> met) {
    const auto joined = join_on_devices(*met, device_link_for_test());
    ASSERT_TRUE(joined) << joined.error().message;
    Ranks& ranks = **joined;
    for (const auto type :
         {torch::kByte, torch::kInt, torch::kLong, torch::kHalf, torch::kFloat, torch::kDouble, torch::kBFloat16}) {
      const auto own = [&] { return torch::full({5}, ranks.rank() + 1).to(type); };
      const torch::Tensor all = own(), from_last = own();
      std::vector<torch::Tensor> parts;
      for (int owner = 0; owner < 3; ++owner) {
        parts.push_back(own());
        ranks.begin_sum_to(owner, parts.back());
      }
      EXPECT_EQ(parts[0][0].item<double>(), ranks.rank() + 1);  // not yet
      ASSERT_TRUE(ranks.finish());
      EXPECT_EQ(parts[static_cast<std::size_t>(ranks.rank())][4].item<double>(), 6);
      ASSERT_TRUE(ranks.sum(all));
      EXPECT_EQ(all[4].item<double>(), 6);
      ASSERT_TRUE(ranks.broadcast(2, from_last));
      EXPECT_EQ(from_last[0].item<double>(), 3);
    }
    EXPECT_TRUE(ranks.any(ranks.rank() == 1).value_or(false));
    EXPECT_EQ(ranks.share(ranks.leads() ? "said" : "").value_or(""), "said");
  });
}

TEST(NcclRanks, LeaveProcessorTensorsToTheOthers) {
  together(2, [](std::unique_ptr<Ranks> met) {
    DeviceLink link = device_link_for_test();
    link.takes_processor_tensors = false;
    link.nccl.all_reduce = nullptr;
    const auto ranks = join_on_devices(*met, std::move(link)).value();
    const auto own = torch::full({2}, 1.0F);
    ASSERT_TRUE(ranks->sum(own));
    EXPECT_EQ(own[1].item<double>(), 2);
  });
}

TEST(NcclRanks, OneThatEndsIsNamedByTheOthers) {
  together(3, [](std::unique_ptr<Ranks> met) {
    const auto ranks = join_on_devices(*met, device_link_for_test()).value();
    ASSERT_TRUE(ranks->any(true));
    if (ranks->rank() == 1) return;
    const auto later = ranks->sum(torch::ones({4}));
    ASSERT_FALSE(later);
    EXPECT_EQ(later.error().fault, Fault::kWorld);
    EXPECT_THAT(later.error().message, HasSubstr("Rank 1 of 3"));
    EXPECT_FALSE(ranks->finish());
  });
}

// ---- what NCCL may answer ----

TEST(NcclRanks, SayWhyTheGpusDidNotComeTogether) {
  together(2, [](std::unique_ptr<Ranks> met) {
    DeviceLink link = device_link_for_test();
    if (met->rank() == 1) {
      link.nccl.join = [](Nccl::Communicator*, int, Nccl::Id, int) { return NcclForTest::kFailed; };
    }
    const auto joined = join_on_devices(*met, std::move(link));
    ASSERT_FALSE(joined);
    EXPECT_EQ(joined.error().fault, Fault::kWorld);
    EXPECT_THAT(joined.error().message,
                met->rank() == 1 ? HasSubstr("the stand-in's words") : HasSubstr("Another rank"));
  });
  together(2, [](std::unique_ptr<Ranks> met) {
    DeviceLink link = device_link_for_test();
    link.nccl.make_id = [](Nccl::Id*) { return NcclForTest::kFailed; };
    const auto joined = join_on_devices(*met, std::move(link));
    ASSERT_FALSE(joined);
    EXPECT_THAT(joined.error().message, met->leads() ? HasSubstr("a GPU of its own") : HasSubstr("rank 0"));
  });
}

TEST(NcclRanks, ReportWhatFailsOnTheWay) {
  class Never final : public model::DeviceQueue {
   public:
    void* stream() override { return nullptr; }
    Result<void> follow() override { return {}; }
    Result<void> lead() override { return {}; }
    Result<bool> done() override { return false; }
  };
  for (const bool failed : {true, false}) {
    together(2, [&](std::unique_ptr<Ranks> met) {
      DeviceLink link = device_link_for_test();
      link.queue = std::make_unique<Never>();
      link.timeout = std::chrono::seconds(1);
      link.nccl.all_reduce = [](const void*, void*, std::size_t, Nccl::Type, int, Nccl::Communicator, Nccl::Stream) {
        return 0;
      };
      if (failed) {
        link.nccl.failure = [](Nccl::Communicator, int* result) {
          *result = NcclForTest::kFailed;
          return 0;
        };
      }
      const auto ranks = join_on_devices(*met, std::move(link)).value();
      const auto summed = ranks->sum(torch::ones({2}));
      ASSERT_FALSE(summed);
      EXPECT_EQ(summed.error().fault, Fault::kWorld);
      EXPECT_THAT(summed.error().message, HasSubstr(failed ? "the stand-in's words" : "not done in 1 s"));
      EXPECT_THAT(summed.error().message, HasSubstr("checkpoint"));
      EXPECT_FALSE(ranks->sum(torch::ones({2})));  // nothing can be done with them after that
    });
  }
}

}  // namespace
}  // namespace retort::train
